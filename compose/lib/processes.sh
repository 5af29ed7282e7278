# shellcheck shell=bash
# Processes that end when this script ends, however it ends.

CHILD=""        # pid of the one command that the stack is there for
CHILD_STATUS="" # its exit status, once it has one
CHILD_GRACE=5   # seconds that it has to end when it is asked to

# spawn NAME SIGNAL PROGRAM…: a server in a session of its own, so that Ctrl-C reaches only this
# script. The kernel sends it SIGNAL if this script is killed. SPAWN_ENVIRONMENT is added to its
# environment without showing it in a process list; SPAWN_FOLDER is where it works.
spawn() {
    local name=$1 signal=$2
    shift 2
    (
        ((${#SPAWN_ENVIRONMENT[@]} == 0)) || export "${SPAWN_ENVIRONMENT[@]}"
        export SWITCHBOARD_STACK=$STACK
        close_own_descriptors
        cd "${SPAWN_FOLDER:-$STACK}" || exit
        exec setsid "${AS_USER[@]}" setpriv --pdeathsig "$signal" -- "$@"
    ) >>"$STACK/log/$name.log" 2>&1 </dev/null &
    PIDS[$name]=$!
    STARTED[$name]=$(now_ms)
    printf '%s\n' "$!" >"$STACK/pids/$name"
}
declare -A PIDS=() STARTED=()
SPAWN_ENVIRONMENT=() SPAWN_FOLDER="" AS_USER=()

close_own_descriptors() {
    exec {PAUSE_FD}>&- {TERMINAL}>&-
    [[ -z ${STACKS_LOCK:-} ]] || exec {STACKS_LOCK}>&-
}

# run_child FUNCTION ARGUMENT…: runs it in the background, with this script's own standard input, so
# that signals are handled while it works.
run_child() {
    "$@" <&0 &
    CHILD=$! CHILD_STATUS=""
}

# A job of a script ignores INT and QUIT; a program under test must not inherit that.
exec_program() {
    close_own_descriptors
    exec setpriv --pdeathsig TERM -- env --default-signal=INT,QUIT "$@"
}

child_ended() {
    ! kill -0 "$CHILD" 2>/dev/null || return 1
    CHILD_STATUS=0
    wait "$CHILD" || CHILD_STATUS=$?
    CHILD=""
}

# Runs a function or program to its end, answering signals meanwhile; its status is the result.
attend() {
    run_child "$@"
    until child_ended; do pause 0.1; done
    return "$CHILD_STATUS"
}

# Prints the pid and those of all its descendants.
tree_of() {
    local pid=$1 children child
    printf '%s\n' "$pid"
    read -ra children -d '' < <(cat "/proc/$pid"/task/*/children 2>/dev/null) || true
    for child in "${children[@]}"; do tree_of "$child"; done
}

any_alive() {
    local pid
    for pid in "$@"; do
        [[ -e /proc/$pid ]] && ! [[ $(process_state "$pid") =~ ^[ZX]?$ ]] && return 0
    done
    return 1
}

process_state() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null || true; }

# What tells a process from a later one with the same number.
start_time() {
    local line
    line=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name in parentheses may hold spaces; the 20th field after it is the start time.
    read -ra fields <<<"${line##*) }"
    printf '%s' "${fields[19]}"
}

# end_processes SIGNAL SECONDS PID…: asks, waits, and then insists.
end_processes() {
    local signal=$1 seconds=$2
    shift 2
    (($# > 0)) || return 0
    kill -s "$signal" "$@" 2>/dev/null || true
    wait_until "$seconds" none_alive "$@" || kill -s KILL "$@" 2>/dev/null || true
}

none_alive() { ! any_alive "$@"; }

readonly FIRST_PORT=10240 LAST_PORT=22767 # below every usual range of outgoing connections

random_port() { printf '%s' $((FIRST_PORT + RANDOM % (LAST_PORT - FIRST_PORT + 1))); }

# Prints the inode of each socket that listens on a port.
listening_sockets() {
    local hexadecimal
    printf -v hexadecimal '%04X' "$1"
    awk -v port=":$hexadecimal" \
        'substr($2, length($2) - 4) == port && $4 == "0A" { print $10 }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
