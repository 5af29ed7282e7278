internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform

/// A message that is to be stored, and how long its assignment must wait.
struct PendingPost: Sendable {
    let caller: Caller
    let message: NewMessage
    /// `nil` when it is assigned at once.
    let delay: Duration?

    /// Whether its thread is chosen by what the threads are about.
    var needsChoice: Bool { message.thread == nil && delay == nil }

    /// What `messaging.post_batch` is told of the choice.
    func name(of choice: ThreadChoice?) -> String? {
        message.laterAfter == nil ? choice?.method.rawValue : "async"
    }
}

/// Messages of one conversation, at least one, with the places that were chosen for them.
struct PlacedPosts: Sendable {
    let posts: [(post: PendingPost, choice: ThreadChoice?)]
    /// The state of the threads on which that was decided; `nil` when nothing was to be decided.
    let version: Int64?
    /// Take the choices although the threads have changed since.
    let isForced: Bool

    /// About how many bytes they are; the rest of a message is small.
    var bytes: Int { posts.reduce(0) { $0 + $1.post.message.text.utf8.count + 512 } }

    /// What `messaging.post_batch` reads.
    static func document(_ groups: [PlacedPosts]) -> [UInt8] {
        var writer = JSONWriter(capacity: groups.reduce(256) { $0 + $1.bytes })
        writer.beginArray()
        for group in groups { group.write(to: &writer) }
        writer.endArray()
        return writer.bytes
    }

    private func write(to writer: inout JSONWriter) {
        let first = posts[0].post
        writer.beginObject()
        writer.member("tenant", first.caller.tenant.text)
        writer.member("code", first.caller.code)
        writer.member("conversation", first.message.conversation.text)
        writer.member("seen", version)
        writer.member("force", .bool(isForced))
        writer.key("items")
        writer.beginArray()
        for (post, choice) in posts { PlacedPosts.write(post, choice, to: &writer) }
        writer.endArray()
        writer.endObject()
    }

    private static func write(
        _ post: PendingPost,
        _ choice: ThreadChoice?,
        to writer: inout JSONWriter
    ) {
        let message = post.message
        writer.beginObject()
        writer.member("id", message.id.text)
        writer.member("sender_kind", message.sender.kind.rawValue)
        writer.member("sender_id", message.sender.id)
        writer.member("text", message.text)
        writer.member("external_id", message.externalID)
        writer.member("reply_to", message.replyTo?.text)
        writer.member("thread", message.thread?.text)
        writer.member("choice", post.name(of: choice))
        writer.member("choice_thread", choice?.thread?.text)
        writer.member("score", choice?.score)
        if let explanation = choice?.explanation { writer.member("explanation", explanation) }
        writer.member("title", ThreadTitle.make(from: message.text))
        writer.member("terms", message.features.packedTerms.hexadecimal)
        writer.member("mentions", .array(message.features.mentions.map(JSON.string)))
        writer.member("deferred", post.delay.map { "\($0.milliseconds) ms" })
        writer.member("control", message.control?.rawValue)
        writer.member("key", message.key?.key)
        writer.member("method", message.key?.method)
        writer.member("path", message.key?.path)
        writer.member("body_hash", message.key.map(\.bodyHash.hexadecimal))
        writer.member("actor", post.caller.actor)
        if let files = Attachment.document(of: message.attachments) {
            writer.member("attachments", files)
        }
        writer.member("provider_thread", message.providerThread)
        writer.endObject()
    }
}

/// What a write of messages came to.
enum PostResult: Sendable {
    /// One outcome for each, in their order.
    case written([Outcome])
    /// Nothing was written: the threads have changed, and these are they.
    case stale(ThreadSnapshot)
    /// Nothing was written: somebody else holds the conversation.
    case busy

    var isBusy: Bool {
        if case .busy = self { true } else { false }
    }
}
