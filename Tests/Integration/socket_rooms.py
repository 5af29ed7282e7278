#!/usr/bin/env python3
"""Who is in which conversation, by WebSockets.

A socket is in each conversation that it has joined and in the one that it opened last; it leaves one
by itself, all of them with its goodbye, and when it is cut off once its sign of life is old. Needs the
environment of `compose/local run` with PRESENCE_GRACE_MS=500, USER_PRESENCE_TTL_MS=3000.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from socket_client import Socket, call, conversation  # noqa: E402

TTL, GRACE = 3.0, 0.5


def there(room):
    status, answer = call("GET", f"/v1/conversations/{room}/presence")
    assert status == 200, answer
    return sorted(user["user_id"] for user in answer["users"])


def becomes(room, users, seconds=10.0):
    """Waits until the room has these users; answers how long that took."""
    began = time.monotonic()
    while there(room) != users:
        assert time.monotonic() - began < seconds, (room, there(room), users)
        time.sleep(0.05)
    return time.monotonic() - began


def session(user):
    socket_id = f"s-{uuid.uuid4().hex}"
    assert call("PUT", f"/v1/user-sessions/{socket_id}", {"user_id": user})[0] == 201
    return socket_id


def rooms_of_one_socket():
    first, second, third = (conversation()["id"] for _ in range(3))
    watcher = Socket("".join(f"{'&' if n else '?'}conversation_id={room}"
                             for n, room in enumerate((first, second))))
    time.sleep(1)  # in which the instance has looked who is there: nobody
    anna, socket = session("anna"), Socket()
    for room in (first, second):
        assert socket.ask(anna, "connection.join", {"conversation_id": room})["type"] == "ok"
    assert there(first) == ["anna"] == there(second)
    # What is only looked at is looked at one by one.
    for room in (third, conversation()["id"]):
        assert socket.ask(anna, "navigation.open", {"conversation_id": room})["type"] == "ok"
        assert there(room) == ["anna"]
    assert there(third) == [] and there(first) == ["anna"]
    for _ in range(2):
        assert watcher.wait_for("presence.joined")["data"]["user_id"] == "anna"

    # The second is left: that is told after the grace time, of it alone.
    watcher.events.clear()
    began = time.monotonic()
    assert socket.ask(anna, "connection.leave", {"conversation_id": second})["type"] == "ok"
    assert there(second) == [] and there(first) == ["anna"]
    told = watcher.wait_for("presence.left")
    assert told["conversation_id"] == second and time.monotonic() - began >= GRACE, told
    # Another tab has it: nothing is told of the first.
    tab, other = session("anna"), Socket()
    other.ask(tab, "connection.join", {"conversation_id": first})
    watcher.events.clear()
    socket.ask(anna, "connection.leave", {"conversation_id": first})
    time.sleep(2)
    assert there(first) == ["anna"]
    watcher.drain()
    assert watcher.events == [], watcher.events
    # The signs of life go on for longer than one is good.
    time.sleep(TTL)
    assert there(first) == ["anna"]
    other.connection.close()
    becomes(first, [])


def sql(query):
    command = ["psql", os.environ["DATABASE_URL"], "-XAtqc", query]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def listens_only():
    """Who asks for nothing any more, and only listens, keeps the session; one that ended is let go."""
    room = conversation()["id"]
    ida, other, socket = session("ida"), session("ida"), Socket()
    for socket_id in (ida, other):
        assert socket.ask(socket_id, "connection.join", {"conversation_id": room})["type"] == "ok"
    row = f"messaging.user_sessions where socket_id = '{ida}'"
    sql(
        "update messaging.user_sessions set last_seen_at = now() - interval '6 minutes', "
        f"expires_at = now() + interval '1 minute' where socket_id = '{ida}'"
    )
    assert call("DELETE", f"/v1/user-sessions/{other}")[0] == 204
    end = time.monotonic() + 2 * TTL + 2
    while sql(f"select expires_at > now() + interval '23 hours' from {row}") != "t":
        assert time.monotonic() < end, "the session of who listens runs out"
        time.sleep(0.1)
    time.sleep(TTL + 0.5)
    connections = call("GET", f"/v1/conversations/{room}/presence")[1]["users"][0]["connections"]
    assert connections == 1, connections
    beating = redis_members("3|ida|")
    assert beating == [f"3|ida|{ida}"], beating
    socket.connection.close()
    becomes(room, [])


def redis_members(start):
    """The connections that count as there, whose members begin so."""
    key = f"presence:{{{os.environ['SWITCHBOARD_TENANT']}}}:users"
    command = ["redis-cli", "--no-auth-warning", "-u", os.environ["REDIS_URL"], "ZRANGE", key,
               str(int(time.time() * 1000)), "+inf", "BYSCORE"]
    members = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return [member for member in members if member.startswith(start)]


def opens_only():
    room = conversation()["id"]
    ben, socket = session("ben"), Socket()
    assert socket.ask(ben, "navigation.open", {"conversation_id": room})["type"] == "ok"
    time.sleep(TTL + 1)
    assert there(room) == ["ben"], "a socket that only navigates must stay"
    socket.connection.close()
    becomes(room, [])
    end = time.monotonic() + 10
    while call("GET", f"/v1/user-sessions/{ben}")[0] != 404:
        assert time.monotonic() < end, "the session outlives its socket"
        time.sleep(0.05)


def killed():
    """A client that dies with its host: no goodbye, and no end of the connection either."""
    room = conversation()["id"]
    eva = session("eva")
    watcher = Socket(f"?conversation_id={room}")
    time.sleep(1)
    client = subprocess.Popen(
        [sys.executable, __file__, "client", eva, room], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout.readline() == "joined\n"
    assert watcher.wait_for("presence.joined")["data"]["user_id"] == "eva"
    watcher.events.clear()
    began = time.monotonic()
    client.send_signal(signal.SIGKILL)
    client.wait()
    told = watcher.wait_for("presence.left")
    took = time.monotonic() - began
    assert told["data"]["user_id"] == "eva" and GRACE <= took < TTL + GRACE + 3, took
    assert there(room) == []


def main():
    if sys.argv[1:2] == ["client"]:
        socket = Socket()
        assert socket.ask(sys.argv[2], "connection.join", {"conversation_id": sys.argv[3]})
        print("joined", flush=True)
        time.sleep(600)
        return
    rooms_of_one_socket()
    listens_only()
    opens_only()
    killed()
    print("each room by itself")


main()
