import EventLoop
import HTTPClient
import JSON
import Testing

@testable import dispatch_worker

@Suite("SlackOutcomeTests")
struct SlackOutcomeTests {
    struct Answer: Sendable, CustomTestStringConvertible {
        let status: Int
        var retryAfter: String?
        let body: String
        let outcome: dispatch_worker.SendOutcome
        var attention: Attention?

        var testDescription: String { "\(status) \(body.prefix(60))" }
    }

    static func refusal(_ code: String) -> String { #"{"ok":false,"error":"\#(code)"}"# }

    static let answers: [Answer] = [
        Answer(
            status: 200,
            body: #"{"ok":true,"channel":"C1","ts":"1700000000.000100"}"#,
            outcome: .sent(providerTS: "1700000000.000100")
        ),
        Answer(
            status: 200,
            body: #"{"ok":true,"ts":"1.2","warning":"missing_charset"}"#,
            outcome: .sent(providerTS: "1.2")
        ),
        Answer(
            status: 429,
            retryAfter: "7",
            body: refusal("ratelimited"),
            outcome: .rateLimited(wait: .seconds(7), reason: "ratelimited")
        ),
        Answer(
            status: 429,
            body: "<html>",
            outcome: .rateLimited(wait: .seconds(30), reason: "ratelimited")
        ),
        Answer(
            status: 429,
            retryAfter: "999999999999",
            body: "",
            outcome: .rateLimited(wait: .seconds(3600), reason: "ratelimited")
        ),
        Answer(
            status: 429,
            retryAfter: "soon",
            body: "",
            outcome: .rateLimited(wait: .seconds(30), reason: "ratelimited")
        ),
        Answer(
            status: 200,
            retryAfter: "2",
            body: refusal("rate_limited"),
            outcome: .rateLimited(wait: .seconds(2), reason: "rate_limited")
        ),
        Answer(status: 500, body: "", outcome: .unknown(reason: "http_500")),
        Answer(
            status: 503,
            body: refusal("service_unavailable"),
            outcome: .unknown(reason: "http_503")
        ),
        Answer(
            status: 200,
            body: "<html>ok</html>",
            outcome: .unknown(reason: "unreadable_answer")
        ),
        Answer(
            status: 200,
            body: #"{"ok":true,"ts":"17"#,
            outcome: .unknown(reason: "unreadable_answer")
        ),
        Answer(status: 200, body: "", outcome: .unknown(reason: "unreadable_answer")),
        Answer(status: 302, body: "", outcome: .unknown(reason: "unreadable_answer")),
        Answer(status: 200, body: "[]", outcome: .unknown(reason: "unreadable_answer")),
        Answer(
            status: 200,
            body: #"{"ok":"true","ts":"1.2"}"#,
            outcome: .unknown(reason: "unreadable_answer")
        ),
        Answer(
            status: 200,
            body: #"{"ok":true}"#,
            outcome: .unknown(reason: "answer_without_ts")
        ),
        Answer(
            status: 200,
            body: #"{"ok":false}"#,
            outcome: .unknown(reason: "answer_without_error")
        ),
        Answer(
            status: 200,
            body: refusal("a_code_of_tomorrow"),
            outcome: .failed(reason: "a_code_of_tomorrow"),
            attention: .unknownAnswer
        ),
        Answer(
            status: 200,
            body: refusal("unknown_method"),
            outcome: .failed(reason: "unknown_method"),
            attention: .ourBug
        ),
    ]

    @Test("an answer means what the table says", arguments: answers)
    func answer(_ row: Answer) {
        let report = SlackOutcome.classify(
            status: row.status,
            retryAfter: row.retryAfter,
            body: Array(row.body.utf8)
        )
        #expect(report.outcome == row.outcome)
        #expect(report.httpStatus == row.status)
        #expect(report.attention == row.attention)
    }

    private func outcome(_ code: String) -> dispatch_worker.SendOutcome {
        let body = Array(SlackOutcomeTests.refusal(code).utf8)
        return SlackOutcome.classify(status: 200, retryAfter: nil, body: body).outcome
    }

    @Test(
        "what surely was not sent is tried again",
        arguments: ["service_unavailable", "request_timeout", "team_added_to_org"]
    )
    func retried(_ code: String) {
        #expect(outcome(code) == .retry(reason: code))
    }

    @Test(
        "what may have been sent is never tried again unseen",
        arguments: ["internal_error", "fatal_error", "duplicate_message_not_found"]
    )
    func ambiguous(_ code: String) {
        #expect(outcome(code) == .unknown(reason: code))
    }

    @Test(
        "a fault of the message ends it",
        arguments: [
            "channel_not_found", "not_in_channel", "is_archived", "msg_too_long", "no_text",
            "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long",
            "too_many_attachments", "attachment_payload_limit_exceeded",
            "invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large",
            "cannot_reply_to_message", "restricted_action", "restricted_action_read_only_channel",
            "markdown_text_conflict", "messages_tab_disabled", "invalid_arguments",
            "invalid_arg_name", "invalid_array_arg", "invalid_charset", "invalid_form_data",
            "invalid_post_type", "invalid_json", "json_not_object",
        ]
    )
    func permanent(_ code: String) {
        let body = Array(SlackOutcomeTests.refusal(code).utf8)
        let report = SlackOutcome.classify(status: 200, retryAfter: nil, body: body)
        #expect(report.outcome == .failed(reason: code))
        #expect(report.attention == nil)
    }

    @Test(
        "a fault of the token concerns the workspace",
        arguments: [
            "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive",
            "missing_scope", "no_permission", "not_allowed_token_type", "access_denied",
            "ekm_access_denied", "accesslimited", "org_login_required",
            "two_factor_setup_required", "message_limit_exceeded",
        ]
    )
    func workspace(_ code: String) {
        #expect(outcome(code) == .workspaceRefused(reason: code))
    }

    @Test("without an answer, what counts is whether a byte may have left")
    func withoutAnswer() {
        for code in [HTTPClientError.Code.reset, .timeout, .badResponse, .tooLarge, .cancelled] {
            let sent = HTTPClientError(code, mayHaveBeenSent: true, "x")
            #expect(
                SlackOutcome.classify(sent).outcome == .unknown(reason: "http_client_\(code)")
            )
        }
        for code in [HTTPClientError.Code.resolve, .connect, .tls, .timeout, .tooManyTransfers] {
            let unsent = HTTPClientError(code, mayHaveBeenSent: false, "x")
            #expect(
                SlackOutcome.classify(unsent).outcome == .retry(reason: "http_client_\(code)")
            )
            // No place of our own for the call says nothing of the provider.
            #expect(SlackOutcome.classify(unsent).isOutage == (code != .tooManyTransfers))
        }
        let refused = HTTPClientError(.refusedAddress, mayHaveBeenSent: false, "x")
        #expect(
            SlackOutcome.classify(refused).outcome
                == .workspaceRefused(reason: "http_client_refusedAddress")
        )
    }
}
