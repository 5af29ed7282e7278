import EventLoop
import Foundation
import HTTPClient
import Testing

private let openssl = "/usr/bin/openssl"

@Suite(
    "HTTPClient TLS",
    .enabled(if: FileManager.default.isExecutableFile(atPath: openssl), "needs \(openssl)"),
    .serialized,
    .timeLimit(.minutes(1))
)
@LoopActor struct TLSTests {
    @Test("a certificate that nobody known signed is refused, and nothing was sent")
    func unknownIssuer() async throws {
        let server = try await TLSServer()
        defer { server.stop() }
        for delivery in [OutgoingRequest.Delivery.repeatable, .once, .onceAlone] {
            var request = OutgoingRequest(.post, server.url(host: "localhost"), body: [1])
            request.delivery = delivery
            let error = await failure(HTTPClient(), request)
            #expect(error?.code == .tls)
            #expect(error?.mayHaveBeenSent == false)
        }
    }

    @Test("a certificate of a trusted issuer is accepted for its name only")
    func trusted() async throws {
        let server = try await TLSServer()
        defer { server.stop() }
        var configuration = HTTPClientConfiguration()
        configuration.certificateAuthorities = .file(server.certificate)
        let client = HTTPClient(configuration)
        for delivery in [OutgoingRequest.Delivery.repeatable, .once, .onceAlone] {
            var request = OutgoingRequest(.get, server.url(host: "localhost"))
            request.delivery = delivery
            #expect(try await client.send(request).status == 200)
        }
        let error = await failure(client, OutgoingRequest(.get, server.url(host: "127.0.0.1")))
        #expect(error?.code == .tls)
        #expect(error?.mayHaveBeenSent == false)
    }
}

/// `openssl s_server` with a certificate of its own for `localhost`.
@LoopActor
private final class TLSServer {
    let certificate: String
    private let folder: String
    private let port: UInt16
    private var process = Process()

    init() async throws {
        folder = NSTemporaryDirectory() + "switchboard-tls-\(UUID().uuidString)"
        certificate = folder + "/certificate.pem"
        // Free a moment ago; the server tells when somebody else was faster.
        let probe = StubServer { _ in }
        port = probe.port
        probe.stop()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let key = folder + "/key.pem"
        let made = try TLSServer.start(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
            "-addext",
            "subjectAltName=DNS:localhost"
        )
        try await eventually { !made.isRunning }
        process = try TLSServer.start(
            "s_server",
            "-accept",
            "127.0.0.1:\(port)",
            "-cert",
            certificate,
            "-key",
            key,
            "-www",
            "-quiet"
        )
        try await eventually { isListening }
    }

    func url(host: String) -> String { "https://\(host):\(port)/" }

    func stop() {
        process.terminate()
        try? FileManager.default.removeItem(atPath: folder)
    }

    private var isListening: Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        return connectLoopback(descriptor, port) == 0
    }

    private static func start(_ arguments: String...) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: openssl)
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return process
    }
}
