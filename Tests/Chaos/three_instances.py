#!/usr/bin/env python3
"""Three instances of messaging under load, one of which is killed and one of which stands still for
longer than its locks last. Needs `compose/local run --replicas 3` with RATE_LIMIT_WINDOW_MS and
MESSAGE_LOCK_MS set.

    three_instances.py SECONDS

Then: every message that was accepted is there once and in one thread, which was told once; no room
had more assignments in a window than its limit; no stream missed an event.
"""

import collections
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

URL = urllib.parse.urlsplit(os.environ["MESSAGING_URL"])
KEY = os.environ["SWITCHBOARD_AGENT_KEY"]
STACK = os.environ["SWITCHBOARD_STACK"]
WINDOW = int(os.environ["RATE_LIMIT_WINDOW_MS"]) / 1000
LOCK = int(os.environ["MESSAGE_LOCK_MS"]) / 1000
LIMIT = int(os.environ.get("MAX_ASSIGNMENTS_PER_WINDOW") or 10)
PAUSE = 1.5 * LOCK
# As many rooms as get an even share of the messages below their limit.
ROOMS, WRITERS, STREAMS = int(3 * WINDOW), 12, 20
WORDS = "refund jacket invoice login voucher parking trip boots export roaming".split()


class Caller:
    """A caller that repeats what got no answer, as one does that has a name for its request."""

    def __init__(self, key=KEY, headers=()):
        self.headers = {"Authorization": f"Bearer {key}", **dict(headers)}
        self.connection = None

    def ask(self, method, path, body=None, tries=200):
        for _ in range(tries):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=2)
                data = json.dumps(body) if body is not None else None
                headers = dict(self.headers)
                if data is not None:
                    headers["Content-Type"] = "application/json"
                self.connection.request(method, path, data, headers)
                answer = self.connection.getresponse()
                text = answer.read()
                if answer.status < 500 and answer.status != 409:
                    return answer.status, json.loads(text) if text else None
            except (OSError, http.client.HTTPException, ValueError):
                pass
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            time.sleep(0.1)
        raise SystemExit(f"no answer to {method} {path}")


class Stream(threading.Thread):
    """Follows a room from its first event, wherever it is let in."""

    def __init__(self, room):
        super().__init__(daemon=True)
        self.room, self.seqs, self.begun, self.stopped = room, [], 0, False

    def run(self):
        while not self.stopped:
            try:
                self.read()
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.1)

    def read(self):
        connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=40)
        since = self.seqs[-1] if self.seqs else 0
        connection.request(
            "GET", f"/v1/stream?conversation_id={self.room}&since={since}",
            headers={"Authorization": f"Bearer {KEY}"},
        )
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(answer.status)
        self.begun += 1
        for line in answer:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                if event["type"] == "resync_required":
                    raise SystemExit("a stream was told to start anew")
                if event["seq"] is not None:
                    self.seqs.append(event["seq"])


def sql(statement):
    done = subprocess.run(
        ["psql", "--no-psqlrc", "-qAtX", "-v", "ON_ERROR_STOP=1", os.environ["DATABASE_URL"],
         "-c", statement],
        capture_output=True, text=True, timeout=60, check=True,
    )
    return [line.split("|") for line in done.stdout.splitlines()]


def make_rooms():
    channel = f"chaos-{uuid.uuid4().hex[:10]}"
    service = Caller(
        os.environ["SERVICE_TOKEN"], {"Switchboard-Tenant": os.environ["SWITCHBOARD_TENANT"]}
    )
    service.ask("POST", "/v1/internal/channels", {"code": channel, "kind": "local", "version": 1})
    caller = Caller()
    return [
        caller.ask(
            "POST", "/v1/conversations",
            {"channel_code": channel, "contact": {"external_id": f"c{number}"}},
        )[1]["id"]
        for number in range(ROOMS)
    ]


def write(number, rooms, until, accepted):
    """Every room has its even share; two of them twice as much, which is more than their limit."""
    caller, count, source = Caller(), 0, random.Random(number)
    while time.monotonic() < until:
        room = rooms[source.choice((0, 1)) if source.random() < 2 / ROOMS else source.randrange(ROOMS)]
        count += 1
        mode = "?mode=async" if source.random() < 0.3 else ""
        status, answer = caller.ask(
            "POST", f"/v1/conversations/{room}/messages{mode}",
            {
                # An agent writes: a bot beside it would only make the machine busier.
                "sender": {"kind": "agent", "id": f"a{number}"},
                "text": f"{source.choice(WORDS)} {source.choice(WORDS)}",
                "external_id": f"{room}-{number}-{count}",
            },
        )
        assert status in (200, 201, 202), (status, answer)
        message = answer["message"]["id"]
        accepted.append((room, message))
        if source.random() < 0.05:
            # Said out where no contact has written: it is given a thread all the same.
            status, answer = Caller(headers=[("Idempotency-Key", f"{number}-{count}")]).ask(
                "POST", f"/v1/conversations/{room}/replies",
                {"sender": {"kind": "agent", "id": f"a{number}"}, "text": source.choice(WORDS)},
            )
            assert status == 202, (status, answer)
            accepted.append((room, answer["message"]["id"]))
        if source.random() < 0.3:
            # Asked for once more, also while somebody else is at it; the limit may refuse it.
            status, _ = caller.ask("POST", f"/v1/messages/{message}/auto-assign")
            assert status in (200, 429), status
        time.sleep(0.35)


