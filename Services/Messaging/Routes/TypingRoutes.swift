internal import EventLoop
internal import HTTPServer
internal import JSON

/// Signs that somebody is writing; nothing of them is kept.
@LoopActor
struct TypingRoutes {
    let messages: MessageRepository
    let configuration: MessagingConfiguration

    var routes: [Route] {
        [
            Route(
                .post,
                "/v1/conversations/{id}/typing",
                access: .roleOrService(.agent),
                summary: "Say that the contact is still writing",
                description: "The bot waits for the rest of the burst: the answer is put off by "
                    + "`debounce_ms` from now, never past `debounce_max_ms` from the burst's first "
                    + "message. `answer_in_ms` is null when the bot waits for nothing.",
                tag: "Messages",
                responses: [
                    200: RouteResponse(
                        "Whether the answer was put off, and until when.",
                        schema: Schemas.object(
                            [
                                "extended": Schemas.flag,
                                "answer_in_ms": ["type": ["integer", "null"]],
                            ],
                            required: ["extended", "answer_in_ms"]
                        )
                    )
                ],
                handler: { [messages, configuration] request in
                    let outcome = try await messages.noteTyping(
                        try request.caller(),
                        try request.id(),
                        mailbox: configuration
                    )
                    guard outcome.name == "noted" else { throw Problem.notFound }
                    return .json(bytes: outcome.answer)
                }
            )
        ]
    }
}
