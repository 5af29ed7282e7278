internal import FoundationEssentials

/// A job and the jobs that it waits for.
public struct Flow: Sendable, Hashable {
    /// The queue of the job.
    public var queue: QueueKeys
    /// The job; without an id it gets one at random.
    public var job: NewJob
    /// What it waits for.
    public var children: [Flow]

    /// A job of `queue` that waits for `children`.
    public init(queue: QueueKeys, job: NewJob, children: [Flow] = []) {
        self.queue = queue
        self.job = job
        self.children = children
    }
}

extension Queue {
    /// How many jobs a flow may have: all are added in one step of the server.
    public static let flowJobsMax = 1000

    /// Adds a flow in one step: all of it, or nothing where Redis fails.
    ///
    /// A job whose id is another parent's child is refused; the others are added then.
    ///
    /// On a cluster the tag must be in the prefix, so that all its queues share a slot.
    ///
    /// - Returns: the ids, parents before their children, in the order given.
    @discardableResult
    public func add(_ flow: Flow) async throws(JobQueueError) -> [String] {
        var additions: [Addition] = []
        try Queue.collect(flow, parent: nil, into: &additions)
        guard additions.count <= Queue.flowJobsMax else {
            throw JobQueueError(.invalid, "\(additions.count) jobs are too many for one flow")
        }
        for addition in additions { try addition.check() }
        return try await submitTogether(additions[...])
    }

    private static func collect(
        _ flow: Flow,
        parent: ParentReference?,
        into additions: inout [Addition]
    ) throws(JobQueueError) {
        var job = flow.job
        let id = job.options.id ?? UUID().uuidString.lowercased()
        guard !id.contains(":") else {
            throw JobQueueError(.invalid, "the id '\(id)' of a flow's job has a colon")
        }
        job.options.id = id
        var addition = Addition(keys: flow.queue, job: job, parent: parent)
        addition.hasChildren = !flow.children.isEmpty
        additions.append(addition)
        let reference = ParentReference(queue: flow.queue, id: id)
        for child in flow.children {
            try collect(child, parent: reference, into: &additions)
        }
    }
}
