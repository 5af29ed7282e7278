internal import EventLoop

/// What the event loop measured about itself.
enum LoopMetrics {
    static func register(in registry: PrometheusRegistry) {
        registry.sample("switchboard_loop_ticks_total", "Ticks of the event loop.", as: .counter) {
            Double(EventLoop.shared.statistics.ticks)
        }
        registry.sample(
            "switchboard_loop_jobs_total",
            "Jobs that the event loop ran.",
            as: .counter
        ) { Double(EventLoop.shared.statistics.jobs) }
        registry.sample(
            "switchboard_loop_stalls_total",
            "Ticks of over 20 ms.",
            as: .counter
        ) { Double(EventLoop.shared.statistics.stalls) }
        registry.sample(
            "switchboard_loop_longest_tick_seconds",
            "The longest tick since the process began."
        ) { EventLoop.shared.statistics.longestTick.inSeconds }
        registry.sample(
            "switchboard_loop_lag_seconds",
            "How late the latest timer fired."
        ) { EventLoop.shared.statistics.latestLag.inSeconds }
    }
}
