internal import FoundationEssentials
internal import JSON
internal import JobQueue
internal import Tracing

/// A job of the queue `auto-assign-message`: it names a message and carries nothing of it.
///
/// There is one for a message, with the message's id, so that whoever repeats an addition adds none.
struct AssignmentJob: Sendable, Equatable {
    /// The queue's name, and that of its jobs.
    static let name = "auto-assign-message"
    /// How often it is tried; after that the message's timer goes on.
    static let attempts = 8
    /// The pause before the second try, in milliseconds; it doubles.
    static let pause: Int64 = 500

    /// The option that carries a trace: what BullMQ's telemetry puts there, as text.
    private static let telemetry = "tm"

    let message: UUID
    let room: UUID
    let tenant: UUID

    init(message: UUID, room: UUID, tenant: UUID) {
        self.message = message
        self.room = room
        self.tenant = tenant
    }

    /// Reads `{messageId, roomId, tenantId}`, which is all that a job may have.
    ///
    /// - Throws: `JSONError`, `JSONFieldErrors`.
    init(_ data: JSON) throws {
        self = try JSONFields.read(data) { fields in
            AssignmentJob(
                message: fields.uuid("messageId"),
                room: fields.uuid("roomId"),
                tenant: fields.uuid("tenantId")
            )
        }
    }

    /// What is put into the queue.
    ///
    /// - Parameter step: the step that the job is a part of; nil where nobody records that.
    func newJob(below step: TraceParent? = nil) -> NewJob {
        var options = JobOptions()
        options.id = message.text
        options.attempts = AssignmentJob.attempts
        options.backoff = Backoff(type: "exponential", delay: AssignmentJob.pause)
        // What became of it stands with the message.
        options.removeOnComplete = KeepPolicy.none
        options.removeOnFail = KeepPolicy.none
        if let step {
            let carrier: JSON = ["traceparent": .string(step.description)]
            options.others[AssignmentJob.telemetry] = .string(carrier.text)
        }
        let data: JSON = [
            "messageId": .string(message.text), "roomId": .string(room.text),
            "tenantId": .string(tenant.text),
        ]
        return NewJob(AssignmentJob.name, json: data, options: options)
    }

    /// The step that made a job; nil where nobody records that.
    static func trace(of job: Job) -> TraceParent? {
        guard let text = job.options?.others[telemetry]?.stringValue,
            let carrier = try? JSON(parsing: Array(text.utf8))
        else { return nil }
        return carrier["traceparent"]?.stringValue.flatMap { TraceParent(text: $0) }
    }
}
