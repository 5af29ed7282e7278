import Coordination
import Testing

@testable import messaging

@Suite("SlackSignature")
struct SlackSignatureTests {
    /// The example of Slack's own documentation.
    static let secret = Secret("8f742231b10e8888abcd99yyyzzz85a5")
    static let body = Array(
        ("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id="
            + "G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2F"
            + "webhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F"
            + "T1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
            + "47445629121.803a0bc887a14d10d2c447fce8b6703c").utf8
    )
    static let timestamp = "1531420618"
    static let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"

    @Test("the documented example is valid")
    func example() throws {
        let signature = try #require(
            SlackSignature(timestamp: Self.timestamp, signature: Self.signature)
        )
        #expect(signature.isValid(Self.body, secret: Self.secret))
        #expect(!signature.isValid(Self.body + [0x20], secret: Self.secret))
        #expect(!signature.isValid(Array(Self.body.dropLast()), secret: Self.secret))
        #expect(!signature.isValid(Self.body, secret: Secret("another")))
    }

    @Test("five minutes are the limit, in both directions")
    func freshness() throws {
        let signature = try #require(
            SlackSignature(timestamp: Self.timestamp, signature: Self.signature)
        )
        for (offset, isFresh) in [
            (0, true), (300, true), (-300, true), (301, false), (-301, false),
        ] {
            #expect(signature.isFresh(now: 1_531_420_618 + Int64(offset)) == isFresh)
        }
    }

    @Test(
        "a timestamp that is not plain digits is none",
        arguments: [
            "", " ", "+1531420618", "-1", "1531420618.0", "1e9", "0x5b", "١٢٣", "1234567890123",
        ]
    )
    func timestamps(text: String) {
        #expect(SlackSignature(timestamp: text, signature: Self.signature) == nil)
    }

    @Test(
        "a signature that is not v0= and 64 small hex digits is none",
        arguments: [
            "", "v0=", "v0=00", "a2114d57", "v1=" + signature.dropFirst(3),
            signature.uppercased(), "v0=" + String(repeating: "g", count: 64), signature + "00",
        ]
    )
    func signatures(text: String) {
        #expect(SlackSignature(timestamp: Self.timestamp, signature: text) == nil)
    }
}
