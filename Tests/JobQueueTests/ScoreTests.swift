import Testing

@testable import JobQueue

@Suite("Scores")
struct ScoreTests {
    @Test(
        "a delayed score is its due time and a place in that millisecond",
        arguments: [
            (1_795_249_012_013.0 * 4096, Int64(1_795_249_012_013)),
            (1_795_249_012_013.0 * 4096 + 4095, 1_795_249_012_013),
            (Double(Score.dueMax * 4096 + 4095), Score.dueMax),
            (0.0, Int64(0)), (-1.0, Int64(0)),
        ] as [(Double, Int64)]
    )
    func due(score: Double, due: Int64) {
        #expect(Score.due(ofDelayed: score) == due)
    }

    @Test(
        "a marker's score may have a fraction, and be anything at all",
        arguments: [
            (1_795_249_012_013.0002, Int64(1_795_249_012_013)), (0, 0), (-5, 0), (.nan, 0),
            (.infinity, .max), (1e300, .max),
        ] as [(Double, Int64)]
    )
    func marker(score: Double, due: Int64) {
        #expect(Score.due(ofMarker: score) == due)
    }
}
