internal import Domain
internal import FoundationEssentials
internal import JSON

extension ThreadChoice {
    /// Why it was made, as an assignment's `explanation`; nil where no score had to do with it.
    var explanation: JSON? {
        guard let nearest else { return parts.map { .object($0.document) } }
        var document = nearest.parts.document
        document["nearest"] = [
            "thread_id": .string(nearest.thread.text),
            "score": .double(ThreadScore.rounded(nearest.parts.total)),
        ]
        return .object(document)
    }
}

extension ThreadScore {
    /// What the score is made of.
    fileprivate var document: JSONObject {
        [
            "words": .double(ThreadScore.rounded(words)),
            "mentions": .double(ThreadScore.rounded(mentions)),
            "recency": .double(ThreadScore.rounded(recency)),
            "turn": .double(ThreadScore.rounded(turn)),
        ]
    }

    /// To a thousandth, which is what people read.
    fileprivate static func rounded(_ part: Double) -> Double { (part * 1000).rounded() / 1000 }
}
