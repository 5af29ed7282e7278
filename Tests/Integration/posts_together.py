#!/usr/bin/env python3
"""Messages written together leave what they leave when they are written one after the other.

Random lists of messages, with whatever one may have to do with another, go into conversations of each
owner: into some in a single call, into others alike one by one. All that is in one transaction that is
taken back, so that nobody answers them meanwhile. Arguments: a channel, how many times. Needs the
environment of `compose/local run`.
"""

import difflib
import json
import os
import random
import re
import subprocess
import sys

CHANNEL, TIMES = sys.argv[1], int(sys.argv[2])
SEED = int(os.environ.get("SEED", random.randrange(10**9)))
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|\+00(:00)?)")
OWNERS = ["bot", "human", "none", "closed", "long closed"]

MAKE = """
with contact as (
  insert into messaging.contacts (tenant_id, channel_code, external_id)
  select id, :'channel', :'name' from platform.tenants where code = :'tenant' returning *)
insert into messaging.conversations
    (tenant_id, id, channel_code, contact_id, owner_kind, state, closed_at, closed_owner, event_seq)
  select tenant_id, :'conversation', channel_code, id,
         case when :'owner' in ('human', 'none') then :'owner' else 'bot' end,
         case when :'owner' like '%closed' then 'closed' else 'open' end,
         case :'owner' when 'closed' then now() when 'long closed' then now() - interval '1 year' end,
         case when :'owner' like '%closed' then 'bot' end, 0
    from contact;
insert into messaging.threads (tenant_id, id, conversation_id, title, archived_at)
  select t.id, x.id::uuid, :'conversation', 'made before ' || x.n, case x.n when 2 then now() end
    from platform.tenants t, unnest(string_to_array(:'threads', ' ')) with ordinality x (id, n)
   where t.code = :'tenant';
"""

POST = """
select coalesce(jsonb_agg(to_jsonb(p) - 'place'), '[]') from messaging.post_batch(
  'lexical-v1', '1 hour', '2 hours', 3, (select jsonb_agg(g.value || jsonb_build_object(
    'tenant', t.id, 'code', t.code)) from platform.tenants t, jsonb_array_elements(:'groups') g
    where t.code = :'tenant'), true) p;
"""

# What is left behind, but for clocks, and for versions: what is written together is one change.
LEFT = """
select jsonb_build_object(
  'conversation', (select to_jsonb(c) - array['id', 'contact_id', 'version', 'event_seq']
    from messaging.conversations c where c.id = :'conversation'),
  'messages', (select jsonb_agg(to_jsonb(m) order by m.seq)
    from messaging.messages m where m.conversation_id = :'conversation'),
  'threads', (select jsonb_agg(to_jsonb(h) - 'version' order by h.title, h.created_at)
    from messaging.threads h where h.conversation_id = :'conversation'),
  'jobs', (select jsonb_agg(to_jsonb(j) order by j.fence)
    from messaging.ai_jobs j where j.conversation_id = :'conversation'),
  'timers', (select jsonb_agg(to_jsonb(x) order by m.seq) from platform.timers x
    join messaging.messages m on m.tenant_id = x.tenant_id and m.id = x.ref_id
    where m.conversation_id = :'conversation'),
  'told', (select jsonb_agg(jsonb_build_array(o.kind, o.target, o.payload) order by o.id)
    from platform.outbox o where o.key = :'conversation'),
  'events', (select jsonb_agg(jsonb_build_array(e.type, e.ref_id, e.data) order by e.seq)
    from messaging.conversation_events e
    where e.conversation_id = :'conversation' and e.type not like 'thread.%'),
  'threads told', (select jsonb_agg(jsonb_build_array(e.type, e.ref_id) order by e.seq)
    from messaging.conversation_events e
    where e.conversation_id = :'conversation' and e.type like 'thread.%'),
  'events have no gap', (select count(*) = max(e.seq) and max(e.seq) = max(c.event_seq)
    from messaging.conversation_events e join messaging.conversations c on c.id = e.conversation_id
    where c.id = :'conversation'),
  'audit', (select jsonb_agg(jsonb_build_array(a.actor, a.action, a.subject, a.after) order by m.seq)
    from platform.audit a left join messaging.messages m
      on m.conversation_id = :'conversation' and m.id::text = a.subject
    where a.after ->> 'conversation_id' = :'conversation'),
  'keys', (select jsonb_agg(jsonb_build_array(i.key, i.state, i.result, i.status) order by i.key)
    from platform.idempotency i where i.path = :'conversation'));
"""


def psql(statements):
    """Runs them in one transaction, which it takes back; the rows."""
    script = "\n".join(["begin;", f"\\set tenant {os.environ['SWITCHBOARD_TENANT']}",
                        f"\\set channel {CHANNEL}", *statements, "rollback;"])
    done = subprocess.run(
        ["psql", "--no-psqlrc", "-qAtX", "-v", "ON_ERROR_STOP=1", os.environ["DATABASE_URL"]],
        input=script, capture_output=True, text=True, timeout=30,
    )
    if done.returncode != 0:
        raise SystemExit(f"seed {SEED}: psql: {done.stderr}")
    return [json.loads(row) for row in done.stdout.splitlines()]


