#!/usr/bin/env bats
# Every route of every service, asked wrongly in every way: bad_input.py says how.

setup() { export PYTHONDONTWRITEBYTECODE=1; }

@test "messaging refuses bad input on every route, says what and where, and changes nothing" {
    python3 "$BATS_TEST_DIRNAME/bad_input.py" messaging
}

@test "assignment-engine refuses bad input on every route, says what and where, and changes nothing" {
    python3 "$BATS_TEST_DIRNAME/bad_input.py" assignment-engine
}

@test "dispatch-worker refuses bad input on every route, says what and where, and changes nothing" {
    python3 "$BATS_TEST_DIRNAME/bad_input.py" dispatch-worker
}

@test "D14: every writing call of every service leaves who did what, before and after, in the audit" {
    python3 "$BATS_TEST_DIRNAME/audit.py"
}

@test "D15: another tenant's ids are not found, in no path and in no body of a writing call" {
    python3 "$BATS_TEST_DIRNAME/isolation.py"
}
