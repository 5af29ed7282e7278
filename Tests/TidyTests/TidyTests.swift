import Testing

@Suite("Tidy")
struct TidyTests {
    @Test("the project keeps the rules of the house", arguments: rules)
    func projectKeeps(rule: Rule) throws {
        for finding in try Project.files.flatMap(rule.check) {
            Issue.record("\(finding)")
        }
    }

    @Test("the project's files are found")
    func filesAreFound() {
        let paths = Set(Project.files.map(\.path))
        #expect(paths.isSuperset(of: ["Package.swift", "Tests/TidyTests/TidyTests.swift"]))
        #expect(!paths.contains { $0.contains(".build/") || $0.hasPrefix(".git/") })
    }

    @Test("the written exceptions are still needed")
    func exceptionsAreNeeded() throws {
        let files = Project.files
        for path in longFiles.keys {
            let lines = try #require(files.first { $0.path == path }).text.split(separator: "\n")
                .count
            #expect(lines > fileLengthMax, "\(path) needs no exception")
        }
        for entry in longFunctions.keys {
            let path = String(entry.prefix { $0 != ":" })
            let file = try #require(files.first { $0.path == path })
            let isLong = FunctionLengths.functions(in: file.code)
                .contains { "\(path): \($0.name)" == entry && $0.length > functionLengthMax }
            #expect(isLong, "\(entry) needs no exception")
        }
    }

    @Test("every rule finds what it forbids", arguments: Sample.forbidden)
    func ruleFinds(sample: Sample) throws {
        let rule = try #require(rules.first { $0.name == sample.rule })
        let findings = try rule.check(SourceFile(path: sample.path, text: sample.text))
        #expect(findings.count == 1, "\(findings)")
    }

    @Test("every rule lets pass what is allowed", arguments: Sample.allowed)
    func rulePasses(sample: Sample) throws {
        let rule = try #require(rules.first { $0.name == sample.rule })
        let findings = try rule.check(SourceFile(path: sample.path, text: sample.text))
        #expect(findings.isEmpty, "\(findings)")
    }

    @Test("every rule has a sample that it finds")
    func everyRuleIsShown() {
        #expect(Set(Sample.forbidden.map(\.rule)) == Set(rules.map(\.name)))
    }
}
