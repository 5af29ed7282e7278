/// The parent of a private server.
///
/// Arguments: the folder of the programs, `primary`, `standby` or `tls`, ports to try, then settings.
/// Every wait is bounded; processes are told by their numbers only.
enum PrivatePostgresScript {
    static let text = #"""
        set -u
        programs=$1 kind=$2 ports=$3
        shift 3
        settings=
        for setting in "$@"; do settings="$settings -c $setting"; done
        root=$(mktemp -d /tmp/switchboard-pg.XXXXXX) || exit 1
        pid=
        # The server refuses to run as root. It dies with this shell, whatever kills that.
        enter() {
            if [ "$(id -u)" = 0 ]; then
                exec setpriv --reuid=postgres --regid=postgres --init-groups --pdeathsig INT \
                    -- env -C "$root" "$@"
            fi
            exec env -C "$root" "$@"
        }
        family() { echo "$pid" $(cat "/proc/$pid/task/$pid/children"); }
        crash() {
            [ -n "$pid" ] || return 0
            kill -CONT $(family) 2>/dev/null
            kill -QUIT "$pid" 2>/dev/null
            wait "$pid" 2>/dev/null
            pid=
        }
        finish() {
            crash
            rm -rf "$root"
            exit "$1"
        }
        trap 'finish 1' INT TERM HUP
        ready() {
            tries=0
            while [ $tries -lt 300 ]; do
                if [ "$(head -n 8 "$root/data/postmaster.pid" 2>/dev/null | tail -n 1)" = "ready   " ]
                then return 0; fi
                kill -0 "$pid" 2>/dev/null || return 1
                sleep 0.1
                tries=$((tries + 1))
            done
            return 1
        }
        start() {
            # Word splitting is meant.
            (enter "$programs/postgres" -D "$root/data" -k "$root" -h 127.0.0.1 -p "$port" \
                -c fsync=off -c full_page_writes=off -c max_connections=400 $settings \
            ) </dev/null >>"$root/log" 2>&1 &
            pid=$!
            ready
        }
        answer() { if "$@" >>"$root/log" 2>&1; then echo ok; else tail -n 1 "$root/log"; fi; }
        [ "$(id -u)" != 0 ] || chown postgres "$root"
        (enter "$programs/initdb" -N -D "$root/data" -U app -A trust -E UTF8 --locale=C.UTF-8) \
            >>"$root/log" 2>&1 || { tail -n 1 "$root/log"; finish 1; }
        if [ "$kind" = tls ]; then
            (enter openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
                -keyout "$root/server.key" -out "$root/server.crt") >>"$root/log" 2>&1
            settings="$settings -c ssl=on -c ssl_cert_file=$root/server.crt"
            settings="$settings -c ssl_key_file=$root/server.key"
        fi
        [ "$kind" != standby ] || (enter touch "$root/data/standby.signal")
        for port in $ports; do
            if start; then
                echo "ready $port $root"
                break
            fi
            wait "$pid" 2>/dev/null
            pid=
        done
        [ -n "$pid" ] || { tail -n 1 "$root/log"; finish 1; }
        while read -r command first second; do
            case $command in
                createdb)
                    answer "$programs/createdb" -h "$root" -p "$port" -U app \
                        -T "$second" "$first" ;;
                restart) crash; answer start ;;
                crash) answer crash ;;
                start) answer start ;;
                pause) answer kill -STOP $(family) ;;
                resume) answer kill -CONT $(family) ;;
            esac
        done
        finish 0
        """#
}
