internal import EventLoop

extension RedisClient {
    /// Runs a script by its digest; a server that forgot it is sent the text once.
    ///
    /// - Parameters:
    ///   - script: what to run.
    ///   - keys: every key it touches; those with a `{tag}` must share a slot, and on a cluster all.
    ///   - arguments: its ARGV.
    ///   - limit: how long to wait in all; nil for the configuration's deadline.
    /// - Throws: the script's error reply, or why there is no reply.
    public func run(
        _ script: RedisScript,
        keys: [String],
        arguments: [RedisArgument] = [],
        within limit: Duration? = nil
    ) async throws(RedisError) -> RedisValue {
        precondition(
            keys.count < 2 || RedisKeySlot.shareSlot(keys),
            "the tagged keys of a script share a slot"
        )
        let deadline = deadline(limit)
        let digest: String
        if let known = script.digest {
            digest = known
        } else {
            digest = try await load(script, for: keys.first, deadline: deadline)
        }
        var command: [RedisArgument] = []
        command.reserveCapacity(3 + keys.count + arguments.count)
        command.append("EVALSHA")
        command.append(.string(digest))
        command.append(.int(Int64(keys.count)))
        for key in keys { command.append(.string(key)) }
        command.append(contentsOf: arguments)
        do {
            return try await send(command, deadline: deadline)
        } catch {
            guard error.serverCode == "NOSCRIPT" else { throw error }
            link.meter.note(.scriptReloaded(name: script.name))
            command[0] = "EVAL"
            command[1] = .string(script.source)
            return try await send(command, deadline: deadline)
        }
    }

    /// Gives a script to the server, or to the node of `key`, which is to run it.
    private func load(
        _ script: RedisScript,
        for key: String?,
        deadline: MonotonicTime
    ) async throws(RedisError) -> String {
        let command: [RedisArgument] = ["SCRIPT", "LOAD", .string(script.source)]
        let reply: RedisValue
        if let cluster, let key {
            let slot = RedisKeySlot.slot(of: key)
            do throws(RedisError) {
                reply = try await cluster.send(command, slot: slot, deadline: deadline)
            } catch {
                throw noted(error, "SCRIPT")
            }
        } else {
            reply = try await send(command, deadline: deadline)
        }
        guard let digest = reply.text, digest.utf8.count == 40 else {
            throw RedisError(.protocolViolation, command: "SCRIPT", message: "answered \(reply)")
        }
        script.digest = digest
        return digest
    }
}
