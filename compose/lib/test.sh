# shellcheck shell=bash
# Every check there is, one runner after the other.

readonly PYTHON=$ROOT/.build/python
# Bounds of one runner each, in seconds; builds have their own.
readonly BUILD_LIMIT=1500 UNIT_LIMIT=600 THREAD_LIMIT=600 INTEGRATION_LIMIT=2000 INTEROP_LIMIT=600
# Up to so many failures of one runner are tried a second time; more are no accident.
readonly SECOND_TRY_MAX=5
readonly LANES=4       # stacks at once for the integration tests
# The suites that wait most: half of the time of all.
readonly WAITING_SUITES="RedisClientTests|JobQueueTests|OutboxTests"
readonly LONG_FACTOR=6 # how much more --long may take

run_tests() {
    LOGS=$(mktemp -d)
    RESULTS=$LOGS/results
    : >"$RESULTS"
    CHILD_GRACE=25 # the child is this script again, with a stack to take down
    [[ -z $LONG ]] || export SWITCHBOARD_LONG=1
    prepare_python
    export PATH=$PYTHON/bin:$PATH
    static_checks
    unit_tests
    thread_tests
    services_tests
    local status=0
    print_sum || status=1
    if ((status == 0)); then rm -rf "$LOGS"; else say "the logs are in $LOGS"; fi
    exit "$status"
}

heading() { printf '\n== %s\n' "$*"; }

# runner NAME SECONDS PROGRAM…: its output goes to a log, its closing lines are shown.
runner() {
    begin "$@"
    ended "$1"
}

# begin NAME SECONDS PROGRAM…: a runner beside others, until `ended NAME`.
begin() {
    local name=$1 limit=$2
    [[ -z $LONG ]] || limit=$((limit * LONG_FACTOR))
    shift 2
    exec_program timeout --kill-after=30 "$limit" "$@" >"$LOGS/$name.log" 2>&1 <&0 &
    RUNNERS[$name]=$!
}
declare -A RUNNERS=()

# ended NAME: waits for it and shows its closing lines; its exit status.
ended() {
    local log=$LOGS/$1.log
    CHILD=${RUNNERS[$1]}
    until child_ended; do pause 0.1; done
    ((CHILD_STATUS != 124)) || printf 'stopped after its time\n' >>"$log"
    tail -n 4 "$log" | cut -c1-300 | sed 's/^/  /'
    return "$CHILD_STATUS"
}

# The tools that Debian does not have, in an environment of the project's own.
prepare_python() {
    local wanted=$ROOT/Tests/requirements.txt
    cmp -s "$wanted" "$PYTHON/installed.txt" && return 0
    say "installing Python tools into ${PYTHON#"$ROOT/"}, once"
    local log=$LOGS/python.log python=/usr/bin/python3
    [[ -x $python ]] || python=python3
    rm -rf "$PYTHON"
    if attend exec_program "$python" -m venv "$PYTHON" >"$log" 2>&1 &&
        attend exec_program "$PYTHON/bin/pip" install --quiet --disable-pip-version-check \
            -r "$wanted" >>"$log" 2>&1; then
        cp "$wanted" "$PYTHON/installed.txt"
    else
        show_log "$log"
        record fail "static: the Python tools of Tests/requirements.txt can be installed"
    fi
}

# check NAME PROGRAM…: one check whose exit status says everything.
check() {
    local name=$1 log=$LOGS/check.log
    shift
    if attend exec_program "$@" >"$log" 2>&1; then
        record pass "static: $name"
        printf '  ok      %s\n' "$name"
    else
        record fail "static: $name"
        printf '  failed  %s\n' "$name"
        tail -n 30 "$log" | cut -c1-300 | sed 's/^/    /'
    fi
}

