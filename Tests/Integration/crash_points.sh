#!/usr/bin/env bash
# Kills the services at fault points by their names, one after the other, during the main job, and
# says of each whether everything has happened once. The stack stays; the service that died comes
# back.
#
# Needs the environment of `compose/local run`, best with short leases.
# Usage: crash_points.sh local|slack all|sample: the points of the list crash_points.
#        crash_points.sh local|slack SERVICE POINT[:COUNT]
set -euo pipefail
HERE=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=stack.bash
source "$HERE/stack.bash"
# shellcheck source=crash.bash
source "$HERE/crash.bash"

TRANSPORT=$1
CHANNEL=crash-$RANDOM$RANDOM
TRIED=0

# The lines of the list that are asked for: SERVICE POINT.
points() {
    case $1 in
    all) awk -v by="$TRANSPORT" '$2 == by { print $1, $3 }' "$HERE/crash_points" ;;
    sample) awk -v by="$TRANSPORT" '$2 == by && $4 == "sample" { print $1, $3 }' "$HERE/crash_points" ;;
    *) printf '%s %s\n' "$1" "$2" ;;
    esac
}

# try_point POINT[:COUNT]: kills SERVICE there.
try_point() {
    local before=$FAULTS key began=$SECONDS
    POINT="$SERVICE, $1"
    TRIED=$((TRIED + 1)) key=$CHANNEL-$TRIED
    [[ $1 == *:* ]] || set -- "$1:1"
    open_conversation "$CHANNEL"
    # What is left of the run before would meet the point first.
    eventually "$SETTLE" outbox_is_empty || broken "the outbox of the run before is not empty"
    restart_with "$1:die" "$SERVICE"
    DEATHS=$(deaths)
    main_job "$key" || broken "the job came to no end"
    if eventually 5 has_died; then
        eventually "$SETTLE" is_ready "$SERVICE" || broken "it does not come back"
        happened_once "$key"
    else
        broken "it was not met"
    fi
    ((FAULTS > before)) || printf 'once: %s (%d s)\n' "$POINT" $((SECONDS - began))
}

eventually 60 are_ready
prepare_team
prepare_channel "$CHANNEL" "$TRANSPORT"
while read -r SERVICE point; do try_point "$point" </dev/null; done < <(points "${@:2}")
((TRIED > 0)) || { echo "there is no such point" && exit 1; }
printf '%d points, %d faults\n' "$TRIED" "$FAULTS"
((FAULTS == 0))
