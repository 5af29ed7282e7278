import FoundationEssentials
import Testing

@testable import Domain

/// How well messages find their threads, on conversations whose topics are marked: those that the
/// weights were chosen on (`messages.tsv` and `terse.tsv` in `Tests/Bench/threading`) and those that
/// nobody looked at meanwhile (`held_out.tsv`, `terse_held_out.tsv`).
///
/// Two messages of a room belong together when their topic is the same; precision is how many of the
/// pairs that were put together belong so, recall how many of those that belong were. The floors are
/// a little below what was measured, so that a change of weights which spoils it is seen.
@Suite("The quality of automatic threads")
struct ThreadQualityTests {
    struct Line: Sendable {
        let topic: String
        let author: String
        let milliseconds: Int64
        let text: String
    }

    struct Quality: CustomStringConvertible {
        var together = 0
        var belong = 0
        var both = 0
        var messages = 0
        var threads = 0

        var precision: Double { Double(both) / Double(max(1, together)) }
        var recall: Double { Double(both) / Double(max(1, belong)) }
        var description: String {
            func rounded(_ share: Double) -> Double { (share * 1000).rounded() / 1000 }
            return "\(messages) messages, \(threads) threads: "
                + "precision \(rounded(precision)), recall \(rounded(recall))"
        }
    }

    static func rooms(_ file: String) throws -> [String: [Line]] {
        let path = #filePath.replacing(
            "DomainTests/ThreadQualityTests.swift",
            with: "Bench/threading/\(file)"
        )
        let text = try String(contentsOf: URL(filePath: path), encoding: .utf8)
        var rooms: [String: [Line]] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: "\t", maxSplits: 4).map(String.init)
            let minute = try #require(Double(parts[3]))
            rooms[parts[0], default: []].append(
                Line(
                    topic: parts[1],
                    author: parts[2],
                    milliseconds: Int64((minute * 60_000).rounded()),
                    text: parts[4]
                )
            )
        }
        return rooms
    }

    /// A thread as the database keeps it.
    struct Thread {
        let id: UUID
        var terms: [[UInt32]] = []
        var mentions: [String] = []
        var author: String?
        var last: Int64 = 0

        var facts: ThreadFacts {
            ThreadFacts(
                id: id,
                recentTerms: terms,
                recentMentions: mentions,
                lastAuthor: author,
                lastMessageAt: last
            )
        }

        mutating func take(_ features: TextFeatures, at now: Int64) {
            terms = (terms + [features.keptTerms]).suffix(20)
            mentions = Array((features.mentions + mentions).prefix(32))
            author = features.author
            last = now
        }
    }

    /// Ids grow as threads are made, as those of the database do: of equal scores the oldest wins.
    static func id(_ number: Int) -> UUID {
        let low = UInt64(number).bigEndian
        return withUnsafeBytes(of: low) { bytes in
            UUID(
                uuid: (
                    1, 0x8f, 0, 0, 0, 0, 0x70, 0, bytes[0], bytes[1], bytes[2], bytes[3],
                    bytes[4], bytes[5], bytes[6], bytes[7]
                )
            )
        }
    }

    /// The thread of each message of a room, as messages come in one by one.
    static func assign(_ lines: [Line]) -> [UUID] {
        var threads: [Thread] = []
        return lines.map { line in
            let features = TextFeatures(line.text, author: line.author)
            let now = line.milliseconds
            let choice = ThreadChoice.choose(
                explicit: nil,
                replyThread: nil,
                features: features,
                threads: threads.sorted { $0.last > $1.last }.prefix(20).map(\.facts),
                now: now
            )
            if choice.thread == nil { threads.append(Thread(id: id(threads.count))) }
            let index = threads.firstIndex { $0.id == choice.thread } ?? threads.count - 1
            threads[index].take(features, at: now)
            return threads[index].id
        }
    }

    static func quality(of rooms: [[Line]]) -> Quality {
        var quality = Quality()
        for lines in rooms {
            let threads = assign(lines)
            quality.messages += lines.count
            quality.threads += Set(threads).count
            for left in lines.indices {
                for right in lines.indices where right > left {
                    let together = threads[left] == threads[right]
                    let belong = lines[left].topic == lines[right].topic
                    quality.together += together ? 1 : 0
                    quality.belong += belong ? 1 : 0
                    quality.both += together && belong ? 1 : 0
                }
            }
        }
        return quality
    }

    /// What must be reached, a little below what was measured.
    struct Floor: CustomTestStringConvertible {
        let file: String
        let precision: Double
        let recall: Double
        var testDescription: String { file }
    }

    static let floors = [
        Floor(file: "messages.tsv", precision: 0.97, recall: 0.61),
        Floor(file: "terse.tsv", precision: 0.88, recall: 0.13),
        Floor(file: "held_out.tsv", precision: 0.97, recall: 0.08),
        Floor(file: "terse_held_out.tsv", precision: 0.79, recall: 0.19),
    ]

    @Test("at least 200 marked messages find their threads as well as they did", arguments: floors)
    func quality(_ floor: Floor) throws {
        let rooms = try Self.rooms(floor.file)
        let all = Self.quality(of: Array(rooms.values))
        print("threading \(ThreadScore.algorithm), \(floor.file): \(all)")
        for (name, lines) in rooms.sorted(by: { $0.key < $1.key }) {
            print("threading \(ThreadScore.algorithm), \(name): \(Self.quality(of: [lines]))")
        }
        #expect(all.messages >= 200)
        #expect(all.precision >= floor.precision, "\(all)")
        #expect(all.recall >= floor.recall, "\(all)")
    }
}
