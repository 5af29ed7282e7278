internal import JSON
public import Logging
public import Outbox

extension Logger {
    /// Writes down what happens to a group of readers of an event stream.
    ///
    /// - Parameter reader: the group, or what its events are read for.
    public func note(_ event: StreamEvent, reader: String) {
        var facts: Logger.Metadata = ["group": "\(reader)"]
        func about(_ entry: StreamEntry, _ reason: String) -> Logger.Metadata {
            facts["event_id"] = "\(entry.fields["id"] ?? "")"
            facts["cursor"] = "\(entry.entryID)"
            facts["error"] = "\(reason)"
            return facts
        }
        switch event {
        case .failed(let entry, let reason):
            warning("an event could not be handled yet", metadata: about(entry, reason))
        case .deadLettered(let entry, let reason):
            error("an event was laid aside", metadata: about(entry, reason))
        case .unavailable(let reason):
            facts["error"] = "\(reason)"
            warning("events cannot be read", metadata: facts)
        case .missed(let from, let until):
            facts["detail"] = "\(RFC3339.string(from)) to \(RFC3339.string(until))"
            warning("the stream lost events; they are read again", metadata: facts)
        case .replayed(let count):
            facts["count"] = "\(count)"
            info("events were read again", metadata: facts)
        }
    }
}
