import EventLoop
import HTTPClient
import Testing

/// Sends and returns what came of it, so that a test can look at either.
@LoopActor
func outcome(
    _ client: HTTPClient,
    _ request: OutgoingRequest
) async -> Result<IncomingResponse, HTTPClientError> {
    do { return .success(try await client.send(request)) } catch { return .failure(error) }
}

/// Sends and expects a failure.
@LoopActor
func failure(
    _ client: HTTPClient,
    _ request: OutgoingRequest,
    sourceLocation: SourceLocation = #_sourceLocation
) async -> HTTPClientError? {
    switch await outcome(client, request) {
    case .failure(let error): return error
    case .success(let response):
        Issue.record("answered with \(response.status)", sourceLocation: sourceLocation)
        return nil
    }
}

/// Waits, for at most ten seconds, until `condition` holds.
@LoopActor
func eventually(
    _ condition: () -> Bool,
    sourceLocation: SourceLocation = #_sourceLocation
) async throws {
    for _ in 0..<5_000 {
        if condition() { return }
        try await EventLoop.shared.sleep(for: .milliseconds(2))
    }
    Issue.record("did not happen within ten seconds", sourceLocation: sourceLocation)
}

extension IncomingResponse {
    var text: String { String(decoding: body, as: UTF8.self) }
}
