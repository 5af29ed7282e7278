/// Names of statuses for programs.
enum HTTPStatus {
    /// The status as a slug, such as `not_found`.
    static func slug(_ status: Int) -> String {
        let phrase = StatusLine.phrase(status)
        guard !phrase.isEmpty else { return "error" }
        return String(phrase.lowercased().map { $0.isLetter ? $0 : "_" })
    }
}
