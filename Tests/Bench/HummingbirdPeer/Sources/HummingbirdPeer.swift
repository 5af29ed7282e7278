import Hummingbird
import Logging
import NIOPosix

/// Answers `GET /healthz` as the services do, on one thread.
///
///     hummingbird-peer PORT
@main
enum HummingbirdPeer {
    static func main() async throws {
        guard let port = CommandLine.arguments.dropFirst().first.flatMap(Int.init) else {
            fatalError("usage: hummingbird-peer PORT")
        }
        let router = Router()
        router.get("/healthz") { _, _ in
            Response(
                status: .ok,
                headers: [.contentType: "application/json"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: #"{"status":"ok"}"#))
            )
        }
        let application = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: port)),
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup(numberOfThreads: 1)),
            logger: Logger(label: "peer")
        )
        try await application.runService()
    }
}
