internal import FoundationEssentials
internal import HTTPServer
internal import JSON

extension Request {
    /// An id among the query's parameters; nil when it is not given.
    func queryID(_ name: String) throws(Problem) -> UUID? {
        guard let text = query[name] else { return nil }
        guard let id = UUID(text: text) else {
            throw Problem.invalid("/query/\(name)", "is not a UUID")
        }
        return id
    }

    /// One of a few words among the query's parameters; nil when it is not given.
    func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String,
        of choices: Choice.Type
    ) throws(Problem) -> Choice? where Choice.RawValue == String {
        guard let text = query[name] else { return nil }
        guard let choice = Choice(rawValue: text) else {
            let words = choices.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem.invalid("/query/\(name)", "must be one of \(words)")
        }
        return choice
    }
}