def pid_of(number):
    with open(f"{STACK}/pids/messaging.{number}", encoding="ascii") as file:
        return int(file.read())


def nemesis(seconds, began):
    """Kills one at a third of the time, holds another still at half of it."""
    time.sleep(max(0, began + seconds / 3 - time.monotonic()))
    os.kill(pid_of(1), signal.SIGKILL)
    time.sleep(max(0, began + seconds / 2 - time.monotonic()))
    victim = pid_of(2)
    os.kill(victim, signal.SIGSTOP)
    time.sleep(PAUSE)
    os.kill(victim, signal.SIGCONT)


def check_threads(accepted):
    """Each accepted message is there once, in one thread, and that was told once."""
    ids = {message for _, message in accepted}
    assert len(ids) == len(accepted), "one message was told to two requests"
    rooms = ",".join(f"'{room}'" for room in {room for room, _ in accepted})
    mine = f"conversation_id in ({rooms}) and sender_kind = 'agent'"
    deadline = time.monotonic() + 5 * WINDOW + 60
    while True:
        left = int(sql(f"select count(*) from messaging.messages where {mine} and thread_id is null")[0][0])
        if left == 0:
            break
        assert time.monotonic() < deadline, f"{left} messages have no thread"
        time.sleep(1)
    stored = {row[0] for row in sql(f"select id from messaging.messages where {mine}")}
    assert stored == ids, f"{len(ids - stored)} were lost, {len(stored - ids)} came twice"
    wrong = sql(
        f"""select t.id from messaging.threads t
            left join messaging.messages m on m.tenant_id = t.tenant_id and m.thread_id = t.id
            where t.conversation_id in ({rooms}) group by t.tenant_id, t.id, t.message_count
            having count(m.id) <> t.message_count"""
    )
    assert not wrong, f"{len(wrong)} threads count otherwise than they hold"
    told = collections.Counter(
        row[0] for row in sql(
            f"""select payload ->> 'message_id' from platform.outbox
                where target = 'message.assigned' and payload ->> 'conversation_id' in ({rooms})"""
        )
    )
    assert all(told[message] == 1 for message in ids), "an assignment was not told once"


def check_limit(rooms):
    """No room had more in a window: what is committed late counts from its commit, give or take."""
    window = WINDOW - 0.5
    listed = ",".join(f"'{room}'" for room in rooms)
    times = collections.defaultdict(list)
    for room, at in sql(
        f"""select payload ->> 'conversation_id', extract(epoch from created_at) from platform.outbox
            where target = 'message.assigned' and payload ->> 'conversation_id' in ({listed})"""
    ):
        times[room].append(float(at))
    most = 0
    for series in times.values():
        series.sort()
        for index, at in enumerate(series):
            inside = sum(1 for other in series[index:] if other < at + window)
            most = max(most, inside)
    assert most <= LIMIT, f"{most} assignments of a room in {window:.1f} s"
    assert most == LIMIT, f"the limit was never reached ({most}): the test shows nothing"
    return most


def check_streams(streams):
    for stream in streams:
        deadline = time.monotonic() + 20
        while True:
            head = int(sql(
                f"select event_seq from messaging.conversations where id = '{stream.room}'"
            )[0][0])
            if stream.seqs == list(range(1, head + 1)):
                break
            assert time.monotonic() < deadline, f"a stream has {len(stream.seqs)} of {head} events"
            time.sleep(0.2)
    cut = sum(stream.begun - 1 for stream in streams)
    assert cut > 0, "no stream was cut: the test shows nothing"
    return cut


def main():
    seconds = int(sys.argv[1])
    rooms = make_rooms()
    streams = [Stream(room) for room in rooms[:STREAMS]]
    for stream in streams:
        stream.start()
    accepted = []
    began = time.monotonic()
    threads = [threading.Thread(target=nemesis, args=(seconds, began))]
    threads += [
        threading.Thread(target=write, args=(number, rooms, began + seconds, accepted))
        for number in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_threads(accepted)
    most = check_limit(rooms)
    cut = check_streams(streams)
    print(
        f"{len(accepted)} messages, each in one thread; at most {most} of a room in a window; "
        f"{len(streams)} streams whole, {cut} times cut"
    )


main()
