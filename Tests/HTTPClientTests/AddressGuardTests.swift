import EventLoop
import Testing

@testable import HTTPClient

@Suite("AddressGuard", .timeLimit(.minutes(1)))
@LoopActor struct AddressGuardTests {
    /// A client that may go to the stub's port over http, so that only the address rules are left.
    private func client(_ server: StubServer, names: [String] = []) -> HTTPClient {
        var configuration = HTTPClientConfiguration()
        configuration.guardRules.schemes = ["http"]
        configuration.guardRules.ports = [Int(server.port)]
        configuration.nameOverrides = names
        return HTTPClient(configuration)
    }

    private func guarded(_ url: String, allowHosts: AllowedHosts = .none) -> OutgoingRequest {
        var request = OutgoingRequest(.post, url, body: [1])
        request.destination = .guarded(allowHosts: allowHosts)
        return request
    }

    @Test(
        "no spelling of an inner address gets through",
        arguments: [
            // Loopback
            "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001",
            "0x7f.1",
            "0x7F.0x0.0x0.0x1", "0177.0.0.1", "0177.1", "017700000001", "127.0.0.01",
            "0x7f.0.0.1", "00000177.0.0.1",
            // This host
            "0", "0.0.0.0", "0x0", "00", "0.0",
            // Private, shared, link-local, metadata
            "10.0.0.1", "10.1", "0xa000001", "167772161", "172.16.0.1", "172.31.255.255",
            "192.168.0.1", "3232235521", "169.254.169.254", "2852039166", "0xa9fea9fe",
            "0251.0376.0251.0376", "100.64.0.1", "100.127.255.255",
            // Special purposes
            "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.7",
            "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
            // IPv6
            "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
            "[::ffff:10.0.0.1]", "[::ffff:8.8.8.8]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
            "[64:ff9b::127.0.0.1]", "[64:ff9b:1::1]", "[fc00::1]", "[fd12:3456::1]", "[fe80::1]",
            "[fe80::1%25lo]", "[fec0::1]", "[ff02::1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]",
            "[2001:db8::1]", "[100::1]",
            // Names of this host
            "localhost", "LOCALHOST", "a.localhost",
        ]
    )
    func addresses(host: String) async {
        let server = StubServer.answering { _ in answer() }
        let client = client(server)
        let error = await failure(client, guarded("http://\(host):\(server.port)/"))
        #expect(error?.code == .refusedAddress)
        #expect(error?.mayHaveBeenSent == false)
        #expect(server.connections == 0)
    }

    @Test(
        "what is neither an address nor a name goes nowhere",
        arguments: [
            "127.0.0.1.", "localhost.", "%31%32%37.0.0.1", "127.0.0.1%2f", "127.0.0.1%00",
            "①②⑦.0.0.1", "127。0。0。1", "[127.0.0.1]", "256.256.256.256", "4294967296",
            "0x100000000", "127.0.0.1\\@example.com", "example.com@127.0.0.1", "1.2.3.4.5",
        ]
    )
    func oddities(host: String) async {
        let server = StubServer.answering { _ in answer() }
        let error = await failure(client(server), guarded("http://\(host):\(server.port)/"))
        #expect([.refusedAddress, .badURL, .resolve].contains(error?.code))
        #expect(error?.mayHaveBeenSent == false)
        #expect(server.connections == 0)
    }

    @Test("a name that resolves to an inner address is refused when its socket is opened")
    func rebinding() async {
        let server = StubServer.answering { _ in answer() }
        for addresses in ["127.0.0.1", "[::1],127.0.0.1", "[::ffff:127.0.0.1]", "10.0.0.1"] {
            let names = ["rebind.test:\(server.port):\(addresses)"]
            let error = await failure(
                client(server, names: names),
                guarded("http://rebind.test:\(server.port)/")
            )
            #expect(error?.code == .refusedAddress)
            #expect(error?.mayHaveBeenSent == false)
        }
        #expect(server.connections == 0)
    }

    @Test("a connection that a trusted request had opened is not lent to a guarded one")
    func borrowedConnection() async throws {
        let server = StubServer.answering { _ in answer() }
        let client = client(server, names: ["inner.test:\(server.port):127.0.0.1"])
        let url = "http://inner.test:\(server.port)/"
        _ = try await client.send(OutgoingRequest(.get, url))
        let error = await failure(client, guarded(url))
        #expect(error?.code == .refusedAddress)
        #expect(error?.mayHaveBeenSent == false)
        #expect(server.requests.count == 1)
        // The trusted caller is not hurt.
        _ = try await client.send(OutgoingRequest(.get, url))
        #expect(server.requests.count == 2)
    }

