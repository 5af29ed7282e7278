internal import EventLoop

@LoopActor
extension RedisCluster {
    /// Sends a command to the node of its key, or the nodes of its keys.
    ///
    /// - Returns: the answer, which may be an error.
    func send(
        _ command: [RedisArgument],
        deadline: MonotonicTime
    ) async throws(RedisError) -> RedisValue {
        switch CommandRoute(command) {
        case .slot(let slot): try await send(command, slot: slot, deadline: deadline)
        case .near, .anywhere, .everywhere, .apart, .refused:
            try await pipeline([command], deadline: deadline)[0]
        }
    }

    /// Sends a command to the node of a slot, and where that one says.
    func send(
        _ command: [RedisArgument],
        slot: Int,
        deadline: MonotonicTime
    ) async throws(RedisError) -> RedisValue {
        let answers = try await follow([command], slot: slot, deadline: deadline)
        return answers.last ?? .null
    }

    /// Sends a command to this node alone.
    func send(
        _ command: [RedisArgument],
        to node: RedisConfiguration.Endpoint,
        _ deadline: MonotonicTime
    ) async throws(RedisError) -> RedisValue {
        guard let connection = connection(to: node) else { throw absence(of: node) }
        return try await connection.answers(to: [command], until: deadline).last ?? .null
    }

    /// Sends a command to every node that has slots.
    ///
    /// - Throws: without having sent it when one of them is away.
    func sendToAll(
        _ command: [RedisArgument],
        deadline: MonotonicTime
    ) async throws(RedisError) -> [RedisValue] {
        guard !slots.primaries.isEmpty else { throw absence(of: nil) }
        return try await answers(to: slots.primaries.map { Step(command, $0) }, deadline)
    }

    /// Runs commands as one transaction on the node of their keys.
    ///
    /// - Returns: the answers from that of MULTI to that of EXEC.
    func transaction(
        _ commands: [[RedisArgument]],
        deadline: MonotonicTime
    ) async throws(RedisError) -> [RedisValue] {
        var slot: Int?
        for command in commands {
            guard case .slot(let next) = CommandRoute(command) else { continue }
            guard slot == nil || slot == next else {
                throw RedisError(
                    .server,
                    command: "MULTI",
                    message: "CROSSSLOT the keys of a transaction are in several slots"
                )
            }
            slot = next
        }
        let group = [["MULTI"]] + commands + [["EXEC"]]
        return try await follow(group, slot: slot ?? 0, deadline: deadline)
    }

    // MARK: Redirections

    /// Sends commands that are run together or not at all, and follows to where they are sent on.
    private func follow(
        _ commands: [[RedisArgument]],
        slot: Int,
        deadline: MonotonicTime
    ) async throws(RedisError) -> [RedisValue] {
        guard var node = slots.owner(of: slot) else { throw absence(of: nil) }
        var connection = connection(to: node)
        var isAsking = false
        for turn in 0...Redirection.followMax {
            guard let open = connection else { throw absence(of: node) }
            let sent = isAsking ? [["ASKING"]] + commands : commands
            let answers = Array(
                try await open.answers(to: sent, until: deadline).suffix(commands.count)
            )
            // A transaction that one of its commands was refused in ran none of them.
            guard let last = answers.last?.errorMessage,
                let redirection = answers.lazy.compactMap(\.errorMessage)
                    .compactMap({ Redirection($0, from: node) }).first
            else { return answers }
            guard turn < Redirection.followMax else {
                // Nodes that do not agree serve nobody: it did not run, and may later.
                throw RedisError(.unavailable, message: "sent on \(turn) times: \(last)")
            }
            (node, isAsking) = await next(after: redirection, node, isAsking)
            connection = await visit(node, until: deadline)
        }
        throw absence(of: node)
    }

    /// The node to ask after a redirection, and whether with `ASKING`.
    private func next(
        after redirection: Redirection,
        _ node: RedisConfiguration.Endpoint,
        _ isAsking: Bool
    ) async -> (RedisConfiguration.Endpoint, Bool) {
        switch redirection {
        case .moved(let slot, let other):
            learn(slot, at: other)
            return (other, false)
        case .ask(let other): return (other, true)
        case .tryAgain:
            try? await EventLoop.shared.sleep(for: Redirection.pause)
            return (node, isAsking)
        }
    }

    // MARK: Many commands

    /// A command, or its part for one node, on its way.
    private struct Step {
        let command: [RedisArgument]
        var node: RedisConfiguration.Endpoint
        var isAsking = false

        var words: [[RedisArgument]] { isAsking ? [["ASKING"], command] : [command] }

        init(_ command: [RedisArgument], _ node: RedisConfiguration.Endpoint) {
            self.command = command
            self.node = node
        }
    }

    /// Sends commands to the nodes of their keys, all at once, and puts their answers in order.
    ///
    /// - Throws: when the answer of any is missing; others may have run.
    func pipeline(
        _ commands: [[RedisArgument]],
        deadline: MonotonicTime
    ) async throws(RedisError) -> [RedisValue] {
        var steps: [Step] = []
        var plan: [(count: Int, joining: CommandRoute.Joining)] = []
        for command in commands {
            let (parts, joining) = try parts(of: command)
            steps += parts
            plan.append((parts.count, joining))
        }
        var rest = try await answers(to: steps, deadline)[...]
        return plan.map { part in
            defer { rest = rest.dropFirst(part.count) }
            return part.joining.joined(Array(rest.prefix(part.count)))
        }
    }

