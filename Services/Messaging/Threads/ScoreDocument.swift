internal import Domain
internal import JSON

extension ThreadScore {
    /// What the score is made of, as an assignment's `explanation`.
    var document: JSON {
        [
            "words": .double(ThreadScore.rounded(words)),
            "mentions": .double(ThreadScore.rounded(mentions)),
            "recency": .double(ThreadScore.rounded(recency)),
            "turn": .double(ThreadScore.rounded(turn)),
        ]
    }

    /// To a thousandth, which is what people read.
    private static func rounded(_ part: Double) -> Double { (part * 1000).rounded() / 1000 }
}
