#!/usr/bin/env bash
# run.sh FILE: our queue against Python's BullMQ, with the layouts of versions 6 and 5; one line of
# FILE for each row: "ok" or "not ok", a tab, and what was checked. Details go to standard error.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit

old=../../../.build/python-bullmq5
if ! cmp -s requirements-5.txt "$old/installed.txt"; then
    rm -rf "$old"
    python3 -m venv "$old" &&
        "$old/bin/pip" install --quiet --disable-pip-version-check -r requirements-5.txt >&2 &&
        cp requirements-5.txt "$old/installed.txt"
fi

: >"$1"
status=0
for python in python3 "$old/bin/python"; do
    tap=$(mktemp)
    PYTHONDONTWRITEBYTECODE=1 "$python" -m pytest -q --tb=short -W ignore -p no:cacheprovider \
        --tap "$tap" . >&2 || status=1
    [[ -s $tap ]] || printf 'not ok\tbullmq: no row ran with %s\n' "$python" >>"$1"
    cat "$tap" >>"$1"
    rm -f "$tap"
done
exit "$status"
