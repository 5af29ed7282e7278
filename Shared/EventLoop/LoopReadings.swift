/// What the loop measured about itself since the process began.
public struct LoopReadings: Sendable {
    /// Ticks so far.
    public internal(set) var ticks = 0
    /// Executor jobs run so far.
    public internal(set) var jobs = 0
    /// Ticks that took longer than ``EventLoop/stallLimit``.
    public internal(set) var stalls = 0
    /// The longest tick so far.
    public internal(set) var longestTick: Duration = .zero
    /// How late the latest timer fired: the loop's lag.
    public internal(set) var latestLag: Duration = .zero
    /// Told of every stall; set by telemetry.
    var onStall: (@LoopActor (Duration) -> Void)?

    @LoopActor mutating func noteTick(_ duration: Duration) {
        ticks += 1
        if duration > longestTick { longestTick = duration }
        guard duration > EventLoop.stallLimit else { return }
        stalls += 1
        onStall?(duration)
    }

    mutating func noteLag(_ lag: Duration) {
        latestLag = lag
    }
}
