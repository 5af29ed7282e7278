# shellcheck shell=bash
# The folder of one run, and the private PostgreSQL and Redis in it; a cluster: see cluster.sh.

STACK=""      # the folder: pids/ log/ ports/ hold/ fault/ postgres/ redis/
DURABLE=1     # empty: faster and not safe against a crash; for unit tests only
DATABASE_PORT="" PRIVATE_REDIS_PORT=""

# One folder per user holds the folders of all runs.
stacks_folder() {
    local root=${TMPDIR:-/tmp}
    # A socket's path ends at 107 bytes, and PostgreSQL makes one in here.
    ((${#root} <= 50)) || root=/tmp
    printf '%s/switchboard-%s' "$root" "$EUID"
}

open_stack() {
    local folder
    forget_foreign_settings
    folder=$(stacks_folder)
    [[ -d $folder ]] || mkdir -m 0711 "$folder" 2>/dev/null || true
    [[ -d $folder && -O $folder && ! -L $folder ]] || fail "$folder is not a folder of this user"
    exec {STACKS_LOCK}>"$folder/lock"
    flock -w 60 "$STACKS_LOCK" || fail "another run holds $folder/lock for a minute already"
    sweep_stacks "$folder"
    STACK=$(mktemp -d "$folder/XXXXXX")
    chmod 0711 "$STACK"
    mkdir "$STACK"/{pids,log,ports,hold,fault}
    printf '%s %s\n' "$$" "$(start_time $$)" >"$STACK/owner"
    flock -u "$STACKS_LOCK"
    if ((EUID == 0)); then
        id postgres >/dev/null 2>&1 || fail "the user postgres is missing; is postgresql installed?"
        STORE_USER=(setpriv --reuid=postgres --regid=postgres --init-groups --)
        STORE_OWNER=postgres:postgres
    else
        STORE_USER=() STORE_OWNER=$(id -u):$(id -g)
    fi
}

# The caller's shell may point at stores and ports of its own.
forget_foreign_settings() {
    unset DATABASE_URL REDIS_URL REDIS_HOST REDIS_PORT REDIS_PASSWORD REDIS_CACHE_URL \
        REDIS_QUEUE_URL PORT HOST SLACK_API_BASE_URL PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE \
        PGSERVICE PGOPTIONS
}

# Ends and removes what runs that were killed left behind; kept and failed ones stay for a day.
sweep_stacks() {
    local stack pid started
    for stack in "$1"/*/; do
        stack=${stack%/}
        [[ -d $stack ]] || continue
        read -r pid started 2>/dev/null <"$stack/owner" || continue
        [[ $(start_time "$pid" || true) != "$started" ]] || continue
        end_leftovers "$stack"
        if [[ -e $stack/kept ]]; then
            [[ -n $(find "$stack/kept" -mmin +1440) ]] || continue
        fi
        rm -rf "$stack"
    done
}

end_leftovers() {
    local stack=$1 file pid left=()
    for file in "$stack"/pids/* "$stack"/postgres/data/postmaster.pid; do
        read -r pid 2>/dev/null <"$file" || continue
        belongs_to_stack "$pid" "$stack" && left+=("$pid")
    done
    end_processes TERM 5 "${left[@]}"
}

# A process number may have been given to somebody else's process meanwhile.
belongs_to_stack() {
    [[ $(readlink "/proc/$1/cwd" 2>/dev/null) == "$2"/* ]] ||
        grep -qsz "^SWITCHBOARD_STACK=$2\$" "/proc/$1/environ"
}

# take_port [WISHED]: sets PORT_TAKEN to one that nobody listens on and no other run of this user has
# taken. Services share ports by SO_REUSEPORT, so a second run would get in unnoticed.
take_port() {
    local port=${1:-} attempt
    flock -w 60 "$STACKS_LOCK" || fail "another run holds the lock of the ports"
    for attempt in {1..200}; do
        [[ $attempt == 1 && -n $port ]] || port=$(random_port)
        if port_is_free "$port"; then
            : >"$STACK/ports/$port"
            flock -u "$STACKS_LOCK"
            PORT_TAKEN=$port
            return 0
        fi
    done
    fail "found no free port between $FIRST_PORT and $LAST_PORT"
}

port_is_free() {
    ! compgen -G "${STACK%/*}/*/ports/$1" >/dev/null && [[ -z $(listening_sockets "$1") ]]
}

random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

start_stores() {
    local redis=" and Redis"
    [[ -z $REDIS_CLUSTER ]] || redis=" and Redis Cluster"
    [[ -z $NO_REDIS ]] || redis=""
    say "starting a private PostgreSQL$redis in $STACK"
    make_database
    store_with_retry start_postgres
    if [[ -n $REDIS_CLUSTER ]]; then
        make_cluster
        store_with_retry start_cluster
    elif [[ -z $NO_REDIS ]]; then
        make_redis
        store_with_retry start_redis
    fi
}

# Between choosing a port and listening on it somebody else can be faster.
store_with_retry() {
    local attempt
    for attempt in 1 2 3; do
        "$1" && return 0
        say "$1: attempt $attempt failed"
    done
    show_log "$STACK/log/${1#start_}.log"
    fail "${1#start_} does not start"
}

postgres_programs() {
    local folder
    # shellcheck disable=SC2012 # the names are PostgreSQL's version numbers
    folder=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    if [[ -n $folder ]]; then printf '%s' "$folder"; else dirname "$(command -v initdb)"; fi
}

make_database() {
    local programs password
    programs=$(postgres_programs)
    password=$(random_hex 16)
    mkdir "$STACK/postgres"
    printf '%s\n' "$password" >"$STACK/postgres/password"
    chmod -R go= "$STACK/postgres"
    chown -R "$STORE_OWNER" "$STACK/postgres"
    (cd "$STACK/postgres" && "${STORE_USER[@]}" "$programs/initdb" --pgdata data -U switchboard \
        --auth scram-sha-256 --pwfile password --locale C.UTF-8 --encoding UTF8 --data-checksums \
        --no-sync) >"$STACK/log/initdb.log" 2>&1 ||
        { show_log "$STACK/log/initdb.log" && fail "initdb failed"; }
    # Three replicas of three services fit into PostgreSQL's own 100; each further one brings 27.
    local connections=$((REPLICAS > 3 ? REPLICAS * 27 + 19 : 100))
    {
        printf '%s\n' "listen_addresses = '127.0.0.1'" "unix_socket_directories = '$STACK/postgres'" \
            "max_connections = $connections" "log_line_prefix = '%m [%p] %a '" "timezone = 'UTC'"
        [[ -n $DURABLE ]] || printf '%s\n' "fsync = off" "full_page_writes = off" \
            "synchronous_commit = off"
    } | write_as_store "$STACK/postgres/data/postgresql.auto.conf"
    DATABASE_PASSWORD=$password
}

write_as_store() {
    cat >>"$1"
    chown "$STORE_OWNER" "$1"
}

start_postgres() {
    if [[ ! -e $STACK/postgres/data/port.settled ]]; then
        take_port
        DATABASE_PORT=$PORT_TAKEN
        # In the file, not on the command line, so that pg_ctl restart finds the same server.
        sed -i '/^port = /d' "$STACK/postgres/data/postgresql.auto.conf"
        echo "port = $DATABASE_PORT" | write_as_store "$STACK/postgres/data/postgresql.auto.conf"
    fi
    spawn_postgres
    wait_until 30 postgres_settled
    if ! database_answers; then
        end_processes QUIT 5 "${PIDS[postgres]}"
        return 1
    fi
    touch "$STACK/postgres/data/port.settled"
    DATABASE_URL=postgresql://switchboard:$DATABASE_PASSWORD@127.0.0.1:$DATABASE_PORT/switchboard
    sql postgres "SELECT 1 FROM pg_database WHERE datname = 'switchboard'" | grep -q 1 ||
        sql postgres "CREATE DATABASE switchboard" >/dev/null
}

spawn_postgres() {
    AS_USER=("${STORE_USER[@]}")
    # INT is PostgreSQL's fast shutdown.
    spawn postgres INT "$(postgres_programs)/postgres" -D "$STACK/postgres/data"
    AS_USER=()
}

postgres_settled() { database_answers || none_alive "${PIDS[postgres]}"; }

database_answers() {
    "$(postgres_programs)/pg_isready" -q -h 127.0.0.1 -p "$DATABASE_PORT" -t 1
}

# sql DATABASE STATEMENT
sql() {
    PGPASSWORD=$DATABASE_PASSWORD psql --no-psqlrc -qAtX -v ON_ERROR_STOP=1 \
        -h 127.0.0.1 -p "$DATABASE_PORT" -U switchboard -d "$1" -c "$2"
}

make_redis() {
    REDIS_SECRET=$(random_hex 16)
    configure_redis "$STACK/redis"
}

# configure_redis FOLDER [LINE…]: makes the folder of a server.
configure_redis() {
    local folder=$1
    shift
    mkdir "$folder"
    {
        printf '%s\n' "bind 127.0.0.1" "dir $folder" "requirepass $REDIS_SECRET" \
            "maxmemory-policy noeviction" 'save ""' "logfile \"\"" "daemonize no" "$@"
        [[ -z $DURABLE ]] || printf '%s\n' "appendonly yes"
    } >"$folder/redis.conf"
    chmod -R go= "$folder"
    chown -R "$STORE_OWNER" "$folder"
}

start_redis() {
    take_port
    PRIVATE_REDIS_PORT=$PORT_TAKEN
    sed -i '/^port /d' "$STACK/redis/redis.conf"
    echo "port $PRIVATE_REDIS_PORT" | write_as_store "$STACK/redis/redis.conf"
    spawn_redis
    wait_until 15 redis_settled
    if ! redis_answers; then
        end_processes TERM 5 "${PIDS[redis]}"
        return 1
    fi
    REDIS_URL=redis://default:$REDIS_SECRET@127.0.0.1:$PRIVATE_REDIS_PORT/0
}

spawn_redis() {
    AS_USER=("${STORE_USER[@]}")
    spawn redis TERM redis-server "$STACK/redis/redis.conf"
    AS_USER=()
}

redis_settled() { redis_answers || none_alive "${PIDS[redis]}"; }

redis_answers() {
    [[ $(REDISCLI_AUTH=$REDIS_SECRET timeout 2 redis-cli -h 127.0.0.1 -p "$PRIVATE_REDIS_PORT" PING \
        2>/dev/null) == PONG ]]
}

export_stores() {
    export DATABASE_URL SWITCHBOARD_STACK=$STACK
    [[ -n $NO_REDIS ]] || export REDIS_URL
}
