internal import RedisClient

/// What a stream has lost of what a group has not read yet.
enum StreamGap {
    /// Where a stream and one group of its readers stand, as `XINFO` tells it.
    struct Facts: Sendable, Hashable {
        /// The oldest entry that is left, nil of an empty stream.
        var first: StreamEntryID?
        /// How many entries it holds.
        var length: Int64 = 0
        /// How many were ever added.
        var added: Int64 = 0
        /// The newest entry that the group was given; zero of a new group.
        var delivered = StreamEntryID(milliseconds: 0, sequence: 0)
        /// How many entries the group was given, nil where the server has lost count.
        var read: Int64?

        /// How many the group has still to be given, as far as it is known.
        var waiting: Int64 { read.map { max(0, added - $0) } ?? length }
    }

    /// What is missing, in milliseconds of the stream's clock.
    struct Missing: Sendable, Hashable {
        var from: Int64
        var until: Int64
    }

    /// What was lost, if anything.
    ///
    /// Two ways lead there: the oldest entries made room before the group was given them; or the
    /// stream is not the one that was read, since its server came back without it or with an older
    /// copy.
    ///
    /// - Parameters:
    ///   - seen: the newest entry that the group is known to have been given.
    ///   - handled: the newest that it is known to have handled, milliseconds.
    ///   - pending: how long before that one an entry may still be in somebody's hands, milliseconds.
    ///   - drift: by how much the clocks of the stream and the database may differ, milliseconds.
    static func missing(
        _ facts: Facts,
        seen: StreamEntryID,
        handled: Int64,
        now: Int64,
        pending: Int64,
        drift: Int64
    ) -> Missing? {
        if facts.delivered < seen {
            return Missing(from: handled - pending, until: now + drift)
        }
        guard let first = facts.first, facts.delivered.milliseconds > 0, facts.delivered < first,
            facts.read.map({ $0 < facts.added - facts.length }) ?? true
        else { return nil }
        return Missing(
            from: facts.delivered.milliseconds - drift,
            until: first.milliseconds + drift
        )
    }
}

/// The id of a stream's entry.
struct StreamEntryID: Sendable, Hashable, Comparable {
    /// When it was added, milliseconds since 1970 by the server's clock.
    var milliseconds: Int64
    /// Its place among those of the same millisecond.
    var sequence: Int64

    static func < (one: StreamEntryID, other: StreamEntryID) -> Bool {
        (one.milliseconds, one.sequence) < (other.milliseconds, other.sequence)
    }
}

extension StreamEntryID {
    /// Reads `<milliseconds>-<sequence>`; nil of anything else.
    init?(text: String) {
        let parts = text.split(separator: "-")
        guard parts.count == 2, let milliseconds = Int64(parts[0]), let sequence = Int64(parts[1])
        else { return nil }
        self.init(milliseconds: milliseconds, sequence: sequence)
    }
}

extension StreamGap.Facts {
    /// Reads the answers of `XINFO STREAM` and `XINFO GROUPS`; nil where the group is not among them.
    init?(stream: RedisValue, groups: RedisValue, group: String) {
        let about = RedisFacts(stream)
        guard
            let mine = (groups.array ?? []).lazy.map(RedisFacts.init)
                .first(where: { $0["name"]?.text == group }),
            let delivered = mine["last-delivered-id"]?.text.flatMap(StreamEntryID.init(text:))
        else { return nil }
        self.delivered = delivered
        read = mine["entries-read"]?.integer
        length = about["length"]?.integer ?? 0
        added = about["entries-added"]?.integer ?? length
        first = about["first-entry"]?.array?.first?.text.flatMap(StreamEntryID.init(text:))
    }
}

/// A reply of names and values, one after the other.
struct RedisFacts {
    private let list: [RedisValue]

    init(_ reply: RedisValue) { list = reply.array ?? [] }

    subscript(name: String) -> RedisValue? {
        var index = 0
        while index + 1 < list.count {
            if list[index].text == name { return list[index + 1] }
            index += 2
        }
        return nil
    }
}
