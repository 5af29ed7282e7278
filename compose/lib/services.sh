# shellcheck shell=bash
# The three services: their environment, their start, and the supervisor that restarts them.

readonly SERVICES=(messaging assignment-engine dispatch-worker)
readonly DOCUMENTED_PORTS=(8081 8082 8083)
SLACK_URL="" # where the Slack Web API is for this stack
declare -A PORTS=() RESTARTS=() FAST_DEATHS=() RESTART_AT=()
readonly FAST_DEATH_MS=3000      # an exit sooner than this after the start counts as one
readonly FAST_DEATHS_MAX=10      # that many in a row, and the service stays down
readonly RESTART_DELAY_MS=100    # doubled by every fast death …
readonly RESTART_DELAY_MAX_MS=5000
readonly STORE_RESTART_DELAY_MS=1000 # leaves pg_ctl restart the first turn

# start_stack [documented]
start_stack() {
    start_stores
    choose_secrets
    choose_ports "${1:-}"
    migrate
    start_stand_in
    start_services
    make_demo_tenant
}

choose_secrets() {
    SECRETS_KEY=$(head -c 32 /dev/urandom | base64 -w 0)
    SERVICE_TOKEN=$(random_hex 32)
    SLACK_SIGNING_SECRET=$(random_hex 16)
}

# choose_ports [documented]: those of the documentation for people who look around, else free ones.
choose_ports() {
    local service index=0 wished=("${DOCUMENTED_PORTS[@]}")
    [[ ${1:-} == documented ]] || wished=()
    for service in "${SERVICES[@]}" slack-standin; do
        take_port "${wished[index]:-}"
        PORTS[$service]=$PORT_TAKEN
        index=$((index + 1))
    done
}

url_of() { printf 'http://127.0.0.1:%s' "${PORTS[$1]}"; }

# Requests in flight hold many blocks of few sizes; malloc's own limit of seven spare ones of each
# size sends most of them through its slow path. It can only be set before a process starts.
readonly MALLOC_SETTINGS=glibc.malloc.tcache_count=500

# What every service gets beside the caller's own environment (log level, windows, limits).
service_environment() {
    SPAWN_ENVIRONMENT=(
        "DATABASE_URL=$DATABASE_URL"
        "HOST=127.0.0.1"
        "GLIBC_TUNABLES=${GLIBC_TUNABLES:-$MALLOC_SETTINGS}"
        "MESSAGING_URL=$(url_of messaging)"
        "ASSIGNMENT_ENGINE_URL=$(url_of assignment-engine)"
        "DISPATCH_WORKER_URL=$(url_of dispatch-worker)"
        "SERVICE_TOKEN=$SERVICE_TOKEN"
        "SECRETS_KEY=$SECRETS_KEY"
        "SLACK_SIGNING_SECRET=$SLACK_SIGNING_SECRET"
    )
    if [[ -n $NO_REDIS ]]; then
        SPAWN_ENVIRONMENT+=("REDIS_MODE=disabled" "SINGLE_INSTANCE=1")
    else
        SPAWN_ENVIRONMENT+=("REDIS_URL=$REDIS_URL")
    fi
    [[ -z $SLACK_URL ]] || SPAWN_ENVIRONMENT+=("SLACK_API_BASE_URL=$SLACK_URL")
    local hosts=${OUTBOUND_ALLOW_HOSTS:-} url
    for url in "$SLACK_URL" "$AI_BASE_URL"; do
        [[ -z $url ]] || hosts+=${hosts:+,}$(authority_of "$url")
    done
    [[ -z $hosts ]] || SPAWN_ENVIRONMENT+=("OUTBOUND_ALLOW_HOSTS=$hosts")
    [[ -z ${1:-} ]] || SPAWN_ENVIRONMENT+=("PORT=${PORTS[$1]}")
}

