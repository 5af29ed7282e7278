internal import CLibCurl
internal import EventLoop

/// One reusable curl handle: options that never change are set once, the others for each transfer.
///
/// Not `Sendable`: it stays with the client that made it. Freed with the object.
final class CurlEasy {
    let handle: UnsafeMutableRawPointer
    private let idleLifetime: Duration
    private let onceLifetime: Duration
    private let errorText: UnsafeMutablePointer<CChar>
    private var fields: UnsafeMutablePointer<curl_slist>?
    private var names: UnsafeMutablePointer<curl_slist>?

    /// - Parameter sockets: passed to the callback that closes a socket, which may come long after
    ///   this handle is gone; the object behind it must outlive curl's multi handle.
    init(_ configuration: HTTPClientConfiguration, sockets: UnsafeMutableRawPointer) {
        guard let handle = curl_easy_init() else { preconditionFailure("curl has no memory") }
        self.handle = handle
        idleLifetime = configuration.idleConnectionLifetime
        onceLifetime = configuration.onceConnectionLifetime
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        set(CURLOPT_ERRORBUFFER, pointer: UnsafeMutableRawPointer(errorText))
        setNetwork(configuration, sockets)
        setProtocol(configuration)
        CurlCallbacks.install(on: handle)
    }

    deinit {
        curl_easy_cleanup(handle)
        curl_slist_free_all(fields)
        curl_slist_free_all(names)
        errorText.deallocate()
    }

    private func setNetwork(
        _ configuration: HTTPClientConfiguration,
        _ sockets: UnsafeMutableRawPointer
    ) {
        set(CURLOPT_NOSIGNAL, 1)
        // Without it, ending a transfer whose name is being looked up waits for the name server,
        // and with it the whole loop. The thread of the look-up then ends by itself.
        set(CURLOPT_QUICK_EXIT, 1)
        set(CURLOPT_TCP_NODELAY, 1)
        // The empty string also switches off the environment's proxies.
        set(CURLOPT_PROXY, "")
        set(CURLOPT_NOPROXY, "*")
        set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        set(CURLOPT_CLOSESOCKETDATA, pointer: sockets)
        for entry in configuration.nameOverrides { names = curl_slist_append(names, entry) }
        if let names { switchboard_curl_set_list(handle, CURLOPT_RESOLVE, names) }
    }

    private func setProtocol(_ configuration: HTTPClientConfiguration) {
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        set(CURLOPT_HTTP09_ALLOWED, 0)
        set(CURLOPT_HTTP_CONTENT_DECODING, 0)
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        // Curl keeps what it has read only when the other source is switched off.
        switch configuration.certificateAuthorities {
        case .directory(let path):
            switchboard_curl_set_string(handle, CURLOPT_CAINFO, nil)
            set(CURLOPT_CAPATH, path)
        case .file(let path):
            set(CURLOPT_CAINFO, path)
            switchboard_curl_set_string(handle, CURLOPT_CAPATH, nil)
        }
    }

    /// Sets everything that differs between transfers.
    func prepare(
        _ request: OutgoingRequest,
        url: TargetURL,
        lines: [String],
        transfer: UnsafeMutableRawPointer
    ) {
        errorText[0] = 0
        set(CURLOPT_URL, url.text)
        set(CURLOPT_CONNECTTIMEOUT_MS, Int(max(1, request.connectTimeout.milliseconds)))
        setReuse(request.delivery)
        setMethod(request)
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines { list = curl_slist_append(list, line) }
        switchboard_curl_set_list(handle, CURLOPT_HTTPHEADER, list)
        curl_slist_free_all(fields)
        fields = list
        for option in [
            CURLOPT_PRIVATE, CURLOPT_WRITEDATA, CURLOPT_HEADERDATA, CURLOPT_OPENSOCKETDATA,
            CURLOPT_PREREQDATA,
        ] {
            set(option, pointer: transfer)
        }
    }

    /// Says which connections the request may use.
    ///
    /// Curl sends a request again when a reused one closes before the answer's first byte, unless
    /// ``Transfer/mayUse(peer:)`` forbids it; on one that was never used before it does not.
    private func setReuse(_ delivery: OutgoingRequest.Delivery) {
        let isAlone = delivery == .onceAlone ? 1 : 0
        set(CURLOPT_FRESH_CONNECT, isAlone)
        set(CURLOPT_FORBID_REUSE, isAlone)
        let lifetime = delivery == .repeatable ? idleLifetime : onceLifetime
        // In whole seconds, and of a connection that has rested for less than one second more.
        set(CURLOPT_MAXAGE_CONN, Int(max(1, lifetime.milliseconds / 1000)))
    }

    private func setMethod(_ request: OutgoingRequest) {
        // HTTPGET also takes back what POST and NOBODY of the transfer before have set.
        set(CURLOPT_HTTPGET, 1)
        if request.method == .head {
            set(CURLOPT_NOBODY, 1)
        } else if request.body != nil || request.method.takesBody {
            set(CURLOPT_POST, 1)
            setBody(request.body ?? [])
        }
        let isPlain = request.method == .head || request.method == .get && request.body == nil
        switchboard_curl_set_string(
            handle,
            CURLOPT_CUSTOMREQUEST,
            isPlain ? nil : request.method.rawValue
        )
    }

    private func setBody(_ body: [UInt8]) {
        switchboard_curl_set_size(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
        // Without any pointer curl would read the body from standard input.
        if body.isEmpty {
            set(CURLOPT_COPYPOSTFIELDS, "")
        } else {
            body.withUnsafeBytes {
                _ = switchboard_curl_set_bytes(handle, CURLOPT_COPYPOSTFIELDS, $0.baseAddress)
            }
        }
    }

    /// Lets go of the body of the last transfer.
    func clear() {
        switchboard_curl_set_pointer(handle, CURLOPT_POSTFIELDS, nil)
        switchboard_curl_set_size(handle, CURLOPT_POSTFIELDSIZE_LARGE, -1)
    }

    /// The last answer's status code.
    var status: Int { switchboard_curl_get_long(handle, CURLINFO_RESPONSE_CODE) }

    /// Bytes of the request that were handed to the network, those of a repeated one added up.
    var requestBytes: Int { switchboard_curl_get_long(handle, CURLINFO_REQUEST_SIZE) }

    /// Curl's own sentence about the failure; names the host, never the path.
    func message(for result: CURLcode) -> String {
        let text = String(cString: errorText)
        return text.isEmpty ? String(cString: curl_easy_strerror(result)) : text
    }

    private func set(_ option: CURLoption, _ value: Int) {
        check(switchboard_curl_set_long(handle, option, value), option)
    }

    private func set(_ option: CURLoption, _ value: String) {
        check(switchboard_curl_set_string(handle, option, value), option)
    }

    private func set(_ option: CURLoption, pointer: UnsafeMutableRawPointer) {
        check(switchboard_curl_set_pointer(handle, option, pointer), option)
    }

    private func check(_ result: CURLcode, _ option: CURLoption) {
        precondition(result == CURLE_OK, "curl lacks option \(option.rawValue), or memory")
    }
}
