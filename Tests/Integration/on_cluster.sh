#!/usr/bin/env bash
# on_cluster.sh [--filter EXPRESSION] FILE…: the bats files on a stack whose Redis is a cluster of three
# nodes, and after them the question whether any process was ever told that keys lie in several slots.
# Told in the Test Anything Protocol.
set -uo pipefail
SELF=$(readlink -f "${BASH_SOURCE[0]}")
readonly SELF LOCAL=${SELF%/Tests/*}/compose/local

if [[ ${1:-} != --inside ]]; then
    exec "$LOCAL" run --redis-cluster -- bash "$SELF" --inside "$@"
fi
shift
options=()
[[ ${1:-} != --filter ]] || { options=("$1" "$2") && shift 2; }
export PATH=${SELF%/*}/cluster:$PATH
printf '1..%d\n' $(($(bats --count "${options[@]}" "$@") + 1))
status=0
for file in "$@"; do bats --tap "${options[@]}" "$file" | grep -v '^1\.\.' || status=1; done

# What a server refused it counts by its first word; what a service did with that is in its log.
said=$(grep -rhE 'CROSSSLOT|MOVED [0-9]' "$SWITCHBOARD_STACK/log" | head -n 5)
login=${REDIS_URL#redis+cluster://}
IFS=, read -ra nodes <<<"${login##*@}"
counted=0
for node in "${nodes[@]}"; do
    found=$(redis-cli -u "redis://${login%@*}@$node" --no-auth-warning INFO errorstats) &&
        [[ $found == *Errorstats* ]] && counted=$((counted + 1))
    said+=$(grep -a '^errorstat_CROSSSLOT' <<<"$found")
done
name="no command had keys in several slots"
if [[ -z $said && $counted == 3 ]]; then
    printf 'ok 1 %s\n' "$name"
else
    printf 'not ok 1 %s\n%s\n' "$name" "$said" | sed '2,$s/^/# /'
    status=1
fi
exit "$status"
