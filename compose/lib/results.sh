# shellcheck shell=bash
# What every runner found, one line for each test: "pass NAME", "fail NAME" or "skip NAME".

RESULTS="" # the file of all results

record() { printf '%s %s\n' "$1" "${2//$'\n'/ }" >>"$RESULTS"; }

# read_xunit FILE RUNNER: what swift test --xunit-output wrote; one failed test when it wrote nothing,
# because then it crashed or did not build.
read_xunit() {
    if ! grep -qs '<testcase ' "$1"; then
        record fail "$2: the runner ended without results"
        return
    fi
    awk -v runner="$2" '
        /<testcase / {
            name = $0
            sub(/.*classname="/, "", name); sub(/" name="/, "/", name); sub(/".*/, "", name)
            verdict = "pass"
            if ($0 ~ /\/>[[:space:]]*$/) { print verdict, runner ": " name; next }
            open = 1
        }
        open && /<skipped/ { verdict = "skip" }
        open && /<failure|<error/ { verdict = "fail" }
        open && /<\/testcase>/ { print verdict, runner ": " name; open = 0 }
    ' "$1" >>"$RESULTS"
}

# read_tap FILE RUNNER: Test Anything Protocol; tests that were planned and never told of have failed.
read_tap() {
    awk -v runner="$2" '
        /^1\.\.[0-9]+/ && !planned { planned = 1; split($0, plan, /\.\./); count = plan[2] + 0 }
        /^(not )?ok [0-9]+/ {
            told++
            name = $0
            sub(/^(not )?ok [0-9]+ *(- )?/, "", name)
            sub(/ # timeout after [0-9]+s$/, "", name)
            verdict = /^not ok/ ? "fail" : "pass"
            if (tolower(name) ~ /# skip/) { verdict = "skip"; sub(/ *# [Ss][Kk][Ii][Pp].*/, "", name) }
            print verdict, runner ": " name
        }
        END {
            if (!planned) print "fail", runner ": the runner ended without a plan"
            for (missing = told + 1; missing <= count; missing++)
                print "fail", runner ": test " missing " was planned and not run"
        }
    ' "$1" >>"$RESULTS"
}

# The names of what failed in RUNNER so far.
failed_of() { sed -n "s/^fail $1: //p" "$RESULTS"; }

# second_try RUNNER READER FILE: what failed at first and passes in FILE is no longer a failure, but is
# told of: it depends on something that it should not depend on.
second_try() {
    local first=$RESULTS again
    again=$(mktemp)
    RESULTS=$again
    "$2" "$3" "$1"
    RESULTS=$first
    awk 'NR == FNR { if ($1 == "pass") good[substr($0, 6)] = 1; next }
         $1 == "fail" && (substr($0, 6) in good) { sub(/^fail/, "again") }
         { print }' "$again" "$first" >"$first.settled"
    mv "$first.settled" "$first"
    rm -f "$again"
}

# A skipped test proves nothing: it counts as failed unless Tests/skips.txt names it with a reason,
# as "NAME # reason".
judge_skips() {
    local judged=$RESULTS.judged verdict name
    while read -r verdict name; do
        if [[ $verdict == skip ]] && ! is_listed_skip "$name"; then
            verdict=fail
            name+=" (skipped)"
        fi
        printf '%s %s\n' "$verdict" "$name"
    done <"$RESULTS" >"$judged"
    mv "$judged" "$RESULTS"
}

is_listed_skip() {
    local line
    while read -r line; do
        [[ $line == *" # "* && ${line%% \# *} == "$1" ]] && return 0
    done < <(cat "$ROOT/Tests/skips.txt" 2>/dev/null)
    return 1
}

count() { grep -c "^$1 " "$RESULTS" || true; }

# The sum over all runners, alone on the last line; true when nothing failed.
print_sum() {
    judge_skips
    local failed passed skipped
    passed=$(($(count pass) + $(count again))) failed=$(count fail) skipped=$(count skip)
    if ((failed > 0)); then
        printf '\nfailed:\n'
        sed -n 's/^fail /  /p' "$RESULTS"
    fi
    if (($(count again) > 0)); then
        printf '\npassed at the second try only, please look at them:\n'
        sed -n 's/^again /  /p' "$RESULTS"
    fi
    if ((skipped > 0)); then
        printf '\nskipped, as Tests/skips.txt says:\n'
        sed -n 's/^skip /  /p' "$RESULTS"
    fi
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0 && passed > 0))
}
