import Foundation
import Testing

/// What a page refers to is there: a reader is never sent to something that does not exist.
@Suite("Documents")
struct DocumentTests {
    private static let pages = Project.files.map(\.path).filter { $0.hasSuffix(".md") }

    @Test("every file that a page links to or names is there", arguments: pages)
    func references(page: String) throws {
        let paths = Project.files.map(\.path)
        let names = Set(paths.compactMap { $0.split(separator: "/").last.map(String.init) })
        let text = try #require(Project.files.first { $0.path == page }).text
        let folder = page.split(separator: "/").dropLast().map(String.init)
        for link in text.matches(of: /\]\(([^)#:\s]+)\)/).map({ String($0.output.1) }) {
            let target = (folder + [link]).joined(separator: "/")
            #expect(
                paths.contains { $0 == target || $0.hasPrefix(target + "/") },
                "\(page) links to \(link)"
            )
        }
        for named in text.matches(of: /`([\w\/.+-]+\.(?:md|bats|bash|sh|py|swift|sql|yml))`/) {
            let name = String(named.output.1.split(separator: "/").last ?? "")
            #expect(names.contains(name), "\(page) names \(named.output.1)")
        }
    }

    @Test("the pages are found")
    func pagesAreFound() {
        #expect(Self.pages.contains("README.md") && Self.pages.contains("Tests/COVERAGE.md"))
    }
}
