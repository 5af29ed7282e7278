internal import Domain
internal import FoundationEssentials
internal import JSON

/// The threads of a conversation at one instant, as a choice needs them.
struct ThreadSnapshot: Sendable {
    /// How many threads a choice looks at.
    static let threadsMax = 20

    /// Counts changes of the threads: a choice made on an older one is made again.
    let version: Int64
    /// The database's clock at that instant.
    let now: Int64
    /// At most 20 open threads, the one that was written to last at the front.
    private(set) var threads: [ThreadFacts]

    init(parsing text: [UInt8]) throws {
        self.init(try JSON(parsing: text))
    }

    /// Reads what `messaging.conversation_snapshot` made.
    init(_ value: JSON) {
        version = value["thread_version"]?.intValue ?? 0
        now = value["now_ms"]?.intValue ?? 0
        threads = (value["threads"]?.arrayValue ?? []).compactMap(ThreadSnapshot.facts)
    }

    /// A message is going to be written into `thread`, which may be a new one.
    mutating func add(_ features: TextFeatures, to thread: UUID) {
        let index = threads.firstIndex { $0.id == thread }
        let facts =
            index.map { threads.remove(at: $0) }
            ?? ThreadFacts(
                id: thread,
                recentTerms: [],
                recentMentions: [],
                lastAuthor: nil,
                lastMessageAt: now
            )
        threads.insert(facts.adding(features, at: now), at: 0)
        threads = Array(threads.prefix(ThreadSnapshot.threadsMax))
    }

    private static func facts(_ value: JSON) -> ThreadFacts? {
        guard let id = value["id"]?.stringValue.flatMap(UUID.init(text:)) else { return nil }
        func strings(_ name: String) -> [String] {
            (value[name]?.arrayValue ?? []).compactMap(\.stringValue)
        }
        return ThreadFacts(
            id: id,
            recentTerms: strings("terms").map { TextFeatures.unpack(bytes(hex: $0)) },
            recentMentions: strings("mentions"),
            lastAuthor: value["author"]?.stringValue,
            lastMessageAt: value["last_ms"]?.intValue ?? 0
        )
    }

    private static func bytes(hex: String) -> [UInt8] {
        let digits = hex.utf8.map { $0 <= 0x39 ? $0 &- 0x30 : $0 &- 0x57 }
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            digits[$0] << 4 | digits[$0 + 1]
        }
    }
}
