#!/usr/bin/env python3
"""Several instances of assignment-engine under load, while something goes wrong. Needs
`compose/local run --replicas N`.

    engine_instances.py claims|killed|redis|postgres SECONDS

claims    fifty callers at a time ask for one session, over and over
killed    one instance is killed, one stands still for some seconds
redis     Redis is gone for a while; an instance begins in that time; Redis comes back
postgres  PostgreSQL is torn down as in a crash and started again

Then: every handover that was accepted is one session, which has one owner or says why not; nobody has
more than its capacity; what is counted is what there is; and what waits is served once there is room.
"""

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

URL = urllib.parse.urlsplit(os.environ["ASSIGNMENT_ENGINE_URL"])
KEY = os.environ["SWITCHBOARD_ADMIN_KEY"]
STACK = os.environ["SWITCHBOARD_STACK"]
HERE = os.path.dirname(os.path.abspath(__file__))
AGENTS, CAPACITY, WRITERS = 6, 4, 10
STRATEGIES = ("round_robin", "fair", "least_active")


class Caller:
    """A caller that repeats what got no answer, under one key for each thing that it wants."""

    connection = None

    def ask(self, method, path, body=None, good=(200, 201), seconds=60):
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        until, seen = time.monotonic() + seconds, None
        while time.monotonic() < until:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=3)
                data = json.dumps(body) if body is not None else None
                self.connection.request(method, path, data, headers)
                answer = self.connection.getresponse()
                text = answer.read()
                seen = (answer.status, text[:300])
                if answer.status in good:
                    return answer.status, json.loads(text) if text else None
                if answer.status in (401, 404, 422):
                    raise SystemExit(f"{method} {path}: {seen}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                seen = error
                if self.connection is not None:
                    self.connection.close()
                self.connection = None
            time.sleep(0.1)
        raise SystemExit(f"no good answer to {method} {path}: {seen}")


def sql(statement):
    done = subprocess.run(
        ["psql", "--no-psqlrc", "-qAtX", "-v", "ON_ERROR_STOP=1", os.environ["DATABASE_URL"],
         "-c", statement],
        capture_output=True, text=True, timeout=60, check=True,
    )
    return done.stdout.strip()


def eventually(seconds, what, wanted):
    until = time.monotonic() + seconds
    while (found := what()) != wanted:
        if time.monotonic() > until:
            raise SystemExit(f"wanted {wanted!r}, found {found!r}")
        time.sleep(0.2)


def pid(name):
    with open(f"{STACK}/pids/{name}") as file:
        return int(file.read())


class Company:
    """Three teams, one for each strategy, that share their people."""

    def __init__(self):
        caller = Caller()
        self.teams = [str(uuid.uuid4()) for _ in STRATEGIES]
        self.agents = [str(uuid.uuid4()) for _ in range(AGENTS)]
        for team, strategy in zip(self.teams, STRATEGIES):
            caller.ask("PUT", f"/v1/teams/{team}", {"name": strategy, "strategy": strategy})
        for agent in self.agents:
            caller.ask(
                "PUT", f"/v1/agents/{agent}",
                {"name": f"Agent {agent[:4]}", "capacity_units": CAPACITY, "presence_mode": "manual"},
            )
            for team in self.teams:
                caller.ask("PUT", f"/v1/teams/{team}/members/{agent}", {})
            caller.ask("PUT", f"/v1/agents/{agent}/status", {"status": "online"})
        self.accepted, self.lock = [], threading.Lock()

    def hand_over(self, caller, team, conversation, good=(200, 201)):
        return caller.ask(
            "POST", "/v1/sessions",
            {"conversation_id": conversation, "contact_id": conversation, "team_id": team,
             "source": "handover"}, good,
        )

    def work(self, number, until):
        """Hands over, closes, comes and goes."""
        caller, source, mine = Caller(), random.Random(number), []
        while time.monotonic() < until:
            roll = source.random()
            if roll < 0.55 or not mine:
                conversation = str(uuid.uuid4())
                # 503 is outcome `error`: the session is there, and a timer tries again.
                status, answer = self.hand_over(
                    caller, source.choice(self.teams), conversation,
                )
                with self.lock:
                    self.accepted.append(conversation)
                mine.append(answer["session"]["id"])
            elif roll < 0.9:
                session = mine.pop(source.randrange(len(mine)))
                caller.ask("POST", f"/v1/sessions/{session}/close", {}, (200, 409))
            else:
                status = "online" if source.random() < 0.7 else "away"
                caller.ask(
                    "PUT", f"/v1/agents/{source.choice(self.agents)}/status", {"status": status}
                )
            time.sleep(0.02)

    def in_teams(self):
        return "(" + ", ".join(f"'{team}'" for team in self.teams) + ")"

    def check(self):
        """What must hold; nothing is under way any more."""
        of_ours = f"from assignment.sessions s where s.team_id in {self.in_teams()}"
        there = set(sql(f"select conversation_id {of_ours}").split("\n"))
        if lost := set(self.accepted) - there:
            raise SystemExit(f"{len(lost)} of {len(self.accepted)} accepted handovers are lost")
        broken = {
            "a conversation has two sessions":
                f"select conversation_id {of_ours} group by 1 having count(*) > 1",
            "a session waits and nobody says why":
                f"select id {of_ours} and state = 'queued' and last_reason is null",
            "an owner is not who the last decision names":
                f"select s.id {of_ours} and s.state = 'assigned' and s.assignee_id is distinct from ("
                " select d.agent_id from assignment.assignment_decisions d"
                " where d.tenant_id = s.tenant_id and d.session_id = s.id and d.outcome = 'assign'"
                " order by d.created_at desc limit 1)",
            "a session was given away more often than it was free":
                f"select s.id {of_ours} and 1 < (select count(*) from"
                " assignment.assignment_decisions d where d.tenant_id = s.tenant_id"
                " and d.session_id = s.id and d.outcome = 'assign')",
            "somebody has more than its capacity":
                "select id from assignment.agents where active_units > capacity_units",
            "somebody counts what it does not have":
                "select a.id from assignment.agents a where a.active_units <> ("
                " select coalesce(sum(s.units), 0) from assignment.sessions s"
                " where s.tenant_id = a.tenant_id and s.assignee_id = a.id and s.state = 'assigned')",
        }
        for what, query in broken.items():
            if found := sql(query):
                raise SystemExit(f"{what}: {found.split()[:5]}")

    def finish(self):
        """Once there is room for everybody, nobody waits."""
        caller = Caller()
        for agent in self.agents:
            caller.ask("PUT", f"/v1/agents/{agent}",
                       {"name": "Agent", "capacity_units": 1000})
            caller.ask("PUT", f"/v1/agents/{agent}/status", {"status": "online"})
        waiting = (f"select count(*) from assignment.sessions where team_id in {self.in_teams()}"
                   " and state not in ('assigned', 'closed')")
        eventually(60, lambda: sql(waiting), "0")
        self.check()
        print(f"{len(self.accepted)} handovers, each with one owner; every count is true", flush=True)


def claims(company, seconds):
    """Fifty at once for one session: whoever is asked says the same owner."""
    until, rounds = time.monotonic() + seconds, 0
    callers = [Caller() for _ in range(50)]
    while time.monotonic() < until:
        team = company.teams[rounds % len(company.teams)]
        conversation, owners = str(uuid.uuid4()), []

        def one(caller):
            _, answer = company.hand_over(caller, team, conversation)
            owners.append(answer["session"]["assignee_id"])

        threads = [threading.Thread(target=one, args=(caller,)) for caller in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        company.accepted.append(conversation)
        session = sql("select id from assignment.sessions "
                      f"where conversation_id = '{conversation}'").split("\n")
        assert len(session) == 1, session
        # A run that found another one at it says that the session waits.
        known = {owner for owner in owners if owner}
        assert len(owners) == 50 and len(known) == 1, (len(owners), known)
        callers[0].ask("POST", f"/v1/sessions/{session[0]}/close", {})
        rounds += 1
    print(f"{rounds} sessions, each asked for by 50 callers at once", flush=True)


def killed():
    victim, frozen = pid("assignment-engine.1"), pid("assignment-engine.2")
    os.kill(victim, signal.SIGKILL)
    os.kill(frozen, signal.SIGSTOP)
    time.sleep(6)
    os.kill(frozen, signal.SIGCONT)


def redis():
    open(f"{STACK}/hold/redis", "w").close()
    os.kill(pid("redis"), signal.SIGKILL)
    time.sleep(2)
    # This one begins while there is no Redis.
    os.kill(pid("assignment-engine.1"), signal.SIGKILL)
    time.sleep(4)
    os.remove(f"{STACK}/hold/redis")


def postgres():
    subprocess.run(
        ["bash", "-c", f"source {HERE}/../Integration/postgres.bash && restart_immediately"],
        check=True, timeout=60,
    )


def main():
    what, seconds = sys.argv[1], int(sys.argv[2])
    company = Company()
    if what == "claims":
        claims(company, seconds)
    else:
        until = time.monotonic() + seconds
        writers = [
            threading.Thread(target=company.work, args=(number, until)) for number in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        time.sleep(seconds / 4)
        {"killed": killed, "redis": redis, "postgres": postgres}[what]()
        for writer in writers:
            writer.join()
        if what == "redis":
            health = lambda: Caller().ask("GET", "/health")[1]["rr_provider"]
            for _ in range(12):
                eventually(30, health, "redis")
    company.finish()


if __name__ == "__main__":
    main()
