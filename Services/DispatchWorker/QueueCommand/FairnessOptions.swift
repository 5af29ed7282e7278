internal import ArgumentParser
internal import EventLoop
internal import JSON
internal import JobQueue
internal import RedisClient

/// Which queues one process of `queue work` serves beside each other, and how.
struct FairnessOptions: ParsableArguments {
    @Option(
        help: """
            Serve these fairly: queues of the prefix or, with --queue, tenants that have such a \
            queue; with weights, such as mail=3,sms. Beside --all it only gives weights.
            """
    )
    var fair: String?

    @Flag(help: "Serve all queues of the prefix fairly or, with --queue, those of all tenants.")
    var all = false

    @Option(help: "Run at most so many jobs of one of them at once.")
    var inFlightMax = 8

    @Option(help: "With --all, look for new queues after so many milliseconds.")
    var findMs: Int64 = 30_000

    /// The queues to serve beside each other; nil when it is one queue.
    func queues(_ options: QueueOptions) throws -> Queues? {
        guard fair != nil || all else { return nil }
        guard options.tenant == nil else {
            throw ValidationError("--tenant names one queue; --fair and --all serve several")
        }
        return Queues(
            prefix: options.prefix,
            name: options.queue,
            weights: try weights(),
            isAll: all,
            inFlightMax: inFlightMax
        )
    }

    /// Names and their weights; 1 where none is given.
    private func weights() throws -> [String: Int] {
        var weights: [String: Int] = [:]
        for entry in (fair ?? "").split(separator: ",") {
            let parts = entry.split(separator: "=", omittingEmptySubsequences: false)
            guard let name = parts.first, !name.isEmpty, parts.count <= 2,
                let weight = parts.count == 2 ? Int(parts[1]) : 1, (1...1000).contains(weight)
            else {
                throw ValidationError("'\(entry)' is no name with a weight from 1 to 1000: mail=3")
            }
            weights[String(name)] = weight
        }
        if weights.isEmpty && !all { throw ValidationError("--fair names nothing") }
        return weights
    }

    /// Names all queues whenever the sweep asks; those found are looked up anew only at times.
    @LoopActor
    func finder(_ queues: TenantQueues) throws -> @LoopActor () async -> [String] {
        var known = Array(try weights().keys)
        for name in known { _ = try queues.queue(of: name) }
        guard all else { return { [known] in known } }
        var next = MonotonicTime.now()
        return {
            guard MonotonicTime.now() >= next else { return known }
            do throws(JobQueueError) {
                known = try await queues.find()
                next = MonotonicTime.now() + .milliseconds(findMs)
            } catch {
                QueueOutput.line(Worker.Event.trouble(error).json.text)
            }
            return known
        }
    }
}

extension FairnessOptions {
    /// Queues that are served beside each other, before there is a connection.
    struct Queues {
        let prefix: String
        let name: String?
        let weights: [String: Int]
        let isAll: Bool
        let inFlightMax: Int

        /// Workers with a list have a ring of their own, or they would serve what is not on it.
        private var ring: String? {
            guard !isAll else { return nil }
            let names = weights.keys.sorted().joined(separator: ",")
            return "\(prefix):\(name.map { "\($0):" } ?? "")only:\(names)"
        }

        @LoopActor
        func open(_ redis: RedisClient, _ settings: Queue.Settings) -> TenantQueues {
            let terms: @LoopActor (String) -> TenantQueues.Terms = { tenant in
                var terms = TenantQueues.Terms()
                terms.weight = weights[tenant] ?? 1
                terms.inFlightMax = inFlightMax
                return terms
            }
            guard let name else {
                return TenantQueues(
                    of: prefix,
                    redis: redis,
                    settings: settings,
                    ring: ring,
                    terms: terms
                )
            }
            return TenantQueues(
                name,
                prefix: prefix,
                redis: redis,
                settings: settings,
                ring: ring,
                terms: terms
            )
        }
    }
}
