/// What the fields of dispatch-worker's interface mean, by their names: one name means one thing.
enum FieldMeanings {
    static let all = messages.merging(channels) { $1 }.merging(operations) { $1 }

    private static let messages = [
        "{id}": "The id of what the path names.",
        "{code}": "The code of what the path names.",
        "{tenant}": "The tenant's code.",
        "id": "Its id; a service may choose that of a message request.",
        "channel_code": "The channel that it goes to; where that is is looked up when it is sent.",
        "text": "What is said, or stands in for blocks where they cannot be shown.",
        "blocks": "Slack's blocks; in a template with places `{{name}}`.",
        "template_code": "The template that makes text and blocks.",
        "variables": "The values of the template's places; of a template, the places themselves.",
        "thread_key": "Messages of one key are one thread: its first is the root, in order.",
        "thread_ts": "The provider's id of the message that it answers.",
        "on_root_failed":
            "What becomes of a message whose root was not sent: it begins the thread anew, or "
            + "fails too.",
        "priority": "From 0, the most urgent and sent in quiet hours too, to 4.",
        "send_at": "Not before.",
        "deadline_at": "Not after: then it expires.",
        "max_attempts": "After so many it has failed.",
        "cancellation_key": "Names it, with others, for being cancelled.",
        "metadata": "Kept with it and told with its outcome; nobody else reads it.",
        "generation": "Counts how often it was begun anew.",
        "attempts": "How often it was tried.",
        "status": "Where it stands; `unknown`: the provider may have it.",
        "provider_ts": "The provider's id of the message.",
        "error": "The word for why it failed.",
        "items": "The page.",
        "next_cursor": "Asks for the next page; null on the last one.",
    ]

    private static let channels = [
        "workspace_code": "The workspace that it is part of.",
        "provider_channel_id": "The channel's id at the provider.",
        "unknown_policy":
            "What becomes of a send that nobody knows the end of: looked up, sent again, or left.",
        "rate": "How fast it may be sent to.",
        "per_second": "Messages a second.",
        "burst": "Messages at once after a pause.",
        "quiet_hours": "When only the most urgent leave: local times of day.",
        "from": "The beginning, included.",
        "to": "The end, not included.",
        "tz": "The zone, by its IANA name.",
        "provider": "Where it is: Slack, the embedded outbox, or a webhook.",
        "token": "What is shown to the provider; sealed at rest, read back as `***`.",
        "team_id": "The workspace's id at Slack; learnt from the token where it is not given.",
        "api_app_id": "The Slack app whose events are meant; those of any where it is not given.",
        "signing_secret": "Proves that an event comes from this workspace; read back as `***`.",
        "api_base_url": "Where the provider's API is, unless at its usual place.",
        "url": "Where it is called; outside addresses only.",
        "events": "Which events it is told of.",
        "secret": "Signs what it is told; needed for a new one, read back as `***`.",
    ]

    private static let operations = [
        "scope": "What is stopped: all, a tenant, a workspace, a channel or a template.",
        "code": "The code: of a pause, that of what its scope names.",
        "reason": "Why, in words; it stands in the audit.",
        "author": "Whose key it was.",
        "expires_at": "When it ends by itself.",
        "uses_deadlines": "Whether deadlines go on meanwhile; else they stand still.",
        "force": "Sends again what was sent, or may have been; audited.",
        "filter": "Which failed ones are meant; all of it must hold.",
        "dry_run": "Counts by cause what would be done, and does nothing.",
        "kind": "What of it.",
        "weight": "The tenant's share of each round, against the others.",
        "max_in_flight": "How many of its messages one process sends at once.",
        "max_queued": "How many may wait; above it nothing more is accepted.",
        "retention_days": "How long ended requests are kept.",
        "version": "Which version; every change makes a new one.",
    ]
}
