#!/usr/bin/env bash
# Kills a service between every two steps of the main job: at its first fault point, in another run
# at its second, and so on until a run ends unharmed. After each death everything must have happened
# once: the message, the bot's answer, the assignment, the delivery.
#
# Needs the environment of `compose/local run`, best with short leases.
# Usage: crash.sh SERVICE [local|slack]
set -euo pipefail
# shellcheck source=stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"

SERVICE=$1 TRANSPORT=${2:-local}
readonly POINTS_MAX=200
CHANNEL=crash-$RANDOM$RANDOM

# shellcheck source=crash.bash
source "$(dirname "${BASH_SOURCE[0]}")/crash.bash"

eventually 60 are_ready
prepare_team
prepare_channel "$CHANNEL" "$TRANSPORT"
for ((number = 1; number <= POINTS_MAX; number++)); do
    POINT="point $number of $SERVICE"
    key="$CHANNEL-$number"
    DEATHS=$(deaths)
    open_conversation "$CHANNEL"
    # What is left of earlier runs would be counted as steps of this one.
    eventually "$SETTLE" outbox_is_empty
    restart_with "*:$number:die" "$SERVICE"
    main_job "$key" || broken "the job came to no end"
    if ! eventually 2 has_died; then
        printf 'point %d was not reached: every one of %s before it has been tried\n' "$number" "$SERVICE"
        break
    fi
    POINT=$(grep '^fault point ' "$(log_of "$SERVICE.1")" | tail -n 1 | sed 's/fault point //; s/: .*//')
    eventually "$SETTLE" is_ready "$SERVICE" || broken "it does not come back"
    happened_once "$key"
    printf 'killed at %-26s (%d)\n' "$POINT" "$number"
done
((number > 1)) || { echo "no fault was ever met" && exit 1; }
((FAULTS == 0))
