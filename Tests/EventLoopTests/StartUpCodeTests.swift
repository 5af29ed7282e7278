import Foundation
import Testing

@testable import EventLoop

@Suite("StartUpCode")
struct StartUpCodeTests {
    @Test(
        "only code of a file that nobody may write to is let go",
        arguments: [
            ("55d0c000-55d0e000 r-xp 00001000 fe:01 1234   /usr/bin/messaging", true),
            ("55d0c000-55d0e000 r--p 00001000 fe:01 1234   /usr/bin/messaging", false),
            ("55d0c000-55d0e000 rwxp 00001000 fe:01 1234   /usr/bin/messaging", false),
            ("55d0c000-55d0e000 r-xs 00001000 fe:01 1234   /usr/bin/messaging", false),
            ("7ffd5000-7ffd7000 r-xp 00000000 00:00 0      [vdso]", false),
            ("7ffd5000-7ffd7000 r-xp 00000000 00:00 0", false),
            ("what is this r-xp 0 0 /x", false),
        ]
    )
    func ranges(line: String, isCode: Bool) {
        #expect(StartUpCode.codeRange(line) == (isCode ? 0x55d0_c000..<0x55d0_e000 : nil))
    }

    @Test("letting go frees memory, and the process runs on")
    func frees() throws {
        let before = try residentPages()
        StartUpCode.letGo()
        let after = try residentPages()
        #expect(after < before)
        #expect("\([1, 2, 3].map { $0 * 2 })" == "[2, 4, 6]")
    }

    /// The pages of files in memory: the third field of `/proc/self/statm` (proc(5)).
    private func residentPages() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        return try #require(text.split(separator: " ").dropFirst(2).first.flatMap { Int($0) })
    }
}
