internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import Platform
internal import PostgresClient

/// Clients that stay connected, by the keys that they showed: who revokes a key cuts them off.
///
/// Redis tells of a revocation at once; a regular look finds one that nobody told of.
@LoopActor
final class KeyWatch {
    /// Between two looks: as long as a key is believed anywhere.
    static let interval = KeyAuthenticator.freshFor

    /// A client's entry.
    struct Place: Sendable {
        fileprivate let key: String
        fileprivate let number: Int
    }

    private let postgres: PostgresClient
    private var clients: [String: [Int: @LoopActor () -> Void]] = [:]
    private var count = 0
    private lazy var looks = RepeatedWork(every: KeyWatch.interval) { [weak self] in
        await self?.look()
    }

    init(_ authenticator: KeyAuthenticator, postgres: PostgresClient) {
        self.postgres = postgres
        authenticator.onForget = { [weak self] in self?.cut($0) }
    }

    func start() { looks.start() }

    func stop() async { await looks.end() }

    /// Notes a client, whose connection `cut` ends.
    ///
    /// Services have no key that could be revoked.
    func add(_ principal: Principal?, _ cut: @escaping @LoopActor () -> Void) -> Place? {
        guard let principal, !principal.isService else { return nil }
        count += 1
        clients[principal.keyID, default: [:]][count] = cut
        return Place(key: principal.keyID, number: count)
    }

    /// The client has gone.
    func remove(_ place: Place?) {
        guard let place else { return }
        clients[place.key]?[place.number] = nil
        if clients[place.key]?.isEmpty == true { clients[place.key] = nil }
    }

    private func cut(_ key: String) {
        for cut in clients.removeValue(forKey: key)?.values.map({ $0 }) ?? [] { cut() }
    }

    private func look() async {
        let shown = Array(clients.keys)
        guard !shown.isEmpty else { return }
        // While the database is away, those that are here stay.
        guard let valid = try? await valid(shown) else { return }
        for key in shown where !valid.contains(key) { cut(key) }
    }

    private func valid(_ keys: [String]) async throws -> Set<String> {
        let rows = try await postgres.query(
            "select key_id from platform.api_keys where key_id = any ($1) and revoked_at is null",
            [.strings(keys)],
            idempotent: true
        )
        return Set(try rows.map { try $0.string("key_id") })
    }
}
