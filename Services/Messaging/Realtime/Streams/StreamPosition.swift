internal import FoundationEssentials
internal import HTTPServer
internal import JSON

/// Where a client is in each conversation that it follows.
///
/// Of one conversation the position is its seq. Of several it is `<conversation>:<seq>` for each
/// that has one, joined by commas.
struct StreamPosition: Sendable, Equatable {
    /// How many conversations one stream may follow.
    static let conversationsMax = 20

    /// In the order in which they were named.
    let conversations: [UUID]
    private(set) var seqs: [UUID: Int64] = [:]

    /// Reads what a client asks for.
    ///
    /// `Last-Event-ID` is newer than the `since` of the address, and wins.
    init(_ request: Request) throws(Problem) {
        let named = request.query.values("conversation_id") + request.query.values("room_id")
        let ids = named.compactMap(UUID.init(text:))
        guard (1...StreamPosition.conversationsMax).contains(named.count),
            ids.count == named.count, Set(ids).count == ids.count
        else {
            let most = StreamPosition.conversationsMax
            throw .invalid("/query/conversation_id", "must be 1 to \(most) different ids")
        }
        conversations = ids
        let last = request.fields["Last-Event-ID"]
        guard let text = last ?? request.query["since"], !text.isEmpty else { return }
        guard read(text) else {
            throw .invalid(
                last == nil ? "/query/since" : "/header/Last-Event-ID",
                "must be a seq, or <conversation>:<seq> for each of several, joined by commas"
            )
        }
    }

    init(conversations: [UUID]) {
        self.conversations = conversations
    }

    /// Notes a seq that was sent.
    mutating func reached(_ seq: Int64, of conversation: UUID) {
        seqs[conversation] = seq
    }

    /// What the client sends back to go on from here.
    var text: String {
        conversations.compactMap { id in seqs[id].map { "\(id.text):\($0)" } }
            .joined(separator: ",")
    }

    /// Reads a position; false when it is none.
    mutating func read(_ text: String) -> Bool {
        if conversations.count == 1, let seq = StreamPosition.seq(text[...]) {
            seqs[conversations[0]] = seq
            return true
        }
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: ":", omittingEmptySubsequences: false)
            guard pair.count == 2, let id = UUID(text: String(pair[0])),
                let seq = StreamPosition.seq(pair[1]), conversations.contains(id)
            else { return false }
            seqs[id] = seq
        }
        return true
    }

    private static func seq(_ text: Substring) -> Int64? {
        guard (1...18).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return Int64(text)
    }
}
