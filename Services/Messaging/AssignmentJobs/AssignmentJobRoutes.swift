internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import JobQueue

/// The jobs that find threads in the background.
@LoopActor
struct AssignmentJobRoutes {
    /// The states of a job.
    enum State: String, CaseIterable {
        case waiting, processing, completed
    }

    let messages: MessageRepository
    let useCase: AutoAssignMessageUseCase
    let queue: AssignmentQueue

    var routes: [Route] { [find] }

    static let schema: JSON = [
        "type": "object",
        "properties": [
            "id": Schemas.uuid, "name": Schemas.text, "message_id": Schemas.uuid,
            "conversation_id": Schemas.uuid,
            "status": Schemas.oneOf(State.allCases.map(\.rawValue)),
            "result": ["oneOf": [Schemas.reference("Assignment"), ["type": "null"]]],
        ],
    ]

    private var find: Route {
        Route(
            .get,
            "/v1/jobs/{id}",
            access: .roleOrService(.viewer),
            summary: "The job of a message that was posted with `mode=async`",
            description: "Its id is the message's. `result` is what `auto-assign` answers.",
            tag: "Threads",
            responses: [200: RouteResponse("It.", schema: AssignmentJobRoutes.schema)],
            handler: { request in
                let caller = try request.caller()
                let id = try request.id()
                guard let known = try await messages.assignmentJob(caller, id),
                    let room = known["conversation_id"]?.uuidValue
                else { throw Problem.notFound }
                let result = known["assignment"] ?? .null
                let state: State = result.isNull ? await state(caller, id) : .completed
                return .json(200, AssignmentJobRoutes.job(id, room: room, state, result))
            }
        )
    }

    /// What is known of a job whose message has no thread yet.
    private func state(_ caller: Caller, _ id: UUID) async -> State {
        if await useCase.isMessageBeingProcessed(caller, id) { return .processing }
        return await queue.state(caller, id) == .active ? .processing : .waiting
    }

    static func job(_ message: UUID, room: UUID, _ state: State, _ result: JSON = .null) -> JSON {
        [
            "id": .string(message.text), "name": .string(AssignmentJob.name),
            "message_id": .string(message.text), "conversation_id": .string(room.text),
            "status": .string(state.rawValue), "result": result,
        ]
    }
}
