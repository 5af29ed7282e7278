import Testing

/// The list of the places where the crash tests kill a service is the list of those in the sources.
@Suite("Crash points")
struct CrashPointsTests {
    private static let path = "Tests/Integration/crash_points"

    /// The words of each line that is not a comment.
    private static func lines() throws -> [[String]] {
        let list = try #require(Project.files.first { $0.path == path })
        return list.text.split(separator: "\n")
            .filter { !$0.hasPrefix("#") }
            .map { $0.split(separator: " ").map(String.init) }
    }

    private static func name(_ point: String) -> String {
        String(point.prefix { $0 != ":" })
    }

    @Test("every fault point of the sources is on the list, and every one on the list is there")
    func complete() throws {
        var met: Set<String> = []
        for file in Project.files where file.isSwift && !file.path.hasPrefix("Tests/") {
            for line in file.text.split(separator: "\n") where !line.contains("///") {
                let found = line.matches(of: /FaultPoints\.reached\("([^"]+)"\)/)
                met.formUnion(found.map { String($0.output.1) })
            }
        }
        let listed = Set(try CrashPointsTests.lines().map { CrashPointsTests.name($0[2]) })
        #expect(met.subtracting(listed).sorted() == [], "these have no line in the list")
        #expect(listed.subtracting(met).sorted() == [], "these are nowhere in the sources")
    }

    @Test("every line says a service and a transport, or the test that meets the point")
    func lines() throws {
        let services: Set<String> = ["messaging", "assignment-engine", "dispatch-worker"]
        var samples: Set<String> = []
        for words in try CrashPointsTests.lines() {
            #expect((3...4).contains(words.count), "\(words)")
            if words[0] == "elsewhere" {
                #expect(Project.files.contains { $0.path == words[1] }, "\(words[1])")
            } else {
                #expect(services.contains(words[0]) && ["local", "slack"].contains(words[1]))
                #expect(words.count == 3 || words[3] == "sample")
                if words.count == 4 { samples.insert(words[0]) }
            }
        }
        #expect(samples == services, "the normal run kills each service")
    }
}
