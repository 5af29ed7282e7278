# shellcheck shell=bash
# The executables, built for release; says what happens, because the first time takes minutes.

BIN=${SWITCHBOARD_BIN:-}
readonly BUILD=(swift build --package-path "$ROOT" -c release --static-swift-stdlib)

build_services() {
    if [[ -n $BIN ]]; then
        BIN=$(cd "$BIN" && pwd -P) || fail "SWITCHBOARD_BIN is not a folder: $BIN"
    else
        BIN=$("${BUILD[@]}" --show-bin-path)
        [[ -x $BIN/messaging ]] || say "building for release; the first time takes some minutes"
        with_progress "${BUILD[@]}" || fail "the build failed"
    fi
    local service
    for service in "${SERVICES[@]}"; do
        [[ -x $BIN/$service ]] || fail "there is no executable $service in $BIN"
    done
}

# The other side of the benchmark: a package of its own, which nothing else builds.
build_hummingbird_peer() {
    local build=(swift build --package-path "$ROOT/Tests/Bench/HummingbirdPeer" -c release)
    HUMMINGBIRD_PEER=$("${build[@]}" --show-bin-path)/hummingbird-peer
    [[ -x $HUMMINGBIRD_PEER ]] || say "building Hummingbird, once; it takes some minutes"
    with_progress "${build[@]}" || fail "the Hummingbird peer does not build"
    export HUMMINGBIRD_PEER
}

# with_progress PROGRAM…: Swift's own moving line at a terminal, else a line every ten seconds; the
# errors in full when it fails.
with_progress() {
    local log status=0 next
    if [[ -t 2 ]]; then
        attend exec_program "$@" >&2
        return
    fi
    log=$(mktemp)
    run_child exec_program "$@" >"$log" 2>&1
    next=$(($(now_ms) + 10000))
    until child_ended; do
        pause 0.2
        (($(now_ms) >= next)) || continue
        next=$((next + 10000))
        say "  $(tr '\r' '\n' <"$log" | grep -a '^\[' | tail -n 1 | cut -c1-100)"
    done
    if ((CHILD_STATUS != 0)); then
        grep -aE -A 6 'error:' "$log" | head -n 60 >&2 || tail -n 30 "$log" >&2
        status=$CHILD_STATUS
    fi
    rm -f "$log"
    return "$status"
}
