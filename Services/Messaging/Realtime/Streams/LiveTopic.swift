internal import EventLoop

/// A conversation that clients of this instance follow.
@LoopActor
final class LiveTopic {
    let key: LiveKey
    /// Up to here every event went to the clients that are live.
    var cursor: Int64
    var subscriptions: [ObjectIdentifier: LiveSubscription] = [:]
    /// There is news that was not read yet.
    var isDirty = false
    /// Reads and distributes, while there is something.
    var pump: Task<Void, Never>?

    init(_ key: LiveKey, cursor: Int64) {
        self.key = key
        self.cursor = cursor
    }
}

/// One client's place in one conversation.
///
/// It begins behind and reads the log by itself, at its client's pace; once it has reached the
/// topic's cursor it is live, and gets what everybody gets.
@LoopActor
final class LiveSubscription {
    let topic: LiveTopic
    let client: any LiveClient
    /// The newest event that the client was sent.
    var cursor: Int64
    var isLive = false
    var isOpen = true
    /// Reads what the client missed.
    var catchUp: Task<Void, Never>?

    init(_ client: any LiveClient, _ topic: LiveTopic, cursor: Int64) {
        self.client = client
        self.topic = topic
        self.cursor = cursor
    }

    /// Sends an event of the log, unless the client has it.
    func deliver(_ event: LiveEvent) {
        guard isOpen, let seq = event.seq, seq > cursor else { return }
        cursor = seq
        client.deliver(event, of: topic.key)
    }

    /// Tells the client that its place is gone.
    func resync(head: Int64) {
        guard isOpen else { return }
        cursor = head
        client.resync(topic.key, head: head)
    }
}
