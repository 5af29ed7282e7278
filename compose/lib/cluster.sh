# shellcheck shell=bash
# A Redis Cluster in place of the one Redis: three nodes, each with a third of the slots.

readonly CLUSTER_NODES=(1 2 3)
readonly CLUSTER_SLOTS=("" "0 5460" "5461 10922" "10923 16383")
declare -A NODE_PORTS=() NODE_BUSES=()

make_cluster() {
    local node
    REDIS_SECRET=$(random_hex 16)
    mkdir "$STACK/redis"
    chown "$STORE_OWNER" "$STACK/redis"
    for node in "${CLUSTER_NODES[@]}"; do
        configure_redis "$STACK/redis/$node" "masterauth $REDIS_SECRET" "cluster-enabled yes" \
            "cluster-config-file nodes.conf" "cluster-node-timeout 2000"
    done
}

start_cluster() {
    local node
    for node in "${CLUSTER_NODES[@]}"; do spawn_first "$node"; done
    wait_until 15 nodes_settled
    if ! nodes_answer || ! join_nodes || ! wait_until 15 cluster_serves; then
        for node in "${CLUSTER_NODES[@]}"; do end_processes TERM 5 "${PIDS[redis.$node]}"; done
        return 1
    fi
    REDIS_URL=redis+cluster://default:$REDIS_SECRET@127.0.0.1:${NODE_PORTS[1]}
    REDIS_URL+=,127.0.0.1:${NODE_PORTS[2]},127.0.0.1:${NODE_PORTS[3]}
}

# The port of the nodes' own talk is chosen like any other: ten thousand above is not always free.
spawn_first() {
    local folder=$STACK/redis/$1
    take_port
    NODE_PORTS[$1]=$PORT_TAKEN
    take_port
    NODE_BUSES[$1]=$PORT_TAKEN
    rm -f "$folder/nodes.conf"
    sed -i '/^port /d; /^cluster-port /d' "$folder/redis.conf"
    printf '%s\n' "port ${NODE_PORTS[$1]}" "cluster-port ${NODE_BUSES[$1]}" |
        write_as_store "$folder/redis.conf"
    spawn_node "$1"
}

spawn_node() {
    AS_USER=("${STORE_USER[@]}")
    spawn "redis.$1" TERM redis-server "$STACK/redis/$1/redis.conf"
    AS_USER=()
}

# node NUMBER WORD…: asks one.
node() {
    REDISCLI_AUTH=$REDIS_SECRET timeout 2 redis-cli -h 127.0.0.1 -p "${NODE_PORTS[$1]}" "${@:2}" \
        2>/dev/null
}

nodes_settled() {
    local node
    nodes_answer && return 0
    for node in "${CLUSTER_NODES[@]}"; do none_alive "${PIDS[redis.$node]}" && return 0; done
    return 1
}

nodes_answer() {
    local node
    for node in "${CLUSTER_NODES[@]}"; do [[ $(node "$node" PING) == PONG ]] || return 1; done
}

join_nodes() {
    local node slots
    for node in "${CLUSTER_NODES[@]}"; do
        read -ra slots <<<"${CLUSTER_SLOTS[$node]}"
        node "$node" CLUSTER ADDSLOTSRANGE "${slots[@]}" >/dev/null || return 1
        node "$node" CLUSTER SET-CONFIG-EPOCH "$node" >/dev/null || return 1
        ((node == 1)) || node 1 CLUSTER MEET 127.0.0.1 "${NODE_PORTS[$node]}" \
            "${NODE_BUSES[$node]}" >/dev/null || return 1
    done
}

cluster_serves() {
    local node info
    for node in "${CLUSTER_NODES[@]}"; do
        info=$(node "$node" CLUSTER INFO) || return 1
        [[ $info == *cluster_state:ok* && $info == *cluster_slots_ok:16384* ]] || return 1
    done
}
