internal import EventLoop

extension RedisClient {
    /// Sends commands together and waits for all their answers; others' commands may run between.
    ///
    /// To a cluster each goes to the node of its key; those of one key stay in their order.
    ///
    /// - Returns: one value per command; error replies stand in place as ``RedisValue/error(_:)``.
    /// - Throws: why there are no replies; some commands may have run.
    public func pipeline(
        _ commands: [[RedisArgument]],
        within limit: Duration? = nil
    ) async throws(RedisError) -> [RedisValue] {
        guard let first = commands.first else { return [] }
        if let cluster {
            do throws(RedisError) {
                return try await cluster.pipeline(commands, deadline: deadline(limit))
            } catch {
                throw noted(error, RedisClient.name(of: first))
            }
        }
        return try await sendGroup(commands, named: RedisClient.name(of: first), within: limit)
    }

    /// Runs commands as one transaction (MULTI, EXEC): all of them or none, nobody's between.
    ///
    /// Redis does not undo: a command that fails while running leaves the others' effects, and its
    /// error stands in its place.
    ///
    /// To a cluster it goes to the node of its keys, which must all be in one slot.
    ///
    /// - Returns: one value per command.
    /// - Throws: an error when the server ran none of them, or why there are no replies.
    public func transaction(
        _ commands: [[RedisArgument]],
        within limit: Duration? = nil
    ) async throws(RedisError) -> [RedisValue] {
        guard !commands.isEmpty else { return [] }
        precondition(
            RedisKeySlot.shareSlot(commands.compactMap { $0.dropFirst().first?.text }),
            "the tagged keys of a transaction share a slot"
        )
        let replies = try await sendTransaction(commands, within: limit)
        switch replies.last {
        case .array(let values): return values
        case .error(let message):
            // The reason stands at the command that was refused; EXEC only says that one was.
            let reason = replies.dropLast().lazy.compactMap(\.errorMessage).first
            throw RedisError(reply: reason ?? message, command: "EXEC")
        case let other:
            throw RedisError(
                .protocolViolation,
                command: "EXEC",
                message: "answered \(other.map { "\($0)" } ?? "nothing")"
            )
        }
    }

    private func sendTransaction(
        _ commands: [[RedisArgument]],
        within limit: Duration?
    ) async throws(RedisError) -> [RedisValue] {
        guard let cluster else {
            let group = [["MULTI"]] + commands + [["EXEC"]]
            return try await sendGroup(group, named: "MULTI", within: limit)
        }
        do throws(RedisError) {
            return try await cluster.transaction(commands, deadline: deadline(limit))
        } catch {
            throw noted(error, "MULTI")
        }
    }

    private func sendGroup(
        _ commands: [[RedisArgument]],
        named name: String,
        within limit: Duration?
    ) async throws(RedisError) -> [RedisValue] {
        guard let connection = link.connection else { throw disconnected([.string(name)]) }
        do throws(RedisError) {
            return try await connection.answers(to: commands, until: deadline(limit))
        } catch {
            throw noted(error, name)
        }
    }
}
