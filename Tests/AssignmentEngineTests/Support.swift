import Foundation
import JSON
import Testing

@testable import assignment_engine

func id(_ number: Int) -> UUID {
    let digits = String(number)
    let zeros = String(repeating: "0", count: 12 - digits.count)
    return UUID(uuidString: "00000000-0000-7000-8000-\(zeros)\(digits)") ?? UUID()
}

func agent(_ number: Int) -> Candidate {
    Candidate(id: id(number), name: "agent \(number)")
}

/// Milliseconds since 1970 of an RFC 3339 text.
func at(_ text: String) -> Int64 { RFC3339.parse(text) ?? -1 }

func schedule(_ text: String) throws -> Schedule {
    try #require(Schedule(try JSON(parsing: Array(text.utf8))))
}
