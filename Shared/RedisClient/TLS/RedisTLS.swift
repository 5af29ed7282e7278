internal import EventLoop
internal import Glibc

/// How connections are encrypted, and whom they trust: TLS 1.2 or newer, always with a server whose
/// certificate is checked.
///
/// It serves all connections of a configuration. Files are read when it is made, and again before a
/// connection is made when they have changed: certificates are renewed while services run.
public final class RedisTLS: Sendable {
    /// The files of a setting; each in PEM.
    public struct Files: Sendable, Hashable {
        /// Whose certificates are trusted, in place of the system's list; nil for that list.
        public var authorities: String?
        /// The client's own certificate, with those between it and its authority; nil for none.
        public var certificate: String?
        /// The key of ``certificate``, without a passphrase.
        public var key: String?

        /// Files by their paths.
        public init(authorities: String? = nil, certificate: String? = nil, key: String? = nil) {
            self.authorities = authorities
            self.certificate = certificate
            self.key = key
        }
    }

    static let authoritiesVariable = "REDIS_TLS_CA_FILE"
    static let certificateVariable = "REDIS_TLS_CERT_FILE"
    static let keyVariable = "REDIS_TLS_KEY_FILE"

    private struct Taken {
        var context: TLSContext
        /// The files as they were when they were last looked at.
        var marks: [FileMark?]
    }

    private let files: Files
    private let taken: Guarded<Taken>

    /// Reads the files.
    ///
    /// - Throws: an error that names the variable whose file is missing, unreadable or wrong.
    public init(_ files: Files = Files()) throws(RedisConfigurationError) {
        self.files = files
        // Looked at before they are read: what changes meanwhile is read again.
        let marks = files.marks
        taken = Guarded(Taken(context: try TLSContext(files), marks: marks))
    }

    /// What a session is begun with.
    var context: TLSContext { taken.withLock { $0.context } }

    /// Takes files that have changed since they were last looked at.
    ///
    /// - Throws: why those that there are now cannot be taken, once: what was taken before stays in
    ///   force until they change again.
    func renew() throws(RedisConfigurationError) {
        let marks = files.marks
        let before = taken.withLock { taken in
            defer { taken.marks = marks }
            return taken.marks
        }
        guard marks != before else { return }
        let context = try TLSContext(files)
        taken.withLock { $0.context = context }
    }
}

extension RedisTLS.Files {
    fileprivate var marks: [FileMark?] {
        [authorities, certificate, key].map { $0.flatMap(FileMark.init) }
    }
}

/// What tells a file from the one that was there before.
private struct FileMark: Sendable, Hashable {
    private let device: UInt
    private let number: UInt
    private let size: Int
    private let seconds: Int
    private let nanoseconds: Int

    /// Nil where there is no file.
    init?(_ path: String) {
        var facts = stat()
        guard stat(path, &facts) == 0 else { return nil }
        device = UInt(facts.st_dev)
        number = UInt(facts.st_ino)
        size = Int(facts.st_size)
        seconds = facts.st_mtim.tv_sec
        nanoseconds = facts.st_mtim.tv_nsec
    }
}
