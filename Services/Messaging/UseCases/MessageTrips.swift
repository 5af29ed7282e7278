internal import EventLoop
internal import FoundationEssentials
internal import PostgresClient

/// The two trips of a message: to see the threads of its conversation, and to be stored.
///
/// Messages to different conversations make them together.
@LoopActor
final class MessageTrips {
    /// Reads under way at once: one on each of the pipelined connections.
    static let readsAtOnce = 2
    /// Writes under way at once; the other connections of the pool are left to all others.
    static let writesAtOnce = 3
    /// Writes under way at once that wait for somebody who holds what they need.
    static let waitsAtOnce = 2

    private let messages: MessageRepository
    private let configuration: MessagingConfiguration
    private let reads: SharedTrips<(tenant: UUID, conversation: UUID), ThreadSnapshot?>
    /// Answers nothing where the statement failed, which may be any request's fault.
    private let writes: SharedTrips<PlacedPosts, PostResult?>
    private let waits: SharedTrips<PlacedPosts, PostResult>

    init(
        messages: MessageRepository,
        conversations: ConversationRepository,
        configuration: MessagingConfiguration
    ) {
        self.messages = messages
        self.configuration = configuration
        reads = SharedTrips(.init(trips: MessageTrips.readsAtOnce)) { places in
            do {
                return try await conversations.snapshots(places).map { .success($0) }
            } catch {
                return places.map { _ in .failure(error) }
            }
        }
        writes = SharedTrips(.init(trips: MessageTrips.writesAtOnce)) { groups in
            do {
                return try await messages.post(groups, waits: false, mailbox: configuration)
                    .map { .success($0) }
            } catch let error as PostgresError where error.leavesNothing {
                return groups.map { _ in .success(nil) }
            } catch {
                return groups.map { _ in .failure(error) }
            }
        }
        waits = SharedTrips(.init(trips: MessageTrips.waitsAtOnce, itemsMax: 1)) { groups in
            do {
                return [.success(try await MessageTrips.wait(groups[0], messages, configuration))]
            } catch {
                return [.failure(error)]
            }
        }
    }

    /// The threads of a conversation; `nil` where there is no such conversation.
    func snapshot(_ caller: Caller, _ conversation: UUID) async throws -> ThreadSnapshot? {
        try await reads.go((caller.tenant, conversation))
    }

    /// Stores messages of one conversation.
    ///
    /// Where the trip fails each of its messages goes alone, and the one at fault fails alone. What
    /// somebody else holds is waited for apart from all others, by few at a time.
    func post(_ placed: PlacedPosts) async throws -> PostResult {
        var result = try await writes.go(placed, items: placed.posts.count, bytes: placed.bytes)
        if result == nil { result = try await alone(placed) }
        guard let result, !result.isBusy else { return try await waits.go(placed) }
        return result
    }

    /// `nil` when it failed once more: the reason may still be somebody who is at it.
    private func alone(_ placed: PlacedPosts) async throws -> PostResult? {
        do {
            return try await messages.post([placed], waits: false, mailbox: configuration)[0]
        } catch let error as PostgresError where error.leavesNothing {
            return nil
        }
    }

    /// The same external id may be stored in another conversation at this instant; then the second
    /// look finds it.
    private static func wait(
        _ placed: PlacedPosts,
        _ messages: MessageRepository,
        _ configuration: MessagingConfiguration
    ) async throws -> PostResult {
        func once() async throws -> PostResult {
            try await messages.post([placed], waits: true, mailbox: configuration)[0]
        }
        do {
            return try await once()
        } catch let error as PostgresError where error.isUniqueViolation && placed.posts.count == 1
        {
            return try await once()
        }
    }
}

extension PostgresError {
    /// The server has refused the statement: nothing of it was done, and the server is there.
    fileprivate var leavesNothing: Bool { !isUnavailable && !outcomeUnknown }
}