class Half:
    """Some of the conversations: the same name stands for an id of its own in each half."""

    def __init__(self, owners):
        self.owners = owners
        self.ids = {}

    def id(self, *name):
        return self.ids.setdefault(name, str(random_uuid()))

    def document(self, group):
        """A group of messages with this half's ids."""
        number, items = group
        return {"conversation": self.id("conversation", number), "seen": 0, "force": True,
                "items": [self.item(number, item) for item in items]}

    def item(self, number, item):
        own = {name: self.id(*value) if isinstance(value, tuple) else value
               for name, value in item.items()}
        if own.get("external_id"):
            own["external_id"] += "-" + self.id("contact")
        return {**own, "path": self.id("conversation", number)}

    def statements(self, calls):
        """What makes the conversations, then the calls, each of some groups, then looks at them."""
        for number, owner in enumerate(self.owners):
            threads = " ".join(self.id("thread", number, thread) for thread in range(3))
            yield f"\\set conversation {self.id('conversation', number)}\n\\set threads '{threads}'"
            yield f"\\set owner '{owner}'\n\\set name {self.id('contact', number)}\n{MAKE}"
        for call in calls:
            groups = json.dumps([self.document(group) for group in call])
            yield f"\\set groups '{groups}'\n{POST}"
        for number in range(len(self.owners)):
            yield f"\\set conversation {self.id('conversation', number)}\n{LEFT}"

    def common(self, value):
        """The same for both halves: ids are numbered as they come, instants are gone."""
        names = {id: " ".join(map(str, name)) for name, id in self.ids.items()}
        text = json.dumps(value, indent=1, sort_keys=True)
        text = UUID.sub(lambda m: names.setdefault(m[0], f"id {len(names)}"), text)
        return INSTANT.sub("instant", text)


chance = random.Random(SEED)


def random_uuid():
    digits = f"{chance.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def message(number, conversation):
    """A message, often with something to do with one before it."""
    kind = chance.choice(["contact", "contact", "contact", "agent", "bot"])
    item = {
        "id": ("message", number), "sender_kind": kind, "sender_id": chance.choice(["ann", "bob"]),
        "text": f"message {number}", "title": f"title {number}", "score": 0.5,
        "terms": f"{number:08x}", "mentions": chance.sample(["ann", "bob", "cid"], chance.randrange(3)),
        "actor": "test", "method": "POST",
    }
    before = ("message", chance.randrange(max(1, number)))
    if chance.random() < 0.3:
        item["external_id"] = f"x{chance.randrange(4)}"
    if chance.random() < 0.4:
        item["key"] = f"k{chance.randrange(5)}"
        item["body_hash"] = f"{chance.randrange(8) // 7:02x}"
    if chance.random() < 0.3:
        item["reply_to"] = before
    if chance.random() < 0.2:
        item["attachments"] = [{"url": "https://example.com/a"}]
    if kind == "contact" and chance.random() < 0.15:
        item["control"] = chance.choice(["stop", "agent"])
    place = chance.random()
    if place < 0.2:
        item["thread"] = ("thread", conversation, chance.randrange(4))
    elif place < 0.3:
        item["deferred"] = "1 hour"
    elif place < 0.4:
        item.update(deferred="1 hour", choice="async")
    elif place < 0.6:
        item.update(choice="new_thread", choice_thread=("thread", conversation, 10 + number))
    else:
        item.update(
            choice="similar",
            choice_thread=("thread", conversation,
                           chance.choice([0, 1, 2, 10 + chance.randrange(number + 1)])),
            explanation={"words": 0.5},
        )
    return item


def compare():
    owners = chance.choices(OWNERS, k=chance.randrange(1, 5))
    groups = [(conversation, []) for conversation in range(len(owners))]
    for number in range(chance.randrange(1, 20)):
        conversation, items = chance.choice(groups)
        items.append(message(number, conversation))
    groups = [group for group in groups if group[1]]
    calls = [[(conversation, [item])] for conversation, items in groups for item in items]
    together, alone = Half(owners), Half(owners)
    rows = psql([*together.statements([groups]), *alone.statements(calls)])
    first, second = rows[:1 + len(owners)], rows[1 + len(owners):]
    one_by_one = [answer for row in second[:len(calls)] for answer in row]
    seen = [together.common(first), alone.common([one_by_one, *second[len(calls):]])]
    if seen[0] != seen[1]:
        print("\n".join(difflib.unified_diff(
            seen[1].splitlines(), seen[0].splitlines(), "alone", "together", lineterm="", n=4)))
        raise SystemExit(f"seed {SEED}, conversations {owners}: {json.dumps(groups)}")
    return [row["outcome"] for row in one_by_one]


def main():
    outcomes = {}
    for _ in range(TIMES):
        for outcome in compare():
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(json.dumps(outcomes))


main()
