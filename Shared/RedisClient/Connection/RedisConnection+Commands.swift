internal import EventLoop

/// Whom an answer is for.
enum ReplyWaiter: Sendable {
    case caller(CheckedContinuation<Result<RedisValue, RedisError>, Never>)
    case group(ReplyGroup)
    case nobody

    @LoopActor func fail(_ error: RedisError) {
        switch self {
        case .caller(let continuation): continuation.resume(returning: .failure(error))
        case .group(let group): group.fail(error)
        case .nobody: break
        }
    }
}

@LoopActor
extension RedisConnection {
    /// Sends one command; the waiter gets the answer, or why there is none.
    func submit(_ command: [RedisArgument], deadline: MonotonicTime, _ waiter: ReplyWaiter) {
        let size = RedisArgument.size(of: command)
        if let refusal = refusal(count: 1, bytes: size) {
            waiter.fail(refusal)
            return
        }
        precondition(!isForSubscribers(command), "\(command[0]) belongs to RedisSubscriber")
        write(command)
        expectAnswer(waiter, bytes: size, deadline: deadline)
    }

    /// The answers to commands of which either all or none are taken.
    ///
    /// - Throws: why one of them is missing; others may have run.
    func answers(
        to commands: [[RedisArgument]],
        until deadline: MonotonicTime
    ) async throws(RedisError) -> [RedisValue] {
        let outcome = await withCheckedContinuation { continuation in
            let group = ReplyGroup(count: commands.count, continuation)
            submit(commands, deadline: deadline, group)
        }
        return try outcome.get()
    }

    private func submit(
        _ commands: [[RedisArgument]],
        deadline: MonotonicTime,
        _ group: ReplyGroup
    ) {
        let sizes = commands.map(RedisArgument.size)
        let total = sizes.reduce(0, +)
        if let refusal = refusal(count: commands.count, bytes: total) {
            group.fail(refusal)
            return
        }
        for (command, size) in zip(commands, sizes) {
            precondition(!isForSubscribers(command), "\(command[0]) belongs to RedisSubscriber")
            write(command)
            expectAnswer(.group(group), bytes: size, deadline: deadline)
        }
    }

    /// Sends SUBSCRIBE and its kin, whose answers come as messages.
    func push(_ command: [RedisArgument]) {
        guard isOpen else { return }
        hasSubscribed = true
        write(command)
        if pushOwedSince == nil { pushOwedSince = EventLoop.shared.now }
        look(at: nextLook)
    }

    private func refusal(count: Int, bytes: Int) -> RedisError? {
        guard isOpen else { return RedisError(.notConnected, message: refusalReason) }
        guard pending.hasRoom(count: count, bytes: bytes) else {
            return RedisError(
                .queueFull,
                message: "\(pending.count) commands of \(pending.bytes) bytes wait for answers"
            )
        }
        return nil
    }

    /// All commands of a tick leave together at its end; behind a full socket they wait for room.
    private func write(_ command: [RedisArgument]) {
        CommandEncoder.encode(command, to: &output)
        if !isBlocked { EventLoop.shared.flushLater(self) }
    }

    private func expectAnswer(_ waiter: ReplyWaiter, bytes: Int, deadline: MonotonicTime) {
        meter.readings.commands += 1
        pending.append(waiter, bytes: bytes, now: EventLoop.shared.now, deadline: deadline)
        look(at: deadline)
    }

    // MARK: Answers

    /// Hands an answer to the oldest command, and a message to the subscriber.
    func take(_ value: RedisValue) {
        if hasSubscribed, RedisPush.isPush(value) {
            pushOwedSince = nil
            onPush?(value)
            return
        }
        guard !pending.isEmpty else {
            refuse(value)
            return
        }
        switch pending.takeFirst(now: lastHeard) {
        // The deadline passed before; the answer only makes room.
        case nil, .nobody: break
        case .caller(let continuation): continuation.resume(returning: .success(value))
        case .group(let group): group.add(value)
        }
        if case .error(let message) = value { heed(message) }
        endWhenDrained()
    }

    /// A server that turns a client away says so unasked; anything else is a fault of its.
    private func refuse(_ value: RedisValue) {
        if let words = value.errorMessage {
            close(RedisError(.connectionLost, message: words))
        } else {
            close(RedisError(.protocolViolation, message: "an answer that nobody asked for"))
        }
    }

    func failPending(_ error: RedisError) {
        while !pending.isEmpty { pending.takeFirst(now: lastHeard)?.fail(error) }
    }

    // MARK: Time

    /// When the connection must be looked at next.
    var nextLook: MonotonicTime {
        if let pushOwedSince {
            let silentAt = pushOwedSince + PendingCommands<ReplyWaiter>.silenceLimit
            return min(pending.nextLook, silentAt)
        }
        return pending.isEmpty ? lastHeard + idleLimit : pending.nextLook
    }

    /// Makes sure that ``look()`` runs at `time` or before.
    ///
    /// One timer per connection, which is moved at most once per deadline. An answer does not move
    /// it, so it is never set further ahead than a quiet connection may wait.
    func look(at time: MonotonicTime) {
        let time = min(time, EventLoop.shared.now + idleLimit)
        if let timer {
            guard time < timer.deadline else { return }
            EventLoop.shared.cancel(timer)
        }
        timer = EventLoop.shared.schedule(at: time) { [weak self] in self?.look() }
    }

    private func look() {
        timer = nil
        let now = EventLoop.shared.now
        guard isOpen || !pending.isEmpty else {
            close(RedisError(.notConnected, message: delay))
            return
        }
        for waiter in pending.takeOverdue(now: now) {
            waiter.fail(RedisError(.deadline, message: "no answer in time"))
        }
        if isSilent(now: now) {
            close(RedisError(.connectionLost, message: "the server is silent"))
            return
        }
        let isQuiet = isOpen && pending.isEmpty && pushOwedSince == nil
        if isQuiet && lastHeard + idleLimit <= now {
            if let onIdle { onIdle() } else { ping() }
        }
        look(at: max(nextLook, now + .milliseconds(1)))
    }

    /// Finds out whether the server is still there.
    func ping() {
        let deadline = EventLoop.shared.now + PendingCommands<ReplyWaiter>.silenceLimit
        submit(["PING"], deadline: deadline, .nobody)
    }

    private func isSilent(now: MonotonicTime) -> Bool {
        if let pushOwedSince, pushOwedSince + PendingCommands<ReplyWaiter>.silenceLimit <= now {
            return true
        }
        return pending.isSilent(now: now)
    }
}

/// The commands after which answers no longer come one per command.
private func isForSubscribers(_ command: [RedisArgument]) -> Bool {
    guard case .string(let name)? = command.first else {
        preconditionFailure("a command begins with its name")
    }
    // Asked for every command: most are told apart by length and last letter.
    guard name.utf8.count == 7 || (9...12).contains(name.utf8.count),
        let last = name.utf8.last, [UInt8(ascii: "E"), UInt8(ascii: "R")].contains(last & ~0x20)
    else { return false }
    let upper = name.uppercased()
    return upper == "MONITOR" || upper.hasSuffix("SUBSCRIBE")
}
