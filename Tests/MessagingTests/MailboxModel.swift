/// What must never happen, and did.
struct Violation: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// What a conversation's mailbox owes its contact, told by what everybody could see.
struct MailboxModel {
    enum Owner {
        case bot, other
    }

    /// What became of a message of the contact.
    enum Fate {
        /// The bot owes an answer.
        case waiting
        case answered
        /// Somebody told the bot not to.
        case dropped
        /// It is a person's.
        case handed
    }

    let supersedesMax: Int
    private(set) var owner = Owner.bot
    private var fates: [Int64: Fate] = [:]
    private(set) var supersededInRow = 0

    init(supersedesMax: Int) {
        self.supersedesMax = supersedesMax
    }

    var last: Int64 { fates.keys.max() ?? 0 }

    func waiting(upto: Int64 = .max) -> [Int64] {
        fates.filter { $0.value == .waiting && $0.key <= upto }.keys.sorted()
    }

    mutating func posted(_ seq: Int64, status: String) throws(Violation) {
        fates[seq] = owner == .bot ? .waiting : .handed
        let expected =
            owner == .bot ? ["ai_processing_started", "buffered", "locked"] : ["human"]
        guard expected.contains(status) else {
            throw Violation("message \(seq) of a conversation of \(owner) was told '\(status)'")
        }
    }

    mutating func stopped(_ seq: Int64) {
        settle(.max, .dropped)
        fates[seq] = .dropped
        supersededInRow = 0
    }

    mutating func handedOver(_ seq: Int64? = nil) {
        settle(.max, .handed)
        if let seq { fates[seq] = .handed }
        owner = .other
        supersededInRow = 0
    }

    mutating func returned() {
        settle(.max, .handed)
        owner = .bot
        supersededInRow = 0
    }

    mutating func cancelled(upto: Int64) {
        settle(upto, .dropped)
        supersededInRow = 0
    }

    mutating func released() {
        supersededInRow = 0
    }

    mutating func failed() {
        supersededInRow = 0
    }

    /// An answer to everything up to `upto` was shown.
    mutating func answered(
        upto: Int64,
        stale: Bool,
        consolidated: Int?
    ) throws(Violation) {
        guard owner == .bot else { throw Violation("the bot spoke over a person") }
        let due = waiting(upto: upto)
        guard !due.isEmpty else { throw Violation("an answer to nothing, or a second one") }
        if stale {
            guard supersededInRow >= supersedesMax else {
                throw Violation("a stale answer after \(supersededInRow) superseded ones")
            }
        } else if upto != last {
            throw Violation("an answer up to \(upto) was posted over message \(last)")
        }
        if let consolidated, consolidated != due.count {
            throw Violation("\(due.count) messages were answered, \(consolidated) counted")
        }
        settle(upto, .answered)
        supersededInRow = 0
    }

    mutating func superseded(upto: Int64) throws(Violation) {
        supersededInRow += 1
        guard upto < last else { throw Violation("superseded by nothing") }
        guard supersededInRow <= supersedesMax else {
            throw Violation("\(supersededInRow) answers in a row were superseded")
        }
    }

    private mutating func settle(_ upto: Int64, _ fate: Fate) {
        for seq in waiting(upto: upto) { fates[seq] = fate }
    }
}