    private func parts(
        of command: [RedisArgument]
    ) throws(RedisError) -> ([Step], CommandRoute.Joining) {
        func step(
            _ command: [RedisArgument],
            _ node: RedisConfiguration.Endpoint?
        ) throws(RedisError) -> Step {
            guard let node else { throw absence(of: nil) }
            return Step(command, node)
        }
        switch CommandRoute(command) {
        case .slot(let slot): return ([try step(command, slots.owner(of: slot))], .first)
        case .near(let slot): return ([try step(command, anyNode(near: slot))], .first)
        case .anywhere: return ([try step(command, anyNode())], .first)
        case .everywhere(let joining):
            guard !slots.primaries.isEmpty else { throw absence(of: nil) }
            return (slots.primaries.map { Step(command, $0) }, joining)
        case .apart(let joining):
            let parts = try CommandRoute.parts(of: command).map { part throws(RedisError) in
                try step(part, slots.owner(of: RedisKeySlot.slot(of: part[1])))
            }
            return (parts, joining)
        case .refused(let reason): throw RedisError(.server, message: reason)
        }
    }

    /// The answers to all steps, in their order, from where each was sent on to.
    private func answers(
        to steps: [Step],
        _ deadline: MonotonicTime
    ) async throws(RedisError) -> [RedisValue] {
        var answers = [RedisValue](repeating: .null, count: steps.count)
        var open = Array(steps.enumerated())
        for turn in 0...Redirection.followMax where !open.isEmpty {
            let outcomes = try await outcomes(of: open.map(\.element), isFirst: turn == 0, deadline)
            var again: [(offset: Int, element: Step)] = []
            for (entry, outcome) in zip(open, outcomes) {
                let answer = try outcome.get()
                answers[entry.offset] = answer
                var step = entry.element
                guard let message = answer.errorMessage, turn < Redirection.followMax,
                    let redirection = Redirection(message, from: step.node)
                else { continue }
                (step.node, step.isAsking) = await next(
                    after: redirection,
                    step.node,
                    step.isAsking
                )
                again.append((entry.offset, step))
            }
            open = again
            for node in Set(open.map(\.element.node)) { _ = await visit(node, until: deadline) }
        }
        return answers
    }

    /// The steps of one node, and what it is asked.
    private struct Part {
        let places: [Int]
        let connection: RedisConnection
        let commands: [[RedisArgument]]
    }

    /// Sends each step to its node and waits for all of them.
    private func outcomes(
        of steps: [Step],
        isFirst: Bool,
        _ deadline: MonotonicTime
    ) async throws(RedisError) -> [Result<RedisValue, RedisError>] {
        var parts: [Part] = []
        for (node, places) in Dictionary(grouping: steps.indices, by: { steps[$0].node }) {
            guard let connection = connection(to: node) else {
                // Nothing was sent yet, or something was and may have run.
                throw isFirst ? absence(of: node) : absence(of: node).unsure
            }
            let commands = places.flatMap { steps[$0].words }
            parts.append(Part(places: places, connection: connection, commands: commands))
        }
        if parts.count == 1 {
            let outcome = await outcome(of: parts[0], deadline)
            return RedisCluster.split(outcome, among: parts[0].places.map { steps[$0] })
        }
        // Each leaves before the first answer is here.
        let waiting = parts.map { part in Task { await outcome(of: part, deadline) } }
        var outcomes = [Result<RedisValue, RedisError>](
            repeating: .success(.null),
            count: steps.count
        )
        for (part, task) in zip(parts, waiting) {
            let outcome = await task.value.mapError(\.unsure)
            let own = RedisCluster.split(outcome, among: part.places.map { steps[$0] })
            for (place, value) in zip(part.places, own) { outcomes[place] = value }
        }
        return outcomes
    }

    private func outcome(
        of part: Part,
        _ deadline: MonotonicTime
    ) async -> Result<[RedisValue], RedisError> {
        do throws(RedisError) {
            return .success(try await part.connection.answers(to: part.commands, until: deadline))
        } catch {
            return .failure(error)
        }
    }

    /// What one node answered, for each step; the answers to `ASKING` are left out.
    private static func split(
        _ outcome: Result<[RedisValue], RedisError>,
        among steps: [Step]
    ) -> [Result<RedisValue, RedisError>] {
        let values: [RedisValue]
        switch outcome {
        case .failure(let error): return steps.map { _ in .failure(error) }
        case .success(let answers): values = answers
        }
        var place = -1
        return steps.map { step in
            place += step.words.count
            return .success(values[place])
        }
    }

    private func absence(of node: RedisConfiguration.Endpoint?) -> RedisError {
        let place = node.map { "\($0) of " } ?? ""
        return RedisError(
            .notConnected,
            message: "no connection to \(place)\(guide.configuration.place)"
        )
    }
}
