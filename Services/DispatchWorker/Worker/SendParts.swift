internal import EventLoop
internal import Logging

/// What dispatching and sending are made of.
@LoopActor
struct SendParts {
    let repository: SendRepository
    let dispatches: DispatchRepository
    let tenants: TenantDirectory
    let buckets: TenantBuckets
    let queue: MessageRequestQueueService
    let resolver: MessageResolver
    let idempotency: DispatchIdempotencyService
    let slots: SendSlots
    let breakers: WorkspaceBreakers
    let transports: [Provider: any ChannelTransport]
    let metrics: SendMetrics
    let logger: Logger
}