    @Test("an allowed host and port lifts every rule, and only there")
    func allowed() async throws {
        let server = StubServer.answering { _ in answer() }
        let other = StubServer.answering { _ in answer() }
        let client = HTTPClient()
        let allowed = try #require(AllowedHosts(parsing: "127.0.0.1:\(server.port)"))
        let response = try await client.send(guarded(server.url, allowHosts: allowed))
        #expect(response.status == 200)
        for url in [other.url, "http://localhost:\(server.port)/", "http://[::1]:\(server.port)/"] {
            let error = await failure(client, guarded(url, allowHosts: allowed))
            #expect(error?.code == .refusedAddress)
        }
        #expect(other.connections == 0)
        #expect(server.connections == 1)
    }

    @Test("a redirect of an allowed host to an inner one is not followed")
    func redirect() async throws {
        let inner = StubServer.answering { _ in answer() }
        let server = StubServer.answering { _ in
            answer("", status: 307, "Location: \(inner.url)/")
        }
        let allowed = try #require(AllowedHosts(parsing: "127.0.0.1:\(server.port)"))
        let response = try await HTTPClient().send(guarded(server.url, allowHosts: allowed))
        #expect(response.status == 307)
        #expect(inner.connections == 0)
    }

    @Test(
        "a configured URL is judged without sending",
        arguments: [
            ("https://example.com/api", nil), ("https://example.com:443/", nil),
            ("https://8.8.8.8/", nil), ("https://[2606:4700::1111]/", nil),
            ("http://example.com/", .refusedAddress),
            ("https://example.com:8443/", .refusedAddress),
            ("http://example.com:443/", .refusedAddress), ("https://127.0.0.1/", .refusedAddress),
            ("https://2130706433/", .refusedAddress), ("https://[::1]/", .refusedAddress),
            ("https://user@example.com/", .badURL), ("https://u:p@example.com/", .badURL),
            ("ftp://example.com/", .badURL), ("//example.com/", .badURL), ("", .badURL),
        ] as [(String, HTTPClientError.Code?)]
    )
    func configured(url: String, code: HTTPClientError.Code?) {
        #expect(AddressGuard.refusal(of: url, allowHosts: .none)?.code == code)
    }

    @Test(
        "public addresses and the borders of the special networks",
        arguments: [
            ("8.8.8.8", true), ("1.1.1.1", true), ("9.255.255.255", true), ("11.0.0.0", true),
            ("100.63.255.255", true), ("100.128.0.0", true), ("126.255.255.255", true),
            ("128.0.0.0", true), ("169.253.255.255", true), ("169.255.0.0", true),
            ("172.15.255.255", true), ("172.32.0.0", true), ("192.0.1.0", true),
            ("192.167.255.255", true), ("192.169.0.0", true), ("198.17.255.255", true),
            ("198.20.0.0", true), ("223.255.255.255", true), ("192.88.99.1", false),
            ("2606:4700::1111", true), ("2001:200::1", true), ("2001:1ff::1", false),
            ("3fff:1000::1", true), ("3fff:fff::1", false), ("4000::1", false), ("1fff::1", false),
        ]
    )
    func borders(text: String, isPublic: Bool) {
        #expect(IPAddress(text)?.isPublic == isPublic)
    }

    @Test(
        "the list of allowed hosts",
        arguments: [
            ("", "a.test", 443, false), ("a.test", "a.test", 443, true),
            ("a.test", "a.test", 80, true), ("a.test", "a.test", 8080, false),
            ("a.test:8080", "a.test", 8080, true), ("a.test:8080", "a.test", 443, false),
            ("A.Test:1", "a.tesT", 1, true), (" a.test:1 , b.test:2 ,", "b.test", 2, true),
            ("[::1]:9", "[::1]", 9, true), ("127.0.0.1:9", "127.0.0.1", 9, true),
            ("a.test", "b.a.test", 443, false), ("a.test", "a.test.b", 443, false),
        ]
    )
    func allowList(list: String, host: String, port: Int, expected: Bool) {
        #expect(AllowedHosts(parsing: list)?.allows(host: host, port: port) == expected)
    }

    @Test(
        "a malformed list of allowed hosts is refused as a whole",
        arguments: [
            "a.test:", "a.test:0", "a.test:x", "a.test:70000", "*.test", "http://a.test", "a/b",
            "::1", "[::1", "[zz]:1", "[::1]x", "a b", ":80", "ü.test",
        ]
    )
    func badAllowList(list: String) {
        #expect(AllowedHosts(parsing: "good.test," + list) == nil)
    }
}
