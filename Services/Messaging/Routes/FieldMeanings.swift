/// What the fields of messaging's interface mean, by their names: one name means one thing.
enum FieldMeanings {
    static let all = resources.merging(conversations) { $1 }.merging(bots) { $1 }
        .merging(answers) { $1 }

    /// What names something, and when it was.
    private static let resources = [
        "{id}": "The id of what the path names.",
        "{code}": "The channel's code.",
        "{socket_id}": "The socket's id, as its server made it: 1 to 128 visible ASCII characters.",
        "id": "Its id; of a sender, who that is in the caller's own words.",
        "external_id":
            "The caller's own id for it. Unique in its channel: what comes a second time "
            + "under the same id is the same.",
        "conversation_ids": "The conversations that the session is in, in the order it came.",
        "conversation_id": "The conversation it belongs to.",
        "room_id": "The same as `conversation_id`; one of the two may be given.",
        "message_id": "The message it is about.",
        "message_ids": "The messages that are meant.",
        "thread_id":
            "The thread; for a new message the one it is to go to, whatever its text says.",
        "bot_id": "The bot that answers; without one the channel's, then the tenant's.",
        "team_id": "The team whose people are asked.",
        "socket_id": "The socket's id.",
        "user_id": "Who sits at the socket, in the caller's own words.",
        "assignee_id": "The agent who has it; null while nobody has.",
        "session_id": "The handover to people that is open, or the session of a socket.",
        "ai_job_id": "The bot's job that it belongs to.",
        "connection_id": "One of the user's connections: a tab, a device.",
        "channel_code": "The channel's code.",
        "created_at": "When it was made.",
        "updated_at": "When it last changed.",
        "closed_at": "When it was closed; null while it is open.",
        "edited_at": "When its text was changed; null when it never was.",
        "started_at": "When work on it began.",
        "finished_at": "When it ended.",
        "last_message_at": "When its last message came.",
        "expires_at": "When it ends unless there is a sign of life.",
        "version": "Grows with every change.",
        "next_cursor": "Asks for the next page; null on the last one.",
        "items": "The page.",
        "name": "What people call it.",
        "title":
            "What it is about, in a line; a thread's is made from its first message unless given.",
        "description": "What it is for, for people.",
        "kind": "What sort it is.",
        "type": "What sort it is.",
    ]

    /// Conversations, messages and threads.
    private static let conversations = [
        "contact": "Who the conversation is with.",
        "state": "Whether it is open or closed.",
        "owner_kind": "Who answers in it: the bot, people, or nobody.",
        "last_seq": "The number of its last message.",
        "seq": "The message's number in its conversation, from 1 without a gap.",
        "sender": "Who wrote it; under its id at assignment-engine an agent's words count there as "
            + "its reply.",
        "text": "What was said.",
        "attachments": "What came with the text.",
        "content_type": "Its media type.",
        "url": "Where it is.",
        "direction": "`in` from the contact, `out` to it.",
        "reply_to": "The message that it answers: it goes into that one's thread.",
        "thread_state":
            "`assigned`: it has a thread; `deferred`: the room's limit is reached, a timer "
            + "gives it one; `pending`: a job does.",
        "method": "How its thread was found: named by the caller, by what it replies to, by the "
            + "score, a new one, or by hand.",
        "stale": "A bot's answer that does not know of the newest messages any more.",
        "delivery": "How far it is on its way out; null for what stays here.",
        "message_request_id": "dispatch-worker's request that delivers it.",
        "provider_ts": "The provider's id of it, once delivered.",
        "manual": "Whether a person made it.",
        "archived": "Whether it is archived: nothing new comes into it by itself.",
        "merged_into": "The thread that has its messages now.",
        "message_count": "How many messages it has.",
        "into": "The thread that gets the messages.",
        "thread": "The thread, as it is afterwards.",
        "moved": "How many messages changed their thread.",
        "from": "The threads that they were in; of a window, the time of day at which it begins, "
            + "such as `08:30`.",
        "assignment": "The thread that it has, and how that was found; null while it has none.",
        "already_assigned": "Whether it had its thread before this call.",
        "created_thread": "Whether the thread was made for it.",
        "score": "How well it fits the thread, 0 to 1; 0 where no score decided.",
        "algorithm": "The version of the score.",
        "explanation": "What the score is made of; null where no score decided. Of a new thread: "
            + "the score of the thread that came nearest to it.",
        "nearest": "With a new thread: the thread that came nearest, and its whole score.",
        "words": "What the words in common with the thread's last messages give, up to 0.7.",
        "mentions": "What the people give who are mentioned in both, up to 0.1.",
        "recency": "What it gives that the thread was written to just now, up to 0.1.",
        "turn":
            "What it gives that the author goes on, or that it is the author's turn to answer, up "
            + "to 0.5.",
        "priority": "How urgent it is; higher comes first.",
        "context": "What the rules and the people are told of it.",
        "reason": "Why, for those who look later.",
        "reopen_window_s":
            "How long after its end a contact's message opens a conversation again: 0 "
            + "never, null always.",
        "force": "Also what was fed in before.",
        "extended": "Whether the bot's answer was put off.",
        "answer_in_ms": "When the bot will answer at the earliest.",
        "users": "Those who are there.",
        "connections": "How many connections of the user are there.",
    ]

