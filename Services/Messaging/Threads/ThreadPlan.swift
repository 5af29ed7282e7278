internal import Domain
internal import JSON
internal import Platform

/// What threads would be made of after a change by hand, and what a score needs of that.
struct ThreadPlan: Sendable {
    /// How many authors a thread remembers.
    static let authorsMax = 3
    /// How many mentions.
    static let mentionsMax = 32

    /// The version of the conversation's threads that it was made on.
    let version: Int64
    /// What a split's thread is called unless somebody says.
    let title: String
    /// By thread, or `new`: `terms`, `authors` and `mentions`, as `settle_features` takes them; and, of a
    /// message that changes, `title`: what its thread was called if it was named after it, and is then.
    let features: JSON

    /// Reads what `messaging.reshape_plan` or `messaging.change_plan` made.
    init(_ plan: JSON) {
        version = plan["thread_version"]?.intValue ?? 0
        let threads = plan["threads"]?.objectValue ?? [:]
        var features = JSONObject()
        var title = ""
        for (thread, messages) in threads.members {
            let messages = messages.arrayValue ?? []
            features[thread] = ThreadPlan.features(of: messages)
            guard thread == "new", let first = messages.first?["text"]?.stringValue else {
                continue
            }
            title = ThreadTitle.make(from: first)
        }
        if let was = plan["title"]?["was"]?.stringValue {
            features["title"] = [
                "was": .string(ThreadTitle.make(from: was)),
                "now": .string(ThreadTitle.make(from: plan["title"]?["now"]?.stringValue ?? "")),
            ]
        }
        self.features = .object(features)
        self.title = title
    }

    /// The features of a thread of these messages, oldest first.
    private static func features(of messages: [JSON]) -> JSON {
        let features = messages.map { TextFeatures($0["text"]?.stringValue ?? "") }
        var mentions: [String] = []
        for mention in features.reversed().flatMap(\.mentions) where !mentions.contains(mention) {
            mentions.append(mention)
        }
        return [
            "terms": JSON(features.map { $0.packedTerms.hexadecimal }),
            "authors": JSON(
                messages.suffix(authorsMax).map { $0["author"]?.stringValue ?? "" }
            ),
            "mentions": JSON(Array(mentions.prefix(mentionsMax))),
        ]
    }
}
