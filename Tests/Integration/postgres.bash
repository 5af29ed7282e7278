# shellcheck shell=bash
# PostgreSQL of a `compose/local run`, torn down as in a crash of its machine, and started again.

restart_immediately() {
    local programs as_owner=()
    # shellcheck disable=SC2012 # the names are PostgreSQL's version numbers
    programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    ((EUID != 0)) || as_owner=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    (cd "$SWITCHBOARD_STACK/postgres" && "${as_owner[@]}" "${programs:+$programs/}pg_ctl" restart \
        -m immediate -w -D data -l data/restart.log) >/dev/null 2>&1 3>&-
}