    /// Bots, their jobs, and what they answer with.
    private static let bots = [
        "core_ai_id": "The AI that answers for it.",
        "platform_id": "The platform it acts on.",
        "language": "The language it answers in, such as `vi`.",
        "is_active": "Whether it answers at all.",
        "paused_until": "Until then it answers nothing; null: it is not paused.",
        "hours": "When it answers; null: always.",
        "answers_now": "Whether it would answer what comes now.",
        "windows": "Days and times of day; `to` not after `from` is on the next day.",
        "day": "The day on which a window begins.",
        "to": "The time of day at which a window ends.",
        "tz": "The time zone of the times of day, such as `Europe/Berlin`.",
        "meta_data": "What its kind needs beyond the common fields.",
        "api_endpoint": "The full URL that is asked.",
        "auth_required": "Whether it wants a token.",
        "auth_token": "The token; write-only, reads back `***`.",
        "base_url": "Where it is.",
        "timeout_seconds": "How long an answer may take.",
        "allow_default_bot": "Whether the built-in bot may answer while the database is away.",
        "control_words": "What a contact says to stop the bot or to ask for a person.",
        "stop": "Words that silence the bot.",
        "agent": "Words that ask for a person.",
        "handoff_expires_after_s": "After so long without a person's word the bot has the "
            + "conversation back; null: never.",
        "debounce_ms": "How long the bot waits for the rest of a burst.",
        "debounce_max_ms": "The longest that a burst may put its answer off.",
        "debounce_count": "After so many messages it answers at once.",
        "history": "What was said before, as `<USER>…</USER><br><BOT>…</BOT>`.",
        "messages": "What was said before, turn by turn.",
        "role": "Who speaks in the turn.",
        "content": "What the turn says.",
        "resources": "What the bot may use to answer.",
        "max_age_hours": "Locks older than this are released; fractions are allowed.",
        "consolidated_messages": "How many messages the job answers together.",
        "attempts": "How often it was tried.",
        "progress": "From 0 to 1.",
        "result": "What came of it; null until then.",
        "bot_name": "The bot's name.",
        "buffered": "Whether the message waits for the next job.",
        "pending_count": "How many messages wait.",
        "config_source": "Given where the bot's configuration is not the current one.",
        "locked": "Whether the conversation is held by a job.",
        "lock_id": "The lock's id.",
        "holder": "The process that has it.",
        "age_ms": "How long it has been held.",
        "ttl_ms": "How long it lasts without a sign of life; null: until it is released.",
    ]

    /// What answers are made of.
    private static let answers = [
        "success": "True: it is done, or was done before.",
        "status": "How far it is, or what came of it.",
        "action": "What was done about it.",
        "message": "The message, or what to tell people.",
        "bot": "What the message means for the bot.",
        "error": "Why it failed; null or absent when it did not.",
        "errors": "Each fault, with its place.",
        "results": "One for each that was asked for, in the order of the request.",
        "detail": "What is wrong, in words.",
        "code": "Stable name for programs.",
        "retry_after_ms": "When to try again.",
        "retryable": "Whether the same request may succeed later.",
    ]
}
