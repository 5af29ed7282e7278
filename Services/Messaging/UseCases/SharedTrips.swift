internal import DequeModule
internal import EventLoop
internal import HTTPServer

/// Lets what waits at one moment make one trip to the database together.
///
/// A commit is flushed to the disk whatever it holds, so sixteen writes in one statement cost little
/// more than one. Nothing is held back for company: what comes while a trip is free to begin goes at
/// once, with whatever the same turn of the loop brings; what comes while all are under way gathers,
/// and makes the next one.
///
/// Whoever begins a trip makes it for all who are on it; there is no task beside the callers'.
@LoopActor
final class SharedTrips<Request: Sendable, Answer: Sendable> {
    /// How much goes on one trip, and how much may wait.
    struct Limits: Sendable, Hashable {
        /// Trips under way at once.
        var trips: Int
        /// Items of one trip; a request of more is alone on its own.
        var itemsMax = 64
        /// Bytes of one trip; a larger request is alone on its own.
        var bytesMax = 256 * 1024
        /// Requests that wait; one more is told to come again.
        var waitingMax = 2048
    }

    private let limits: Limits
    private let travel: @LoopActor ([Request]) async -> [Result<Answer, any Error>]
    private var waiting: Deque<Traveller> = []
    private var underWay = 0

    /// - Parameter travel: makes a trip; answers each of its requests, in their order.
    init(
        _ limits: Limits,
        travel: @escaping @LoopActor ([Request]) async -> [Result<Answer, any Error>]
    ) {
        self.limits = limits
        self.travel = travel
    }

    /// Goes with the next trip.
    ///
    /// - Parameters:
    ///   - items: what the request counts for among ``Limits/itemsMax``.
    ///   - bytes: what it counts for among ``Limits/bytesMax``.
    /// - Throws: what the trip answers it; a 503 when too many wait.
    func go(_ request: Request, items: Int = 1, bytes: Int = 0) async throws -> Answer {
        guard waiting.count < limits.waitingMax else {
            throw Problem.unavailable("too many requests at once")
        }
        let traveller = Traveller(request, items: items, bytes: bytes)
        waiting.append(traveller)
        if underWay < limits.trips {
            underWay += 1
            // What the same turn brings comes along.
            await Task.yield()
            await lead()
        }
        while true {
            switch await traveller.news {
            case .answer(let answer): return try answer.get()
            case .lead: await lead()
            }
        }
    }

    /// Makes one trip, and leaves the next one to somebody who waits.
    private func lead() async {
        let group = board()
        if !group.isEmpty {
            let answers = await travel(group.map(\.request))
            precondition(answers.count == group.count, "a trip answers each of its requests")
            for (traveller, answer) in zip(group, answers) { traveller.tell(.answer(answer)) }
        }
        if let next = waiting.first(where: { !$0.leads }) {
            next.leads = true
            next.tell(.lead)
        } else {
            underWay -= 1
        }
    }

    /// Takes those who wait, in the order in which they came, as far as they fit.
    private func board() -> [Traveller] {
        var group: [Traveller] = []
        var (items, bytes) = (0, 0)
        while let next = waiting.first,
            group.isEmpty
                || items + next.items <= limits.itemsMax && bytes + next.bytes <= limits.bytesMax
        {
            items += next.items
            bytes += next.bytes
            group.append(waiting.removeFirst())
        }
        return group
    }

    /// A request on its way, and whoever waits for what becomes of it.
    @LoopActor
    private final class Traveller {
        enum News: Sendable {
            case answer(Result<Answer, any Error>)
            /// It is to make the next trip.
            case lead
        }

        let request: Request
        let items: Int
        let bytes: Int
        /// Whether it was asked to make a trip.
        var leads = false
        private var told: [News] = []
        private var waiter: CheckedContinuation<News, Never>?

        init(_ request: Request, items: Int, bytes: Int) {
            self.request = request
            self.items = items
            self.bytes = bytes
        }

        func tell(_ news: News) {
            guard let waiting = waiter else { return told.append(news) }
            waiter = nil
            waiting.resume(returning: news)
        }

        var news: News {
            get async {
                guard told.isEmpty else { return told.removeFirst() }
                return await withCheckedContinuation { waiter = $0 }
            }
        }
    }
}