# Host and port, as OUTBOUND_ALLOW_HOSTS wants them; a host alone allows only the usual ports.
authority_of() {
    local authority=${1#*://}
    authority=${authority%%/*}
    printf '%s' "${authority##*@}"
}

# A program of the product, run to its end with a service's environment.
messaging_tool() {
    (
        service_environment
        export "${SPAWN_ENVIRONMENT[@]}"
        cd "$ROOT" || exit
        exec timeout 120 "$BIN/messaging" "$@"
    )
}

migrate() {
    say "migrating the database"
    messaging_tool migrate >"$STACK/log/migrate.log" 2>&1 ||
        { show_log "$STACK/log/migrate.log" && fail "messaging migrate failed"; }
}

# The stand-in for Slack is one of the package's test programs; a real address takes its place.
start_stand_in() {
    SLACK_URL=$SLACK_BASE_URL
    if [[ -z $SLACK_URL && -x $BIN/slack-standin ]]; then
        SLACK_URL=$(url_of slack-standin)/api
        spawn_service slack-standin
        wait_until 15 answers slack-standin /healthz ||
            { show_log "$STACK/log/slack-standin.log" && fail "slack-standin does not answer"; }
    fi
}

start_services() {
    local service replica
    say "starting $(joined "${SERVICES[@]}")$( ((REPLICAS == 1)) || echo ", $REPLICAS of each")"
    for service in "${SERVICES[@]}"; do
        for ((replica = 1; replica <= REPLICAS; replica++)); do spawn_service "$service.$replica"; done
    done
    for service in "${SERVICES[@]}"; do
        wait_until 30 service_settled "$service" || true
        service_is_ready "$service" && continue
        show_log "$STACK/log/$service.1.log"
        fail "$service is not ready: $(url_of "$service")/readyz says $(status_of "$service" /readyz)"
    done
}

spawn_service() {
    local service=${1%.[0-9]} fault=$STACK/fault/$1
    service_environment "$service"
    # What a test asks for holds for one start; SWITCHBOARD_FAULT is explained in FaultPoints.swift.
    if [[ -s $fault ]]; then
        SPAWN_ENVIRONMENT+=("SWITCHBOARD_FAULT=$(<"$fault")")
        rm -f "$fault"
    fi
    SPAWN_FOLDER=$ROOT spawn "$1" TERM "$BIN/$service" serve
    SPAWN_ENVIRONMENT=()
}

service_settled() {
    local replica
    service_is_ready "$1" && return 0
    for ((replica = 1; replica <= REPLICAS; replica++)); do
        any_alive "${PIDS[$1.$replica]}" || return 0
    done
    return 1
}

# With replicas the kernel chooses who answers: each must listen, and many answers must be good.
service_is_ready() {
    local replica round
    for ((replica = 1; replica <= REPLICAS; replica++)); do
        listens "${PIDS[$1.$replica]}" "${PORTS[$1]}" || return 1
    done
    for ((round = 0; round < (REPLICAS == 1 ? 1 : 4 * REPLICAS); round++)); do
        case $(status_of "$1" /readyz) in
        200) ;;
        # Without Redis the dispatcher accepts and stores, and says that it does not send.
        503) [[ -n $NO_REDIS && $1 == dispatch-worker ]] || return 1 ;;
        *) return 1 ;;
        esac
    done
}

status_of() {
    curl -sS -o /dev/null -w '%{http_code}' --max-time 3 "$(url_of "$1")$2" 2>/dev/null || true
}

answers() { [[ $(status_of "$1" "$2") == 200 ]]; }

# Whether the process itself holds a listening socket of that port.
listens() {
    local inode
    while read -r inode; do
        [[ -n $(find "/proc/$1/fd" -lname "socket:\[$inode\]" 2>/dev/null) ]] && return 0
    done < <(listening_sockets "$2")
    return 1
}

joined() {
    local text=$1
    shift
    while (($# > 1)); do text+=", $1" && shift; done
    (($# == 0)) || text+=" and $1"
    printf '%s' "$text"
}

# Watches until CHILD has ended and ends with its status.
supervise_child() {
    watch_servers child_ended
    tell_restarts
    ((CHILD_STATUS == 0)) || FAILED=1
    exit "$CHILD_STATUS"
}

# Watches until a signal ends this script.
supervise() { watch_servers false; }

# Errors are not shown in here because bash itself tells of every process that was killed, with the
# script's line that started it. A signal is noted and handled after the loop: bash 5.2 crashes when
# it leaves a redirected loop from a trap.
watch_servers() {
    WATCHING=1
    until [[ -n $STOPPED ]] || "$1"; do
        look_after_servers
        pause 0.2
    done 2>/dev/null
    WATCHING=""
    [[ -z $STOPPED ]] || exit "$STOPPED"
}

WATCHING="" STOPPED=""
stop() {
    STOPPED=$1
    [[ -n $WATCHING ]] || exit "$1"
}

# A server's name in $STACK/hold/ keeps it down, for tests that take one away for a while.
look_after_servers() {
    local name now
    now=$(now_ms)
    for name in "${!PIDS[@]}"; do
        kill -0 "${PIDS[$name]}" 2>/dev/null && continue
        if [[ -z ${RESTART_AT[$name]:-} ]]; then
            note_death "$name" "$now"
        elif ((now >= ${RESTART_AT[$name]})) && [[ ! -e $STACK/hold/$name ]]; then
            restart_server "$name"
        fi
    done
}

note_death() {
    local name=$1 now=$2 status=0 delay=$RESTART_DELAY_MS
    wait "${PIDS[$name]}" 2>/dev/null || status=$?
    # Somebody who kills it from outside means to see it come back, and at once.
    if ((now - ${STARTED[$name]} < FAST_DEATH_MS && status != 137 && status != 143)); then
        FAST_DEATHS[$name]=$((${FAST_DEATHS[$name]:-0} + 1))
        delay=$((RESTART_DELAY_MS << ${FAST_DEATHS[$name]}))
        ((delay <= RESTART_DELAY_MAX_MS)) || delay=$RESTART_DELAY_MAX_MS
    else
        FAST_DEATHS[$name]=0
    fi
    if ((${FAST_DEATHS[$name]} > FAST_DEATHS_MAX)); then
        say "$name ended $FAST_DEATHS_MAX times in a row right after its start; it stays down"
        show_log "$STACK/log/$name.log"
        unset "PIDS[$name]"
        FAILED=1
        return
    fi
    ! is_store "$name" || delay=$STORE_RESTART_DELAY_MS
    RESTART_AT[$name]=$((now + delay))
    say "$name ended ($(status_words "$status")); it is restarted in $delay ms"
}

is_store() { [[ $1 == postgres || $1 == redis || $1 == redis.* ]]; }

status_words() {
    if (($1 > 128)); then printf 'signal %s' "$(kill -l "$1")"; else printf 'status %s' "$1"; fi
}

restart_server() {
    local name=$1
    unset "RESTART_AT[$name]"
    case $name in
    postgres)
        if adopt_postgres; then return; fi
        spawn_postgres
        ;;
    redis) spawn_redis ;;
    redis.*) spawn_node "${name#redis.}" ;;
    *) spawn_service "$name" ;;
    esac
    RESTARTS[$name]=$((${RESTARTS[$name]:-0} + 1))
    say "$name is started again (restart ${RESTARTS[$name]})"
}

# After pg_ctl restart the server is somebody else's child, and still ours to watch and to end.
adopt_postgres() {
    local pid
    read -r pid 2>/dev/null <"$STACK/postgres/data/postmaster.pid" || return 1
    kill -0 "$pid" 2>/dev/null || return 1
    PIDS["postgres"]=$pid
    STARTED["postgres"]=$(now_ms)
    printf '%s\n' "$pid" >"$STACK/pids/postgres"
    say "postgres was started again by somebody else (process $pid)"
}

tell_restarts() {
    local name
    for name in "${!RESTARTS[@]}"; do say "$name was restarted ${RESTARTS[$name]} times"; done
}

# The exit trap: takes down everything that this script started, within seconds.
end_everything() {
    local status=$?
    trap 'kill -s KILL "${PIDS[@]}" 2>/dev/null' INT TERM HUP
    set +e
    take_down 2>/dev/null
    [[ -z $STACK ]] || leave_folder
    exit "$status"
}

take_down() {
    local service=() redis=() family=() name
    if [[ -n $CHILD ]]; then
        # First the command alone, so that it can take down its own children in order.
        mapfile -t family < <(tree_of "$CHILD")
        end_processes TERM "$CHILD_GRACE" "$CHILD"
        end_processes TERM 2 "${family[@]}"
    fi
    for name in "${!PIDS[@]}"; do
        case $name in
        postgres) ;;
        redis | redis.*) redis+=("${PIDS[$name]}") ;;
        *) service+=("${PIDS[$name]}") ;;
        esac
    done
    end_processes TERM 6 "${service[@]}"
    end_processes TERM 3 "${redis[@]}"
    [[ -z ${PIDS[postgres]:-} ]] || end_processes INT 6 "${PIDS[postgres]}"
}

leave_folder() {
    rm -rf "$STACK/ports"
    if [[ -n $KEEP ]]; then
        touch "$STACK/kept"
        say "logs and data stay in $STACK until tomorrow"
    elif [[ -n ${FAILED:-} ]]; then
        rm -rf "$STACK/postgres" "$STACK/redis"
        touch "$STACK/kept"
        say "the logs stay in $STACK/log until tomorrow"
    else
        rm -rf "$STACK"
    fi
}

export_for_command() {
    export_stores
    export MESSAGING_URL ASSIGNMENT_ENGINE_URL DISPATCH_WORKER_URL SERVICE_TOKEN SECRETS_KEY
    export SLACK_SIGNING_SECRET SLACK_STANDIN_URL=$SLACK_URL
    MESSAGING_URL=$(url_of messaging)
    ASSIGNMENT_ENGINE_URL=$(url_of assignment-engine)
    DISPATCH_WORKER_URL=$(url_of dispatch-worker)
    export SWITCHBOARD_TENANT=$TENANT SWITCHBOARD_ADMIN_KEY=$ADMIN_KEY SWITCHBOARD_AGENT_KEY=$AGENT_KEY
    export SWITCHBOARD_BIN=$BIN
}
