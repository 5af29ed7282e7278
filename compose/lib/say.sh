# shellcheck shell=bash
# Words to the person at the terminal, and waiting that ends.

# Everything but the product's own output goes to standard error: CMD's output stays CMD's.
exec {TERMINAL}>&2
say() { printf '%s\n' "$*" >&"$TERMINAL"; }

# Says why and ends; the exit trap takes the stack down.
fail() {
    say "compose/${0##*/}: $*"
    FAILED=1
    exit 1
}

# Shows the end of a log, indented, with the name of the file.
show_log() {
    local file=$1 lines=${2:-20}
    [[ -s $file ]] || return 0
    say "the last lines of $file:"
    tail -n "$lines" "$file" | cut -c1-400 | sed 's/^/    /' >&"$TERMINAL"
}

now_ms() { printf '%s' "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

# Waits without starting a process, so that a signal is handled at once.
exec {PAUSE_FD}<> <(:)
pause() { read -r -t "$1" -u "$PAUSE_FD" || true; }

# wait_until SECONDS COMMAND…: true as soon as COMMAND is, false when the time is over.
wait_until() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        (($(now_ms) < deadline)) || return 1
        pause 0.1
    done
}
