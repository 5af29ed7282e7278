import EventLoop
import Foundation
import Glibc

/// A server that behaves like Slack's Web API, refuses what Slack refuses, and fails on demand.
///
/// `POST /_control` sets faults and limits and lets people write, `GET /_deliveries` shows what was
/// accepted, and `DELETE /_deliveries` forgets it.
@main
enum SlackStandIn {
    static func main() throws {
        // The stack gives the port as it does to a service.
        let given = CommandLine.arguments.dropFirst().first ?? ""
        let port = Int(given) ?? ProcessInfo.processInfo.environment["PORT"].flatMap(Int.init)
        try EventLoop.run {
            let address = try await SocketAddress.resolve(host: "127.0.0.1", port: port ?? 21090)
            let server = try StandInServer(address)
            try server.start()
            print("slack stand-in on port \(server.port)")
            // The loop takes these signals, so a program on it ends only if it says so.
            for signal: Int32 in [SIGINT, SIGTERM, SIGHUP] {
                try EventLoop.shared.onSignal(signal) { ProcessExit.now(status: 0) }
            }
            await withCheckedContinuation { (_: CheckedContinuation<Void, Never>) in }
        }
    }
}

/// Takes connections.
@LoopActor
final class StandInServer: ListenerDelegate {
    private let listener: Listener
    private let workspace = StandInWorkspace()

    init(_ address: SocketAddress) throws {
        listener = try Listener(address: address, sharesPort: false)
    }

    var port: Int { listener.address.port }

    func start() throws {
        try listener.start(self)
    }

    func accepted(_ socket: consuming StreamSocket) {
        StandInConnection(socket, workspace).start()
    }

    func refused(_ socket: consuming StreamSocket) {}
}
