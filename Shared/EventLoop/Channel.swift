internal import CLinux
internal import Glibc

/// What a channel wants to be told of.
public struct Interest: OptionSet, Sendable, Hashable {
    /// The raw bits.
    public let rawValue: UInt8

    /// An interest from its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// There is something to read, or the peer closed its side.
    public static let read = Interest(rawValue: 1)
    /// There is room to write.
    public static let write = Interest(rawValue: 2)

    var events: UInt32 {
        (contains(.read) ? EPOLLIN.rawValue | EPOLLRDHUP.rawValue : 0)
            | (contains(.write) ? EPOLLOUT.rawValue : 0)
    }
}

/// What the kernel said about a descriptor.
public struct Readiness: OptionSet, Sendable, Hashable {
    /// The raw bits.
    public let rawValue: UInt8

    /// A readiness from its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Reading will not block (data, end of stream, or an error to collect).
    public static let read = Readiness(rawValue: 1)
    /// Writing will not block.
    public static let write = Readiness(rawValue: 2)
    /// Both directions are gone, or the socket has an error; told even with no interest.
    public static let hangup = Readiness(rawValue: 4)

    init(events: UInt32) {
        var readiness: Readiness = []
        if events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue) != 0 { readiness.insert(.read) }
        if events & EPOLLOUT.rawValue != 0 { readiness.insert(.write) }
        if events & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 { readiness.insert(.hangup) }
        self = readiness
    }
}

/// The owner of a descriptor that the loop watches.
@LoopActor
public protocol Channel: AnyObject {
    /// Called once a tick while the kernel reports anything of interest (level-triggered).
    func ready(_ readiness: Readiness)
}

/// Something that collects output during a tick and writes it at the tick's end.
///
/// This is what makes pipelining automatic: all commands of a tick leave in one write.
@LoopActor
public protocol Flushable: AnyObject {
    /// Kept by the loop; starts as `false`.
    var isFlushScheduled: Bool { get set }
    /// Called once at the end of the tick.
    func flush()
}

/// A watched descriptor: the descriptor and the generation that tells it from an earlier one with
/// the same number.
public struct Registration: Sendable, Hashable {
    /// The descriptor's number.
    public let descriptor: Int32
    let generation: UInt32
}

@LoopActor
extension EventLoop {
    /// Watches `descriptor` for `channel`, which is kept alive until ``remove(_:)``.
    ///
    /// - Throws: `EventLoopError` when the kernel refuses (ENOSPC, ENOMEM).
    public func add(
        _ channel: any Channel,
        descriptor: Int32,
        interest: Interest
    ) throws(EventLoopError) -> Registration {
        let index = Int(descriptor)
        while slots.count <= index { slots.append(Slot()) }
        precondition(slots[index].channel == nil, "descriptor \(descriptor) is watched already")
        // Generation 0 is the wake-up's.
        let generation = slots[index].generation == .max ? 1 : slots[index].generation + 1
        let registration = Registration(descriptor: descriptor, generation: generation)
        try control(EPOLL_CTL_ADD, registration, interest)
        slots[index] = Slot(channel: channel, generation: generation, interest: interest)
        return registration
    }

    /// Changes what the channel is told of; costs no system call when nothing changes.
    public func update(_ registration: Registration, interest: Interest) {
        let index = Int(registration.descriptor)
        guard isLive(registration), slots[index].interest != interest else { return }
        slots[index].interest = interest
        do {
            try control(EPOLL_CTL_MOD, registration, interest)
        } catch {
            preconditionFailure("a watched descriptor was closed under its registration: \(error)")
        }
    }

    /// Stops watching and lets the channel go; call before the descriptor is closed.
    ///
    /// A registration that is gone already is ignored.
    public func remove(_ registration: Registration) {
        guard isLive(registration) else { return }
        slots[Int(registration.descriptor)].channel = nil
        slots[Int(registration.descriptor)].interest = []
        // ENOENT and EBADF mean that a C library has closed it first: then the kernel forgot it.
        _ = switchboard_epoll_control(poller, EPOLL_CTL_DEL, registration.descriptor, 0, 0)
    }

    /// Asks for one ``Flushable/flush()`` at the end of this tick.
    public func flushLater(_ flushable: any Flushable) {
        guard !flushable.isFlushScheduled else { return }
        flushable.isFlushScheduled = true
        flushes.append(flushable)
    }

    /// The instant at which this tick began: cheap, and at most one tick old.
    public var now: MonotonicTime { tickStart }

    /// The number of the tick: what is asked of a peer within one leaves when it ends, so after
    /// whatever reached this process before it.
    public var tick: Int { readings.ticks }

    /// What the loop measured about itself.
    public var statistics: LoopReadings { readings }

    /// Calls `action` with the length of every tick over ``stallLimit``.
    public func onStall(_ action: @escaping @LoopActor (Duration) -> Void) {
        readings.onStall = action
    }

    private func isLive(_ registration: Registration) -> Bool {
        let index = Int(registration.descriptor)
        return index < slots.count && slots[index].generation == registration.generation
            && slots[index].channel != nil
    }

    private func control(
        _ operation: Int32,
        _ registration: Registration,
        _ interest: Interest
    ) throws(EventLoopError) {
        let data =
            UInt64(registration.generation) << 32 | UInt64(UInt32(registration.descriptor))
        let result = switchboard_epoll_control(
            poller,
            operation,
            registration.descriptor,
            interest.events,
            data
        )
        if result != 0 { throw EventLoopError(operation: "epoll_ctl", errno: errno) }
    }
}
