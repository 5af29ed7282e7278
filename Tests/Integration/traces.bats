#!/usr/bin/env bats
# Traces, as a collector of OpenTelemetry gets them from a stack of its own.
# bats file_tags=local

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    SPANS=$BATS_TEST_TMPDIR/spans
    TRACE=$(tr -d - </proc/sys/kernel/random/uuid) CALLER=00f067aa0ba902b7
    for _ in {1..20}; do
        PORT=$((10240 + RANDOM % 12000))
        (exec 9<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null || break
    done
    COLLECTOR=http://127.0.0.1:$PORT
    python3 Tests/OTLPCollector/otlp_collector.py "$PORT" "$SPANS" 3>&- &
    PID=$!
    eventually 10 curl -sf -o /dev/null "$COLLECTOR/faults"
}
teardown() { kill "$PID" 2>/dev/null || true; }
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# The story in a stack whose services export what a caller records.
exporting() {
    OTEL_EXPORTER_OTLP_ENDPOINT=$COLLECTOR OTEL_BSP_SCHEDULE_DELAY=100 \
        OTEL_TRACES_SAMPLER=parentbased_always_off compose/local run -- \
        Tests/Integration/trace_story.sh "$TRACE" "$CALLER"
}

@test "one conversation is one trace over the three services, each step below the one it is part of" {
    exporting
    # The end of a service exports what was left.
    [[ -z $(curl -sS "$COLLECTOR/faults") ]]
    run python3 Tests/OTLPCollector/trace_tree.py "$TRACE" "$CALLER" \
        "messaging: POST /v1/conversations/{id}/messages < -" \
        "messaging: message.guard < POST /v1/conversations/{id}/messages" \
        "messaging: message.write < POST /v1/conversations/{id}/messages" \
        "messaging: message.commit < message.write" \
        "messaging: bot.job < message.commit" \
        "messaging: bot.ask < bot.job" \
        "messaging: bot.write < bot.job" \
        "messaging: outbox.deliver < bot.write" \
        "messaging: service.call < outbox.deliver" \
        "dispatch-worker: POST /v1/message-requests < service.call" \
        "messaging: assignment.job < POST /v1/conversations/{id}/messages" \
        "messaging: POST /v1/conversations/{id}/handover < -" \
        "messaging: service.call < POST /v1/conversations/{id}/handover" \
        "assignment-engine: POST /v1/sessions < service.call" \
        "assignment-engine: assignment.open < POST /v1/sessions" \
        "assignment-engine: engine.run < POST /v1/sessions" \
        "assignment-engine: engine.look < engine.run" \
        "assignment-engine: engine.turn < engine.run" \
        "assignment-engine: engine.claim < engine.run" \
        "assignment-engine: assignment.outcome < POST /v1/sessions" \
        "messaging: POST /v1/conversations/{id}/replies < -" \
        "messaging: outbox.deliver < POST /v1/conversations/{id}/replies" \
        "dispatch-worker: dispatch.render < POST /v1/message-requests" \
        "dispatch-worker: dispatch.project < POST /v1/message-requests" \
        "dispatch-worker: dispatch < POST /v1/message-requests" \
        "dispatch-worker: dispatch.resolve < dispatch" \
        "dispatch-worker: dispatch.claim < dispatch" \
        "dispatch-worker: dispatch.commit < dispatch" \
        "dispatch-worker: dispatch.send < dispatch" \
        "dispatch-worker: dispatch.record < dispatch" \
        "dispatch-worker: dispatch.report < dispatch" \
        "dispatch-worker: dispatch.unlock < dispatch" \
        "dispatch-worker: outbox.deliver < dispatch.record" \
        "messaging: POST /v1/internal/assignment < service.call" \
        "messaging: POST /v1/internal/delivery < service.call" <"$SPANS"
    echo "$output"
    [[ $status == 0 ]]
    # Nobody asked for the other calls to be recorded.
    [[ $(jq -r .traceId "$SPANS" | sort -u) == "$TRACE" ]]
}

@test "a collector that hangs, refuses or is away delays nothing; what is lost is counted" {
    curl -sS -X POST "$COLLECTOR/mode/hang" -o /dev/null
    # shellcheck disable=SC2016 # for the shell inside
    OTEL_EXPORTER_OTLP_ENDPOINT=$COLLECTOR OTEL_BSP_SCHEDULE_DELAY=50 OTEL_BSP_MAX_QUEUE_SIZE=4 \
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE=2 OTEL_EXPORTER_OTLP_TIMEOUT=1000 \
        compose/local run -- bash -euc '
            count() { curl -sS "$MESSAGING_URL/metrics" | sed -n "s/^trace_spans_$1 //p"; }
            Tests/Integration/trace_story.sh "$1" "$2"
            [[ $(count "dropped_total{reason=\"full\"}") -gt 0 && $(count exported_total) == 0 ]]
            [[ $(grep -c "takes nothing" "$SWITCHBOARD_STACK/log/messaging.1.log") == 1 ]]
            curl -sS -X POST "$3/mode/refuse" -o /dev/null
            refused() { [[ $(count "dropped_total{reason=\"refused\"}") -gt 0 ]]; }
            for _ in {1..100}; do ! refused || break; sleep 0.1; done
            refused
            curl -sS -X POST "$3/mode/take" -o /dev/null
            curl -sS -o /dev/null "$MESSAGING_URL/readyz"
            for _ in {1..50}; do [[ $(count exported_total) == 0 ]] || break; sleep 0.1; done
            [[ $(count exported_total) -gt 0 ]]
            curl -sS -X POST "$3/mode/hang" -o /dev/null
            curl -sS -o /dev/null "$MESSAGING_URL/readyz"' bash "$TRACE" "$CALLER" "$COLLECTOR"
    [[ -s $SPANS && -z $(curl -sS --max-time 5 "$COLLECTOR/faults") ]]
}
