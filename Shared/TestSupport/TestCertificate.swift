internal import EventLoop
internal import Foundation

/// A certificate of a test's authority, in files.
public struct TestCertificate: Sendable {
    /// The certificate, in PEM.
    public let file: String
    /// Its key.
    public let key: String
    /// The authority's certificate.
    public let authority: String
}

/// An authority of a test's own, that `openssl` makes in a folder of its own.
public struct TestAuthority: Sendable {
    /// Why there is no certificate.
    public struct Failure: Error, CustomStringConvertible {
        /// The command that failed.
        public let description: String
    }

    private static let program = "/usr/bin/openssl"
    private static let newKey = [
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
    ]

    private let folder: URL

    /// Whether certificates can be made here.
    public static var isAvailable: Bool { FileManager.default.isExecutableFile(atPath: program) }

    /// The authority's certificate, in PEM.
    public var file: String { path("authority.pem") }

    /// Makes one.
    public init() async throws {
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("authority-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try await run(
            ["req", "-x509"] + TestAuthority.newKey + [
                "-keyout", path("authority.key"), "-out", file, "-days", "2",
                "-subj", "/CN=an authority of a test",
            ]
        )
    }

    /// Signs a certificate.
    ///
    /// - Parameters:
    ///   - names: whose it is, such as `DNS:localhost,IP:127.0.0.1`.
    ///   - days: how long it is valid from now on; -1 for one that ended yesterday.
    public func sign(_ names: String, days: Int = 2) async throws -> TestCertificate {
        let name = UUID().uuidString
        let request = path("\(name).csr")
        let made = TestCertificate(
            file: path("\(name).pem"),
            key: path("\(name).key"),
            authority: file
        )
        try await run(
            ["req", "-new"] + TestAuthority.newKey + [
                "-keyout", made.key, "-out", request, "-subj", "/CN=a test",
                "-addext", "subjectAltName=\(names)",
            ]
        )
        try await run([
            "x509", "-req", "-in", request, "-CA", file, "-CAkey", path("authority.key"),
            "-days", "\(days)", "-copy_extensions", "copy", "-out", made.file,
        ])
        return made
    }

    /// Writes a key anew, so that it needs a passphrase.
    public func encrypt(_ key: String, to path: String) async throws {
        try await run([
            "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", path,
        ])
    }

    /// Removes its files.
    public func remove() { try? FileManager.default.removeItem(at: folder) }

    /// The path of a file in the folder.
    public func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    private func run(_ words: [String]) async throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: TestAuthority.program)
        process.arguments = words
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        for _ in 0..<2000 where process.isRunning {
            try await EventLoop.shared.sleep(for: .milliseconds(5))
        }
        if process.isRunning { process.terminate() }
        guard !process.isRunning, process.terminationStatus == 0 else {
            throw Failure(description: "openssl \(words.joined(separator: " "))")
        }
    }
}
