# shellcheck shell=bash
# What the machine must have: Debian packages, installed once, and Swift.

readonly BUILD_PACKAGES=(libpq-dev libhiredis-dev libcurl4-openssl-dev libssl-dev pkg-config)
readonly STORE_PACKAGES=(redis-server postgresql)
readonly RUN_PACKAGES=(curl jq ca-certificates util-linux)
readonly TEST_PACKAGES=(bats shellcheck prometheus python3-venv git)
readonly BENCH_PACKAGES=(wrk nginx-light redis-tools python3 git)
readonly SWIFT_NEEDED=6.2

# install_for stores|run|test|bench
install_for() {
    local wanted=("${STORE_PACKAGES[@]}" "${RUN_PACKAGES[@]}")
    [[ $1 == stores ]] || wanted+=("${BUILD_PACKAGES[@]}")
    [[ $1 != test ]] || wanted+=("${TEST_PACKAGES[@]}")
    [[ $1 != bench ]] || wanted+=("${BENCH_PACKAGES[@]}")
    if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
        install_packages "${wanted[@]}"
    else
        check_programs
    fi
    check_versions
    [[ $1 == stores || (-n ${SWITCHBOARD_BIN:-} && $1 == run) ]] || check_swift
}

install_packages() {
    local package missing=()
    for package in "$@"; do
        package_is_there "$package" || missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0
    say "installing Debian packages, once: ${missing[*]}"
    local root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            fail "this needs root or sudo; or let somebody run: apt-get install ${missing[*]}"
        root=(sudo)
        # Asks for the password here, where it can be seen, and not into the log below.
        sudo -v || fail "sudo was refused; let somebody run: apt-get install ${missing[*]}"
    fi
    local log
    log=$(mktemp)
    if ! with_quiet_servers apt_install "${missing[@]}" >"$log" 2>&1; then
        show_log "$log" 30
        fail "the packages could not be installed"
    fi
    rm -f "$log"
}

package_is_there() {
    # Any server version of PostgreSQL counts; which one is good enough is checked later.
    [[ $1 != postgresql ]] || { has_postgres && return 0; }
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

has_postgres() { compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; }

# The lists are fetched only where they are missing or too old to find what they name.
apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends
        -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120)
    "${root[@]}" "${apt[@]}" install "$@" && return 0
    "${root[@]}" "${apt[@]}" update && "${root[@]}" "${apt[@]}" install "$@"
}

# Debian starts servers and makes a PostgreSQL cluster when their packages are installed. Ours are
# private ones, so neither is wanted; what is changed for that is put back.
with_quiet_servers() {
    local guard=/usr/sbin/policy-rc.d clusters=/etc/postgresql-common/createcluster.conf
    local made_guard="" changed_clusters="" status=0
    if [[ ! -e $guard ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$guard" >/dev/null
        "${root[@]}" chmod 0755 "$guard"
        made_guard=1
    fi
    if ! has_postgres && "$1" postgresql-common &&
        ! grep -qs '^create_main_cluster *= *false' "$clusters"; then
        "${root[@]}" cp -p "$clusters" "$clusters.before-switchboard"
        echo 'create_main_cluster = false' | "${root[@]}" tee -a "$clusters" >/dev/null
        changed_clusters=1
    fi
    "$@" || status=$?
    [[ -z $changed_clusters ]] || "${root[@]}" mv "$clusters.before-switchboard" "$clusters"
    [[ -z $made_guard ]] || "${root[@]}" rm -f "$guard"
    local server
    for server in redis-server nginx; do
        if [[ -d /run/systemd/system && " $* " == *" $server"* ]]; then
            "${root[@]}" systemctl disable --quiet "$server" || true
        fi
    done
    return "$status"
}

check_programs() {
    local program missing=()
    for program in redis-server redis-cli psql curl jq setpriv flock; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    ((${#missing[@]} == 0)) ||
        fail "this machine has no apt-get; please install what provides: ${missing[*]}"
}

check_versions() {
    ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) || fail "bash 5.1 or newer is needed"
    local found
    found=$("$(postgres_programs)/postgres" --version | grep -oE '[0-9]+' | head -n 1)
    ((found >= 15)) || fail "PostgreSQL 15 or newer is needed; this is $found"
    found=$(redis-server --version | sed -n 's/.*v=\([0-9]*\)\..*/\1/p')
    ((found >= 7)) || fail "Redis 7 or newer is needed; this is $found"
}

check_swift() {
    local found
    command -v swift >/dev/null ||
        fail "Swift $SWIFT_NEEDED or newer is needed: https://www.swift.org/install/linux/"
    found=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p' | head -n 1)
    [[ $(printf '%s\n' "$SWIFT_NEEDED" "$found" | sort -V | head -n 1) == "$SWIFT_NEEDED" ]] ||
        fail "Swift $SWIFT_NEEDED or newer is needed; this is ${found:-unknown}"
}
