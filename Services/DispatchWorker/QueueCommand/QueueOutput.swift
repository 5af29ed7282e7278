internal import EventLoop

/// Lines that are read while the command goes on.
enum QueueOutput {
    static func line(_ text: String) {
        LineWriter.standardOutput.append(Array(text.utf8))
    }
}

/// How far long work has got, on standard error.
enum QueueProgress {
    private static let errors = LineWriter(descriptor: 2)
    /// Shorter work shows nothing.
    private static let least = 1000

    static func show(_ count: Int, _ what: String) {
        guard count >= least else { return }
        errors.append(Array("\(count) \(what) so far".utf8))
        errors.flush(within: .milliseconds(50))
    }
}