static_checks() {
    heading "static checks"
    local scripts
    cd "$ROOT" || exit
    mapfile -t scripts < <(find Tests .ci -name '*.sh' -o -path '.ci/*' -type f)
    check "format of the Swift sources" swift format lint --strict --parallel --recursive .
    check "shellcheck of the scripts" shellcheck -x -P SCRIPTDIR compose/local compose/check \
        "${scripts[@]}"
    mapfile -t scripts < <(find Tests -name '*.bats' -o -name '*.bash')
    ((${#scripts[@]} == 0)) ||
        check "shellcheck of the bats files" shellcheck -x -P SCRIPTDIR -s bats "${scripts[@]}"
    check "schema of the compose file" "$PYTHON/bin/check-jsonschema" \
        --builtin-schema vendor.compose-spec compose/docker-compose.yml
    check "hadolint of the Dockerfile" "$PYTHON/bin/hadolint" --ignore DL3008 compose/Dockerfile
}

# build_tests NAME OPTION…: apart from the run, so that a run's bound does not depend on it.
build_tests() {
    local name=$1
    shift
    printf '  building\n'
    if ! with_progress timeout --kill-after=30 "$BUILD_LIMIT" swift build --package-path "$ROOT" \
        --build-tests "$@"; then
        record fail "$name: the tests build"
        return 1
    fi
}

# swift_tests NAME SECONDS OPTION…: in two processes at once, each with a PostgreSQL and a Redis to use
# freely, for most of these tests wait more than they work. Within each one after the other: a process
# has one loop, and a fuzz test beside it would let its deadlines pass.
swift_tests() {
    local name=$1 limit=$2 half
    shift 2
    build_tests "$name" "${TEST_BUILD[@]}" || return 0
    begin_half "$name-waiting" "$limit" --filter "^($WAITING_SUITES)\\."
    begin_half "$name-others" "$limit" "$@" --skip "^($WAITING_SUITES)\\."
    for half in waiting others; do end_half "$name" "$half"; done
    swift_again "$name"
    grep -aEh -A 1 '^✘|error:|^SUMMARY: ' "$LOGS/$name"-{waiting,others}.log | head -n 60 |
        cut -c1-300 | sed 's/^/  /' || true
}

begin_half() {
    local name=$1 limit=$2
    shift 2
    begin "$name" "$limit" "$ROOT/compose/local" stores -- swift test --package-path "$ROOT" \
        --skip-build --ignore-lock --no-parallel --xunit-output "$LOGS/$name.xml" \
        "${TEST_BUILD[@]}" "$@"
}

end_half() {
    local name=$1 half=$1-$2 status=0 xunit=$LOGS/$1-$2.xml failed_before
    ended "$half" || status=$?
    if [[ -s ${xunit%.xml}-swift-testing.xml ]]; then xunit=${xunit%.xml}-swift-testing.xml; fi
    failed_before=$(count fail)
    read_xunit "$xunit" "$name"
    if ((status != 0 && $(count fail) == failed_before)); then
        record fail "$half: the runner ended with status $status"
    fi
}

# The tests that failed, once more.
swift_again() {
    local name=$1 failed xunit=$LOGS/$1-again.xml
    mapfile -t failed < <(failed_of "$name")
    ((${#failed[@]} > 0 && ${#failed[@]} <= SECOND_TRY_MAX)) || return 0
    runner "$name-again" "$UNIT_LIMIT" "$ROOT/compose/local" stores -- swift test \
        --package-path "$ROOT" --skip-build --no-parallel --xunit-output "$xunit" \
        "${TEST_BUILD[@]}" --filter "^($(any_of "${failed[@]%%(*}"))" || true
    if [[ -s ${xunit%.xml}-swift-testing.xml ]]; then xunit=${xunit%.xml}-swift-testing.xml; fi
    [[ ! -s $xunit ]] || second_try "$name" read_xunit "$xunit"
}

# any_of TEXT…: a regular expression for exactly these.
any_of() {
    local text expression=""
    for text in "$@"; do
        expression+=${expression:+|}$(sed 's/[][\.*^$+?(){}|/]/\\&/g' <<<"$text")
    done
    printf '%s' "$expression"
}

unit_tests() {
    heading "unit and simulation tests"
    TEST_BUILD=()
    swift_tests unit "$UNIT_LIMIT"
}

# The libraries under the thread sanitizer: it finds what isolation by the compiler cannot see in C.
thread_tests() {
    heading "tests of the libraries under the thread sanitizer"
    TEST_BUILD=(--sanitize=thread --scratch-path "$ROOT/.build/thread")
    local -x SWITCHBOARD_LIBRARIES_ONLY=1
    swift_tests thread "$THREAD_LIMIT" --filter "^($(library_suites))\\."
}

# The test targets of the modules in Shared/.
library_suites() {
    local folder suites=""
    for folder in "$ROOT"/Shared/*/; do
        folder=$(basename "$folder")Tests
        [[ ! -d $ROOT/Tests/$folder ]] || suites+=${suites:+|}$folder
    done
    printf '%s' "$suites"
}

services_tests() {
    heading "the release build of the services"
    ensure_services || return 0
    begin_interop
    integration_tests
    interop_tests
    long_tests
}

integration_tests() {
    heading "integration tests against the running services"
    export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-120}
    local folder=$ROOT/Tests/Integration files
    mapfile -t files < <(longest_first "$folder")
    bats_tests integration "$folder" "$folder/lanes.sh" "$LANES" "${files[@]}"
}

# With the machine for themselves.
long_tests() {
    [[ -n $LONG ]] || return 0
    local folder=$ROOT/Tests/Integration files
    heading "integration tests on a Redis Cluster"
    mapfile -t files < <(longest_first "$folder" | grep -vE "/($ONE_REDIS)\.bats$")
    AGAIN=("$folder/on_cluster.sh")
    bats_tests cluster "$folder" "$folder/on_cluster.sh" "${files[@]}"
    AGAIN=("${AGAIN_PLAIN[@]}")
    heading "load, full-scale times and chaos"
    folder=$ROOT/Tests/Chaos
    bats_tests chaos "$folder" "$ROOT/compose/local" run -- bats --tap "$folder"
}

# What starts a stack or a Redis of its own, or is about the databases of one server.
readonly ONE_REDIS="assignment_redis|faults_no_redis|faults_start|local|redis_cluster"
# What tries a test for the second time.
readonly AGAIN_PLAIN=("$ROOT/compose/local" run -- bats --tap)
AGAIN=("${AGAIN_PLAIN[@]}")

# The bats files of a folder, those that wait longest first.
longest_first() {
    find "$1" -name '*faults*.bats' | sort
    find "$1" -name '*.bats' ! -name '*faults*' | sort
}

# bats_tests NAME FOLDER PROGRAM…: a runner of bats files, all of them in FOLDER.
bats_tests() {
    local name=$1 folder=$2
    shift 2
    runner "$name" "$INTEGRATION_LIMIT" "$@" || true
    read_tap "$LOGS/$name.log" "$name"
    bats_again "$name" "$folder"
    grep -aE -A 12 '^not ok' "$LOGS/$name.log" | head -n 80 | cut -c1-300 | sed 's/^/  /' || true
}

# The tests that failed, once more, against a stack that nothing happened to.
bats_again() {
    local name=$1 folder=$2 failed
    mapfile -t failed < <(failed_of "$name")
    ((${#failed[@]} > 0 && ${#failed[@]} <= SECOND_TRY_MAX)) || return 0
    runner "$name-again" "$INTEGRATION_LIMIT" "${AGAIN[@]}" \
        --filter "^($(any_of "${failed[@]}"))\$" "$folder" || true
    second_try "$name" read_tap "$LOGS/$name-again.log"
}

# Other people's programs and libraries against services of their own. They take three minutes, most
# of which pass beside the integration tests.
begin_interop() {
    begin interop "$INTEROP_LIMIT" \
        "$ROOT/compose/local" run -- bash "$ROOT/Tests/Interop/run.sh"
}

interop_tests() {
    heading "interoperation"
    ended interop || true
    read_tap "$LOGS/interop.log" interop
    interop_again
    grep -aE -A 12 '^not ok' "$LOGS/interop.log" | head -n 80 | cut -c1-300 | sed 's/^/  /' || true
}

# All of them, where some failed: a rate limit of somebody else's is held to a clock.
interop_again() {
    local failed
    mapfile -t failed < <(failed_of interop)
    ((${#failed[@]} > 0 && ${#failed[@]} <= SECOND_TRY_MAX)) || return 0
    runner interop-again "$INTEROP_LIMIT" \
        "$ROOT/compose/local" run -- bash "$ROOT/Tests/Interop/run.sh" || true
    second_try interop read_tap "$LOGS/interop-again.log"
}

# The release build, with its progress shown; afterwards `run` finds everything built.
ensure_services() {
    [[ -z ${SWITCHBOARD_BIN:-} ]] || return 0
    with_progress "${BUILD[@]}" && return 0
    record fail "the services build for release"
    return 1
}
