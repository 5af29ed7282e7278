#!/usr/bin/env bash
# lanes.sh N FILE…: the bats files over N stacks at once, each file alone on one of them, for most of
# these tests wait more than they work. Told in the Test Anything Protocol with one plan for all.
set -uo pipefail
SELF=$(readlink -f "${BASH_SOURCE[0]}")
readonly SELF LOCAL=${SELF%/Tests/*}/compose/local

# One lane, inside its stack: takes a file that nobody took, until none is left. What a file said is
# told at its end and whole, so that lanes do not write into each other.
if [[ ${1:-} == --lane ]]; then
    spool=$2
    for waiting in "$spool"/waiting/*; do
        mv "$waiting" "$spool/taken/" 2>/dev/null || continue
        said=$spool/said/${waiting##*/}
        bats --tap "$(readlink "$spool/taken/${waiting##*/}")" >"$said" 2>&1
        flock "$spool/teller" cat "$said"
    done
    exit 0
fi

lanes=$1
shift
spool=$(mktemp -d)
trap 'rm -rf "$spool"' EXIT
mkdir "$spool"/{waiting,taken,said}
# In the order given: the longest first let the lanes end together.
number=1000
for file in "$@"; do
    ln -s "$(readlink -f "$file")" "$spool/waiting/$number-${file##*/}"
    number=$((number + 1))
done
printf '1..%d\n' "$(bats --count "$@")"

pids=()
trap 'kill -s TERM "${pids[@]}" 2>/dev/null; wait; exit 143' TERM INT
for ((lane = 0; lane < lanes; lane++)); do
    setpriv --pdeathsig TERM -- "$LOCAL" run -- bash "$SELF" --lane "$spool" &
    pids+=("$!")
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
for left in "$spool"/waiting/*; do
    [[ -L $left ]] || continue
    printf 'not ok 0 %s was never begun\n' "${left##*/}"
    status=1
done
exit "$status"
