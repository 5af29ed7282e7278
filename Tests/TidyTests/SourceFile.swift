import Foundation

/// One file of the project, with its path below the project's folder.
struct SourceFile: Sendable {
    let path: String
    let text: String
    /// The same text without comments and without what strings hold; empty unless it is Swift.
    let code: String

    init(path: String, text: String) {
        self.path = path
        self.text = text
        code = path.hasSuffix(".swift") ? SwiftCode(text).withoutCommentsAndStrings : ""
    }

    var isSwift: Bool { path.hasSuffix(".swift") }

    func isBelow(_ folders: [String]) -> Bool {
        folders.contains { path == $0 || path.hasPrefix($0.hasSuffix("/") ? $0 : $0 + "/") }
    }
}

/// What a rule found wrong.
struct Finding: CustomStringConvertible {
    let path: String
    let line: Int
    let message: String

    var description: String { "\(path):\(line): \(message)" }
}

/// The files that the project consists of, below the folder that this file was compiled in.
enum Project {
    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Every text file but what tools make; read once.
    static let files = readFiles()

    private static func readFiles() -> [SourceFile] {
        let manager = FileManager.default
        let made: Set<String> = [".build", ".git", "node_modules", "__pycache__"]
        var found: [SourceFile] = []
        let names = manager.enumerator(atPath: folder.path)
        while let path = names?.nextObject() as? String {
            let name = String(path.split(separator: "/").last ?? "")
            if made.contains(name) {
                names?.skipDescendants()
                continue
            }
            guard let data = manager.contents(atPath: folder.appendingPathComponent(path).path),
                let text = String(data: data, encoding: .utf8)
            else { continue }
            found.append(SourceFile(path: path, text: text))
        }
        return found.sorted { $0.path < $1.path }
    }
}

/// A regular expression, looked for in a whole text at once.
struct Pattern: Sendable {
    private let expression: NSRegularExpression

    /// - Throws: when the pattern is not one.
    init(_ pattern: String) throws {
        expression = try NSRegularExpression(pattern: pattern, options: [.anchorsMatchLines])
    }

    /// What matches, at most one match in a line, with the number of the line.
    func matches(in text: String) -> [(line: Int, words: String)] {
        let whole = text as NSString
        var found: [(line: Int, words: String)] = []
        for match in expression.matches(
            in: text,
            range: NSRange(location: 0, length: whole.length)
        ) {
            let line = whole.substring(to: match.range.location).filter { $0 == "\n" }.count + 1
            guard found.last?.line != line else { continue }
            found.append((line, whole.substring(with: match.range)))
        }
        return found
    }
}
