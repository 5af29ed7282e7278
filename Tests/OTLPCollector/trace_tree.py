"""Reads spans, a line of JSON each, on standard input, and tells whether one trace is whole.

    trace_tree.py TRACE_ID CALLER_SPAN_ID WANTED…

WANTED is "service: name < parent's name", or "service: name < -" for what stands directly below the
caller; all of them have to be there, and every span's parent has to be there or to be the caller.
A span may not begin before its parent. Prints the tree, and what is missing.
"""

import json
import sys

# Steps of one process are measured by one clock, those of several by clocks that may differ by this.
SLACK_NS = 5_000_000


def main():
    trace, caller, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
    spans = {}
    for line in sys.stdin:
        span = json.loads(line)
        if span["traceId"] == trace:
            spans[span["spanId"]] = span
    missing, seen = [], set()
    for span in spans.values():
        parent = spans.get(span.get("parentSpanId"))
        if parent is None and span.get("parentSpanId") != caller:
            missing.append(f"the parent of {span['service']}: {span['name']}")
        if parent and int(span["startTimeUnixNano"]) + SLACK_NS < int(parent["startTimeUnixNano"]):
            missing.append(f"{span['service']}: {span['name']} begins before {parent['name']}")
        seen.add(f"{span['service']}: {span['name']} < {parent['name'] if parent else '-'}")
    missing += [want for want in wanted if want not in seen]

    def show(of, depth):
        below = [span for span in spans.values() if span.get("parentSpanId") == of]
        for span in sorted(below, key=lambda span: int(span["startTimeUnixNano"])):
            took = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6
            print(f"{'  ' * depth}{span['service']}: {span['name']}  {took:.2f} ms")
            show(span["spanId"], depth + 1)

    show(caller, 0)
    for what in missing:
        print(f"missing: {what}")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
