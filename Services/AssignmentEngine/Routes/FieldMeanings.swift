/// What the fields of assignment-engine's interface mean, by their names: one name means one thing.
enum FieldMeanings {
    static let all = sessions.merging(people) { $1 }.merging(policies) { $1 }.merging(engine) { $1 }

    private static let sessions = [
        "{id}": "The id of what the path names.",
        "{agent_id}": "The agent's id.",
        "{kind}": "What is counted: `assignments`, `queue`, `dispatch` or `events`.",
        "id": "The caller's own id; the same one a second time is the same thing.",
        "session": "The session: of a conversation, from its handover to its end.",
        "session_id": "The session.",
        "conversation_id": "The conversation that people are to have; a UUID of the caller's.",
        "contact_id": "Who the conversation is with, in the caller's own words.",
        "team_id": "The team; without one everybody of the tenant is asked.",
        "agent_id": "The agent; null where nobody was found.",
        "priority": "From 0, the most urgent, to 4.",
        "context": "What rules can ask about, as `context.<name>`.",
        "sla_due_at": "By when somebody must have it; without it the priority says that.",
        "source": "What led to the run.",
        "reason": "Why: of an outcome a stable word, else what the caller says, kept in the audit.",
        "force": "Gives it although a rule of capacity or presence speaks against it; audited.",
        "outcome":
            "`assign`: somebody has it. `skip`: it waits in the queue. `stop`: it is not to be "
            + "assigned by itself. `error`: a store was away, try again.",
        "decision_id": "The stored reasons of this run; null where there was nothing to decide.",
        "retryable": "Whether the same request may succeed later.",
        "items": "The page.",
        "next_cursor": "Asks for the next page; null on the last one.",
    ]

    private static let people = [
        "name": "What people call it; of an event, its kind; of a skill, its name.",
        "capacity_units":
            "How much one agent carries at once, in units; a conversation takes one unless its "
            + "channel says otherwise.",
        "presence_mode":
            "When an agent counts as there: `strict` while signs of life come, `manual` by its "
            + "status alone, `schedule` in its hours.",
        "status": "What the agent says of itself; only `online` is given new work.",
        "can_reply": "Whether the agent may write to contacts; who may not is given nothing.",
        "skills": "What the agent can do.",
        "level": "How well, from 1 up; a demand names the least.",
        "schedule_id": "The hours: of an agent, else of its team, else of the tenant.",
        "weight": "The agent's share under `fair`, against the others of the team.",
        "auto_assign": "False keeps the agent out of automatic choice; by hand it can be chosen.",
        "agent_ids": "The agents that are meant.",
        "tz": "The zone of all its times, by its IANA name.",
        "windows": "When it is open: days and times of day; `to` before `from` crosses midnight.",
        "exceptions": "Dates on which other windows hold, or none.",
    ]

    private static let policies = [
        "strategy": "How one of several is chosen.",
        "on_offline":
            "What becomes of an agent's work when it goes away: it stays, is queued again "
            + "(all, or where the contact spoke last), or is once its contact writes.",
        "offline_grace_s": "For how long an agent may be away before that.",
        "offer_timeout_s": "How long an offer may be thought about; 0: it is assigned at once.",
        "first_reply_timeout_s": "How soon a first reply is expected; 0: never.",
        "on_first_reply_timeout": "What a missed first reply leads to.",
        "max_reassigns": "After so many it goes to the overflow team, or rests.",
        "max_wait_s": "How long a session waits before `no_agent_action`; 0: for ever.",
        "no_agent_action": "What is done when nobody took it for too long.",
        "overflow_team_id": "Where it goes when this team cannot.",
        "off_hours_action": "What is done outside the team's hours.",
        "on_reopen": "Who gets a conversation that is opened again.",
        "claim_on_first_reply": "Whether whoever replies first owns it.",
        "sticky_mode": "Whether a contact goes to its owner, or its last agent, before others.",
        "sticky_days": "For how many days the last agent is remembered.",
        "sticky_wait_s": "How long a session waits for that agent.",
        "max_new_per_agent": "So many new sessions for one agent in a time, at most.",
        "n": "How many new sessions.",
        "window_s": "In how many seconds.",
        "backlog_cutoff_hours": "What is older is parked, and not assigned by itself.",
        "channel_units": "Units that a conversation takes, by its channel's kind.",
    ]

    private static let engine = [
        "rules": "In the order in which they are tried; the first that fits decides.",
        "policy_version": "The version of the rules; unset: the one in force.",
        "against": "The version that it is compared with; unset: the one in force.",
        "from": "The beginning of the time that is looked at.",
        "to": "Its end, not included.",
        "limit": "How many sessions are looked at, at most.",
        "at": "When it happens or happened.",
        "events": "What happened, in any order.",
        "properties": "What is known about the event.",
    ]
}
