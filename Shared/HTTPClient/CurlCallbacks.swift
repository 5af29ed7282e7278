internal import CLibCurl
internal import EventLoop

/// The functions that curl calls.
///
/// Each finds its object and calls one method of it.
/// Curl calls only from inside a call of ours, so always on the loop's thread; `assumeIsolated`
/// checks it. Pointers travel as integers, since a pointer may not enter isolated code.
enum CurlCallbacks {
    static func install(on easy: UnsafeMutableRawPointer) {
        switchboard_curl_set_sink(easy, CURLOPT_WRITEFUNCTION) { bytes, _, count, context in
            let accepted = CurlCallbacks.deliver(bytes, count, context) { $0.received(body: $1) }
            return accepted ? count : 0
        }
        switchboard_curl_set_sink(easy, CURLOPT_HEADERFUNCTION) { bytes, _, count, context in
            let accepted = CurlCallbacks.deliver(bytes, count, context) { $0.received(line: $1) }
            return accepted ? count : 0
        }
        switchboard_curl_on_open(easy) { context, _, address in
            CurlCallbacks.openSocket(context, address)
        }
        switchboard_curl_on_close(easy) { context, descriptor in
            CurlCallbacks.onMulti(context) { $0.close(descriptor) }
            return 0
        }
        switchboard_curl_on_prerequest(easy) { context, peer, _, _, _ in
            guard let peer else { return Int32(CURL_PREREQFUNC_ABORT) }
            let text = String(cString: peer)
            let isFine = CurlCallbacks.onTransfer(context) { $0.mayUse(peer: IPAddress(text)) }
            return isFine ? Int32(CURL_PREREQFUNC_OK) : Int32(CURL_PREREQFUNC_ABORT)
        }
    }

    static func install(onMulti multi: UnsafeMutableRawPointer, _ context: UnsafeMutableRawPointer)
    {
        switchboard_curl_multi_set_pointer(multi, CURLMOPT_SOCKETDATA, context)
        switchboard_curl_multi_on_socket(multi) { _, descriptor, what, context, _ in
            CurlCallbacks.onMulti(context) { $0.watch(descriptor, what: what) }
            return 0
        }
        switchboard_curl_multi_set_pointer(multi, CURLMOPT_TIMERDATA, context)
        switchboard_curl_multi_on_timer(multi) { _, milliseconds, context in
            CurlCallbacks.onMulti(context) { $0.arm(milliseconds: milliseconds) }
            return 0
        }
    }

    private static func deliver(
        _ bytes: UnsafeMutablePointer<CChar>?,
        _ count: Int,
        _ context: UnsafeMutableRawPointer?,
        _ receive: @LoopActor (Transfer, UnsafeBufferPointer<UInt8>) -> Bool
    ) -> Bool {
        let address = UInt(bitPattern: bytes)
        return onTransfer(context) { transfer in
            let start = UnsafePointer<UInt8>(bitPattern: address)
            return receive(transfer, UnsafeBufferPointer(start: start, count: count))
        }
    }

    private static func openSocket(
        _ context: UnsafeMutableRawPointer?,
        _ address: UnsafeMutablePointer<curl_sockaddr>?
    ) -> curl_socket_t {
        guard let address else { return CURL_SOCKET_BAD }
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = Int(switchboard_curl_address(address, &bytes))
        let peer = IPAddress(bytes: Array(bytes[..<count]))
        guard onTransfer(context, { $0.mayConnect(to: peer) }) else { return CURL_SOCKET_BAD }
        return switchboard_curl_open(address)
    }

    private static func onTransfer(
        _ context: UnsafeMutableRawPointer?,
        _ body: @LoopActor (Transfer) -> Bool
    ) -> Bool {
        let address = UInt(bitPattern: context)
        return LoopActor.assumeIsolated {
            guard let pointer = UnsafeRawPointer(bitPattern: address) else { return false }
            return body(Unmanaged<Transfer>.fromOpaque(pointer).takeUnretainedValue())
        }
    }

    private static func onMulti(
        _ context: UnsafeMutableRawPointer?,
        _ body: @LoopActor (CurlMulti) -> Void
    ) {
        let address = UInt(bitPattern: context)
        LoopActor.assumeIsolated {
            guard let pointer = UnsafeRawPointer(bitPattern: address) else { return }
            body(Unmanaged<CurlMulti>.fromOpaque(pointer).takeUnretainedValue())
        }
    }
}
