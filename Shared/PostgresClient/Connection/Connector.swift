internal import EventLoop

/// Opens connections: names to addresses off the loop, then one address after the other until one
/// answers and is of the wanted kind.
@LoopActor
struct Connector {
    let configuration: PostgresConfiguration
    let observer: (any PostgresObserver)?

    nonisolated init(_ configuration: PostgresConfiguration, _ observer: (any PostgresObserver)?) {
        self.configuration = configuration
        self.observer = observer
    }

    func connect(_ role: ConnectionRole) async throws(PostgresError) -> Connection {
        var reasons: [String] = []
        var last = PostgresError(.connection, "connect", "no address")
        for host in configuration.url.hosts {
            let candidates: [ConnectionCandidate]
            do {
                candidates = try await Connector.candidates(host)
            } catch {
                reasons.append("\(error)")
                continue
            }
            for candidate in candidates {
                do {
                    return try await connect(role, candidate)
                } catch {
                    // A server that is too old stays so; say it at once.
                    if error.code == .unsupportedServer { throw error }
                    reasons.append("\(candidate.name): \(error.message)")
                    last = error
                }
            }
        }
        throw PostgresError(last.code, "connect", reasons.joined(separator: "; "))
    }

    static func candidates(
        _ host: PostgresURL.Host
    ) async throws -> [ConnectionCandidate] {
        if host.isSocketFolder {
            return [ConnectionCandidate(host: host.name, address: nil, port: host.port)]
        }
        return try await HostResolver.resolve(host.name).map {
            ConnectionCandidate(host: host.name, address: $0, port: host.port)
        }
    }

    private func connect(
        _ role: ConnectionRole,
        _ candidate: ConnectionCandidate
    ) async throws(PostgresError) -> Connection {
        let link = try await ConnectAttempt.run(
            keywords: configuration.keywords(role, candidate),
            timeout: configuration.connectTimeout
        )
        let version = ServerVersion(link.serverVersion)
        if let fault = version.fault(minimum: configuration.minimumServerVersion) {
            link.finish()
            throw PostgresError(.unsupportedServer, "connect", "\(candidate.name): \(fault)")
        }
        do {
            let connection = try Connection(
                link,
                role: role,
                host: candidate.name,
                statementCacheMax: configuration.statementCacheMax,
                observer: observer
            )
            observer?.postgres(
                .connected(
                    role: role.rawValue,
                    host: candidate.name,
                    serverVersion: version.number
                )
            )
            return connection
        } catch {
            link.finish()
            throw error
        }
    }
}

extension ConnectionCandidate {
    /// What a person calls it.
    var name: String {
        guard let address else { return host.isEmpty ? "local socket:\(port)" : "\(host):\(port)" }
        return address == host ? "\(host):\(port)" : "\(host) (\(address)):\(port)"
    }
}
