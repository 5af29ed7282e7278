internal import CLibCurl
internal import EventLoop

/// Curl's multi handle on the event loop.
///
/// Curl says which sockets to watch and when to call again; this object does both and tells its
/// owner of every transfer that ended. The callbacks only note things down: curl may not be called
/// from inside them.
@LoopActor
final class CurlMulti: Flushable {
    /// The owner takes the handle out with ``remove(_:)`` before it does anything else with it.
    var onEnd: @LoopActor (Transfer, CURLcode) -> Void = { _, _ in }

    private let handle: UnsafeMutableRawPointer
    private var sockets: [Int32: CurlSocket] = [:]
    private var timer: LoopTimer?
    private var isDue = false
    private var isWorking = false
    var isFlushScheduled = false

    init(_ configuration: HTTPClientConfiguration) {
        _ = CurlMulti.isLibraryReady
        guard let handle = curl_multi_init() else { preconditionFailure("curl has no memory") }
        self.handle = handle
        let connections = configuration.idleConnectionsLimit
        switchboard_curl_multi_set_long(handle, CURLMOPT_MAXCONNECTS, connections)
        switchboard_curl_multi_set_long(handle, CURLMOPT_PIPELINING, Int(CURLPIPE_NOTHING))
        CurlCallbacks.install(onMulti: handle, context)
    }

    /// Curl's context pointer for callbacks; valid until ``close()``.
    var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    /// How many sockets are watched.
    var socketCount: Int { sockets.count }

    private static let isLibraryReady: Bool = {
        let result = curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        precondition(result == CURLE_OK, "curl can be initialised")
        return true
    }()

    // MARK: Transfers

    func add(_ easy: CurlEasy) {
        let result = curl_multi_add_handle(handle, easy.handle)
        precondition(result == CURLM_OK, "a handle is added once, outside of callbacks")
    }

    func remove(_ easy: CurlEasy) {
        curl_multi_remove_handle(handle, easy.handle)
    }

    /// Closes every connection; all transfers were removed before.
    func close() {
        curl_multi_cleanup(handle)
        // What curl asked for while it closed its connections does not count any more.
        isDue = false
        if let timer { EventLoop.shared.cancel(timer) }
        for socket in sockets.values { socket.unwatch() }
        sockets.removeAll()
    }

    // MARK: Called by the loop

    func flush() {
        guard isDue else { return }
        isDue = false
        work(CURL_SOCKET_TIMEOUT, 0)
    }

    func work(_ descriptor: Int32, _ events: Int32) {
        var running: Int32 = 0
        isWorking = true
        curl_multi_socket_action(handle, descriptor, events, &running)
        isWorking = false
        var left: Int32 = 0
        while let message = curl_multi_info_read(handle, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle,
                let owner = switchboard_curl_get_private(easy)
            else { continue }
            // The message is gone once its handle is removed.
            let result = switchboard_curl_result(message)
            onEnd(Unmanaged<Transfer>.fromOpaque(owner).takeUnretainedValue(), result)
        }
    }

    // MARK: Called by curl

    func arm(milliseconds: Int) {
        if let timer { EventLoop.shared.cancel(timer) }
        timer = nil
        isDue = false
        if milliseconds == 0 && !isWorking {
            // All transfers that begin in a tick start together at its end.
            isDue = true
            EventLoop.shared.flushLater(self)
        } else if milliseconds >= 0 {
            // While curl is at work "at once" means the next tick, so that sockets get their turn.
            let delay = Duration.milliseconds(milliseconds)
            timer = EventLoop.shared.schedule(after: delay) { [weak self] in
                self?.work(CURL_SOCKET_TIMEOUT, 0)
            }
        }
    }

    func watch(_ descriptor: Int32, what: Int32) {
        if what == CURL_POLL_REMOVE {
            sockets.removeValue(forKey: descriptor)?.unwatch()
            return
        }
        var interest: Interest = []
        if what & CURL_POLL_IN != 0 { interest.insert(.read) }
        if what & CURL_POLL_OUT != 0 { interest.insert(.write) }
        if let socket = sockets[descriptor] {
            socket.update(interest)
        } else {
            // A socket that the kernel will not watch ends its transfer by the deadline.
            sockets[descriptor] = CurlSocket(self, descriptor, interest)
        }
    }

    /// Curl's sockets are closed here, so that none is closed while it is watched.
    func close(_ descriptor: Int32) {
        sockets.removeValue(forKey: descriptor)?.unwatch()
        _ = CLibCurl.close(descriptor)
    }
}
