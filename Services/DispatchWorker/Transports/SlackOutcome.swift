internal import EventLoop
internal import HTTPClient
internal import JSON

/// Tells what Slack's answer to `chat.postMessage` means.
///
/// Slack says with HTTP 200 that something failed, so the status alone means nothing. Whatever may
/// have been sent and was not confirmed is `unknown`, never a reason to send again.
enum SlackOutcome {
    /// How long a limit is respected when Slack does not say.
    static let retryAfterDefault: Duration = .seconds(30)
    /// The longest `Retry-After` that is believed.
    static let retryAfterMax: Duration = .seconds(3600)

    /// The meaning of an answer.
    ///
    /// - Parameter retryAfter: the field of this name.
    static func classify(status: Int, retryAfter: String?, body: [UInt8]) -> SendReport {
        var report = classified(status: status, retryAfter: retryAfter, body: body)
        report.httpStatus = status
        return report
    }

    private static func classified(
        status: Int,
        retryAfter: String?,
        body: [UInt8]
    ) -> SendReport {
        if status == 429 { return SendReport(outcome: limited(retryAfter, "ratelimited")) }
        if status >= 500 { return SendReport(outcome: .unknown(reason: "http_\(status)")) }
        guard let answer = try? JSON(parsing: body, limits: .foreign),
            let isOK = answer["ok"]?.boolValue
        else { return SendReport(outcome: .unknown(reason: "unreadable_answer")) }
        if isOK {
            guard let ts = answer["ts"]?.stringValue, !ts.isEmpty else {
                return SendReport(outcome: .unknown(reason: "answer_without_ts"))
            }
            return SendReport(outcome: .sent(providerTS: ts))
        }
        guard let code = answer["error"]?.stringValue else {
            return SendReport(outcome: .unknown(reason: "answer_without_error"))
        }
        return refused(code, retryAfter)
    }

    /// The meaning of an exchange that ended without an answer.
    static func classify(_ error: HTTPClientError) -> SendReport {
        let reason = "http_client_\(error.code)"
        if error.mayHaveBeenSent { return SendReport(outcome: .unknown(reason: reason)) }
        switch error.code {
        case .badURL, .badHeader, .refusedAddress:
            return SendReport(
                outcome: .workspaceRefused(reason: reason),
                attention: .addressRefused
            )
        // Ours: the provider was not even called.
        case .tooManyTransfers, .stopped, .cancelled:
            return SendReport(outcome: .retry(reason: reason))
        default: return SendReport(outcome: .retry(reason: reason), isOutage: true)
        }
    }

    private static func refused(_ code: String, _ retryAfter: String?) -> SendReport {
        if limits.contains(code) { return SendReport(outcome: limited(retryAfter, code)) }
        if notSent.contains(code) { return SendReport(outcome: .retry(reason: code)) }
        if ambiguous.contains(code) || code.hasPrefix("duplicate_") {
            return SendReport(outcome: .unknown(reason: code))
        }
        if workspace.contains(code) {
            return SendReport(
                outcome: .workspaceRefused(reason: code),
                attention: .workspaceRefused
            )
        }
        if message.contains(code) || messagePrefixes.contains(where: code.hasPrefix) {
            return SendReport(outcome: .failed(reason: code))
        }
        // Ours, or new: it stays visible as failed and is never tried without end.
        return SendReport(
            outcome: .failed(reason: code),
            attention: ours.contains(code) ? .ourBug : .unknownAnswer
        )
    }

    static func limited(_ retryAfter: String?, _ reason: String) -> SendOutcome {
        .rateLimited(wait: wait(retryAfter), reason: reason)
    }

    /// How long a `Retry-After` asks to wait, within what is believed.
    static func wait(_ retryAfter: String?) -> Duration {
        let asked = retryAfter.flatMap { Int64($0) }.map { Duration.seconds(max(0, $0)) }
        return min(asked ?? retryAfterDefault, retryAfterMax)
    }

    private static let limits: Set<String> = ["ratelimited", "rate_limited"]
    private static let notSent: Set<String> = [
        "service_unavailable", "request_timeout", "team_added_to_org",
    ]
    /// We called what is not there.
    private static let ours: Set<String> = [
        "unknown_method", "deprecated_endpoint", "method_deprecated",
    ]
    /// Documented with: part of the operation may have succeeded.
    private static let ambiguous: Set<String> = ["internal_error", "fatal_error"]
    /// Whatever is wrong with the token or its rights.
    static let workspace: Set<String> = [
        "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive",
        "missing_scope", "no_permission", "not_allowed_token_type", "access_denied",
        "ekm_access_denied", "accesslimited", "org_login_required", "two_factor_setup_required",
        "message_limit_exceeded",
    ]
    /// Whatever is wrong with the message or its channel.
    private static let message: Set<String> = [
        "channel_not_found", "not_in_channel", "is_archived", "msg_too_long", "no_text",
        "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "too_many_attachments",
        "attachment_payload_limit_exceeded", "metadata_too_large", "cannot_reply_to_message",
        "thread_not_found", "markdown_text_conflict", "messages_tab_disabled",
        "invalid_arguments", "invalid_arg_name", "invalid_array_arg", "invalid_charset",
        "invalid_form_data", "invalid_post_type", "invalid_json", "json_not_object",
    ]
    private static let messagePrefixes = ["invalid_metadata_", "restricted_action"]
}
