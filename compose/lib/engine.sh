# shellcheck shell=bash
# A Docker Engine of our own: its data, its socket and its containers are in one temporary folder.

ENGINE="" # the folder

start_engine() {
    # Two engines share the kernel's rules; taking ours away would cut the other one off.
    [[ ! -e /sys/class/net/docker0 ]] ||
        fail "an engine runs here already; docker compose -f compose/docker-compose.yml up uses it"
    ENGINE=$(mktemp -d)
    FORWARDING=$(cat /proc/sys/net/ipv4/ip_forward)
    # Debian's own docker; another one that comes earlier in PATH may lack what builds images.
    export PATH=/usr/bin:$PATH DOCKER_HOST=unix://$ENGINE/docker.sock
    export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1 COMPOSE_PROJECT_NAME=switchboard-check
    cat >"$ENGINE/daemon.json" <<CONFIGURATION
{
    "data-root": "$ENGINE/data", "exec-root": "$ENGINE/run", "pidfile": "$ENGINE/docker.pid",
    "hosts": ["$DOCKER_HOST"], "group": "root"
}
CONFIGURATION
    setpriv --pdeathsig TERM -- dockerd --config-file "$ENGINE/daemon.json" \
        >"$ENGINE/dockerd.log" 2>&1 </dev/null &
    ENGINE_PID=$!
    wait_until 30 engine info >/dev/null 2>&1 && return
    show_log "$ENGINE/dockerd.log"
    fail "dockerd does not start"
}

engine() { docker "$@"; }

compose() { docker-compose -f "$ROOT/compose/docker-compose.yml" "$@"; }

stop_engine() {
    local status=$?
    set +e
    if [[ -n ${ENGINE_PID:-} ]]; then
        timeout 60 docker-compose -f "$ROOT/compose/docker-compose.yml" down -v >/dev/null 2>&1
        end_processes TERM 20 "$ENGINE_PID"
        umount "$ENGINE/run/netns/default" 2>/dev/null
        remove_network
    fi
    [[ -z $ENGINE ]] || rm -rf "$ENGINE"
    exit "$status"
}

# What dockerd leaves behind in the machine's network.
remove_network() {
    ip link delete docker0 2>/dev/null
    [[ ${FORWARDING:-1} == 1 ]] || echo 0 >/proc/sys/net/ipv4/ip_forward
    local table
    for table in filter nat; do
        iptables-save -t "$table" 2>/dev/null | grep -E '^-A .*(DOCKER|docker0)' | sed 's/^-A/-D/' |
            while read -r rule; do
                # shellcheck disable=SC2086 # a rule is several words
                iptables -t "$table" $rule 2>/dev/null
            done
        iptables-save -t "$table" 2>/dev/null | sed -n 's/^:\(DOCKER[^ ]*\).*/\1/p' |
            while read -r chain; do
                iptables -t "$table" -F "$chain" 2>/dev/null
                iptables -t "$table" -X "$chain" 2>/dev/null
            done
    done
}
