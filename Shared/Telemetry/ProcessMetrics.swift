internal import EventLoop
internal import FoundationEssentials
internal import Glibc

/// What the kernel knows about this process, under the names that every client library uses.
enum ProcessMetrics {
    @LoopActor
    static func register(in registry: PrometheusRegistry) {
        let latest = Latest()
        registry.beforeScrape { latest.read() }
        registry.sample(
            "process_cpu_seconds_total",
            "User and system time of the process.",
            as: .counter
        ) { latest.status?.cpuSeconds }
        registry.sample("process_resident_memory_bytes", "Resident memory.") {
            latest.status?.residentBytes
        }
        registry.sample("process_virtual_memory_bytes", "Virtual memory.") {
            latest.status?.virtualBytes
        }
        registry.sample("process_threads", "Threads of the process.") { latest.status?.threads }
        registry.sample("process_open_fds", "Open file descriptors.") { openDescriptors() }
        registry.sample("process_max_fds", "The soft limit of open file descriptors.") {
            latest.descriptorsMax
        }
        registry.sample(
            "process_start_time_seconds",
            "When the process began, in seconds since 1970."
        ) { latest.startSeconds }
    }

    /// One reading for all the series of a scrape.
    @LoopActor
    private final class Latest {
        private(set) var status: ProcessStatus?
        let descriptorsMax = ProcessMetrics.text("/proc/self/limits")
            .flatMap(ProcessStatus.descriptorsMax)
        private let bootSeconds = ProcessMetrics.text("/proc/stat").flatMap(
            ProcessStatus.bootSeconds
        )

        var startSeconds: Double? {
            guard let bootSeconds, let status else { return nil }
            return bootSeconds + status.startSecondsAfterBoot
        }

        func read() {
            status = ProcessMetrics.text("/proc/self/stat").flatMap {
                ProcessStatus(
                    stat: $0,
                    ticksPerSecond: Double(sysconf(Int32(_SC_CLK_TCK))),
                    pageBytes: Double(sysconf(Int32(_SC_PAGESIZE)))
                )
            }
        }
    }

    private static func text(_ path: String) -> String? {
        try? String(contentsOfFile: path, encoding: .utf8)
    }

    private static func openDescriptors() -> Double? {
        // One of them belongs to the reading itself.
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")).map {
            Double($0.count - 1)
        }
    }
}

/// What stands in the files of `/proc` about a process (proc(5)).
struct ProcessStatus: Hashable {
    let cpuSeconds: Double
    let threads: Double
    let startSecondsAfterBoot: Double
    let virtualBytes: Double
    let residentBytes: Double

    /// Reads `/proc/self/stat`; nil when it is not what the manual says.
    init?(stat: String, ticksPerSecond: Double, pageBytes: Double) {
        // The second field is the program's name, which may hold spaces and parentheses.
        guard let name = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[name...].dropFirst().split(separator: " ")
        guard fields.count > 21,
            let user = Double(fields[11]),
            let system = Double(fields[12]),
            let threads = Double(fields[17]),
            let start = Double(fields[19]),
            let virtualBytes = Double(fields[20]),
            let residentPages = Double(fields[21])
        else { return nil }
        cpuSeconds = (user + system) / ticksPerSecond
        self.threads = threads
        startSecondsAfterBoot = start / ticksPerSecond
        self.virtualBytes = virtualBytes
        residentBytes = residentPages * pageBytes
    }

    /// The boot time in seconds since 1970, from `/proc/stat`.
    static func bootSeconds(stat: String) -> Double? {
        stat.split(separator: "\n").first { $0.hasPrefix("btime ") }
            .flatMap { Double($0.dropFirst(6)) }
    }

    /// The soft limit of open files, from `/proc/self/limits`; nil when there is none.
    static func descriptorsMax(limits: String) -> Double? {
        let name = "Max open files"
        return limits.split(separator: "\n").first { $0.hasPrefix(name) }
            .flatMap { $0.dropFirst(name.count).split(separator: " ").first }
            .flatMap { Double($0) }
    }
}
