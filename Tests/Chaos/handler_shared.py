#!/usr/bin/env python3
"""Three processes work on the jobs of many conversations; one is killed, and one stands still for
longer than its lease and its lock. Needs `compose/local run --replicas 3` with AI_JOB_LEASE_MS and
CONVERSATION_LOCK_MS set.

    handler_shared.py CONVERSATIONS

Then: every conversation has exactly one answer, which is not stale, or was handed over; every answer
was asked to be delivered once; each of the processes had its part.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid

URL, STACK = os.environ["MESSAGING_URL"], os.environ["SWITCHBOARD_STACK"]
TENANT = os.environ["SWITCHBOARD_TENANT"]
PAUSE = 1.5 * max(int(os.environ[n]) for n in ("AI_JOB_LEASE_MS", "CONVERSATION_LOCK_MS")) / 1000
COUNT = int(sys.argv[1])
THINKS = 1.0  # seconds that the AI takes


def ask(method, path, body, key="SWITCHBOARD_ADMIN_KEY", headers=(), tries=100):
    """Repeats what got no answer, as one does that has a name for its request."""
    for _ in range(tries):
        request = urllib.request.Request(URL + path, json.dumps(body).encode(), method=method)
        request.add_header("Authorization", f"Bearer {os.environ[key]}")
        request.add_header("Content-Type", "application/json")
        for name, value in headers:
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=3) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            assert error.code >= 500 or error.code == 409, (path, error.code, error.read())
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"no answer to {method} {path}")


def sql(statement):
    done = subprocess.run(
        ["psql", "--no-psqlrc", "-qAtX", "-v", "ON_ERROR_STOP=1", os.environ["DATABASE_URL"],
         "-c", statement],
        capture_output=True, text=True, timeout=60, check=True,
    )
    return [line.split("|") for line in done.stdout.splitlines()]


def prepare():
    """A channel, a bot, and conversations with it."""
    channel, core, bot = f"shared-{uuid.uuid4().hex[:10]}", str(uuid.uuid4()), str(uuid.uuid4())
    ask("POST", "/v1/internal/channels", {"code": channel, "kind": "local", "version": 1},
        "SERVICE_TOKEN", [("Switchboard-Tenant", TENANT)])
    ask("PUT", f"/v1/core-ai/{core}", {
        "name": "AI", "api_endpoint": "http://127.0.0.1:9/v1",
        "meta_data": {"provider": "simulated", "delay_ms": int(THINKS * 1000)},
    })
    ask("PUT", f"/v1/bots/{bot}", {"name": "Lin", "core_ai_id": core})
    return bot, [
        ask("POST", "/v1/conversations", {
            "channel_code": channel, "contact": {"external_id": f"c{n}"}, "bot_id": bot,
        })["id"]
        for n in range(COUNT)
    ]


def write(conversations):
    for conversation in conversations:
        ask("POST", f"/v1/conversations/{conversation}/messages", {
            "sender": {"kind": "contact", "id": "c"}, "text": "hello",
            "external_id": f"hello-{conversation}",
        })


def pid_of(number):
    with open(f"{STACK}/pids/messaging.{number}", encoding="ascii") as file:
        return int(file.read())


def under_way(bot):
    """How many jobs each process works on."""
    return {worker: int(n) for worker, n in sql(f"""
        select j.worker, count(*) from messaging.ai_jobs j
          join messaging.conversations c on c.tenant_id = j.tenant_id and c.id = j.conversation_id
         where c.bot_id = '{bot}' and j.status = 'processing' group by j.worker""")}


def wait_for(what, body, seconds):
    end = time.monotonic() + seconds
    while not body():
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.1)


def main():
    bot, conversations = prepare()
    threads = [
        threading.Thread(target=write, args=(conversations[n::8],)) for n in range(8)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    wait_for("all three work on jobs", lambda: len(under_way(bot)) == 3, 30)
    os.kill(pid_of(1), signal.SIGKILL)
    wait_for("another one's jobs run", lambda: len(under_way(bot)) >= 2, 10)
    victim = pid_of(2)
    os.kill(victim, signal.SIGSTOP)
    time.sleep(PAUSE)
    os.kill(victim, signal.SIGCONT)
    for thread in threads:
        thread.join()
    wait_for("nothing is left to do", lambda: sql(f"""
        select count(*) from messaging.conversations c where c.bot_id = '{bot}' and (c.awaits_bot
           or exists (select 1 from messaging.ai_jobs j where j.tenant_id = c.tenant_id
                and j.conversation_id = c.id and j.status in ('pending', 'processing')))
    """) == [["0"]], 120)
    took = time.monotonic() - began
    wrong = sql(f"""
        select c.id, c.owner_kind, count(m.id), count(m.id) filter (where m.stale)
          from messaging.conversations c left join messaging.messages m
            on m.tenant_id = c.tenant_id and m.conversation_id = c.id and m.sender_kind = 'bot'
         where c.bot_id = '{bot}' group by c.id, c.owner_kind
        having count(m.id) <> case c.owner_kind when 'bot' then 1 else 0 end
            or count(m.id) filter (where m.stale) > 0""")
    assert not wrong, f"{len(wrong)} conversations have not exactly one answer: {wrong[:3]}"
    sent = sql(f"""
        select count(*), count(distinct o.key) from platform.outbox o
          join messaging.conversations c on c.id::text = o.key
         where c.bot_id = '{bot}' and o.target = 'dispatch-worker'""")
    answers, again, workers = sql(f"""
        select count(*) filter (where j.status = 'completed'), count(*) filter (where j.attempts > 1),
               count(distinct j.worker)
          from messaging.ai_jobs j join messaging.conversations c
            on c.tenant_id = j.tenant_id and c.id = j.conversation_id where c.bot_id = '{bot}'""")[0]
    assert sent == [[answers, answers]], f"{answers} answers, sent: {sent}"
    assert int(again) > 0, "nobody's job was taken over: the test shows nothing"
    assert int(workers) >= 3, f"only {workers} processes had a part"
    print(f"{COUNT} conversations, {answers} answers by {workers} processes, {again} jobs taken over, "
          f"each answered once, in {took:.0f} s")


main()
