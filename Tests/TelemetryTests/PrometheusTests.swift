import CoreMetrics
import Dispatch
import EventLoop
import Telemetry
import Testing

@Suite("PrometheusRegistryTests")
@LoopActor
struct PrometheusRegistryTests {
    let registry = PrometheusRegistry()

    private final class Pool {
        var open: Double? = 1
    }

    private func lines() -> [String] {
        String(decoding: registry.exposition(), as: UTF8.self)
            .split(separator: "\n").map(String.init)
    }

    @Test("counters, gauges and histograms are shown with help and type, in order of their names")
    func exposition() {
        registry.histogram("wait_seconds", "Waiting.", buckets: [0.1, 1], ["q": "a"]).observe(0.5)
        registry.gauge("depth", "Depth.").set(2.5)
        let counter = registry.counter("sends_total", "Sends.", ["op": "x", "a": "y"])
        counter.increment()
        counter.increment(by: 2)
        #expect(
            lines() == [
                "# HELP depth Depth.", "# TYPE depth gauge", "depth 2.5",
                "# HELP sends_total Sends.", "# TYPE sends_total counter",
                #"sends_total{a="y",op="x"} 3"#,
                "# HELP wait_seconds Waiting.", "# TYPE wait_seconds histogram",
                #"wait_seconds_bucket{q="a",le="0.1"} 0"#,
                #"wait_seconds_bucket{q="a",le="1"} 1"#,
                #"wait_seconds_bucket{q="a",le="+Inf"} 1"#,
                #"wait_seconds_sum{q="a"} 0.5"#, #"wait_seconds_count{q="a"} 1"#,
            ]
        )
    }

    @Test("the same name and labels give the same handle, in whatever order")
    func identity() {
        let first = registry.counter("a_total", "A.", ["x": "1", "y": "2"])
        #expect(first === registry.counter("a", "A.", ["y": "2", "x": "1"]))
        #expect(first !== registry.counter("a_total", "A.", ["x": "1"]))
    }

    @Test("labels are escaped, and cannot end their line")
    func escaping() {
        registry.counter("a_total", "One\nTwo \\ three.", ["l": "q\"b\\n\nx"]).increment()
        #expect(
            lines() == [
                #"# HELP a_total One\nTwo \\ three."#, "# TYPE a_total counter",
                #"a_total{l="q\"b\\n\nx"} 1"#,
            ]
        )
    }

    @Test("names are made legal")
    func names() {
        registry.counter("http.requests-sent", "A.", ["le": "1", "__x": "2", "a-b": "3", "9": "4"])
            .increment()
        registry.gauge("9lives", "A.").set(1)
        let text = lines().joined(separator: "\n")
        #expect(
            text.contains(
                #"http_requests_sent_total{_9="4",a_b="3",label___x="2",label_le="1"} 1"#
            )
        )
        #expect(text.contains("\n_9lives 1"))
    }

    @Test("special values")
    func specialValues() {
        for (label, value) in [
            ("a", Double.infinity), ("b", -.infinity), ("c", .nan), ("d", 1e300),
        ] {
            registry.gauge("g", "G.", ["l": label]).set(value)
        }
        #expect(
            lines().suffix(4) == [
                #"g{l="a"} +Inf"#, #"g{l="b"} -Inf"#, #"g{l="c"} NaN"#, #"g{l="d"} 1e+300"#,
            ]
        )
    }

    @Test("a counter never falls")
    func monotonic() {
        let counter = registry.counter("a_total", "A.")
        counter.increment(by: 5)
        counter.increment(by: -3)
        counter.increment(by: -0.5)
        counter.increment(by: .nan)
        counter.increment(by: .infinity)
        counter.increment(by: 0.25)
        #expect(counter.value == 5.25)
        counter.reset()
        #expect(counter.value == 0)
    }

    @Test("values on a bound belong to its bucket; what is no number belongs nowhere")
    func buckets() {
        let histogram = registry.histogram("h_seconds", "H.", buckets: [1, 2])
        for value in [0.5, 1, 1.5, 2, 3, .nan, .infinity] { histogram.observe(value) }
        #expect(histogram.count == 5)
        #expect(histogram.sum == 8)
        #expect(
            lines().filter { $0.contains("bucket") } == [
                #"h_seconds_bucket{le="1"} 2"#, #"h_seconds_bucket{le="2"} 4"#,
                #"h_seconds_bucket{le="+Inf"} 5"#,
            ]
        )
    }

    @Test("the first call decides the buckets of a histogram")
    func bucketsOnce() {
        _ = registry.histogram("h_seconds", "H.", buckets: [1], ["l": "a"])
        registry.histogram("h_seconds", "H.", buckets: [7, 8], ["l": "b"]).observe(2)
        #expect(!lines().contains { $0.contains("le=\"7\"") })
        #expect(lines().contains(#"h_seconds_bucket{l="b",le="1"} 0"#))
    }

    @Test("counters beyond the limit of label sets share one, so that the sum stays right")
    func seriesLimit() {
        let limit = PrometheusRegistry.seriesPerMetricMax
        for number in 0..<(limit + 50) {
            registry.counter("a_total", "A.", ["n": "\(number)", "k": "v"]).increment()
        }
        let series = lines().filter { $0.hasPrefix("a_total{") }
        #expect(series.count == limit + 1)
        #expect(series.contains(#"a_total{k="other",n="other"} 50"#))
        #expect(
            lines().contains(
                #"switchboard_metrics_refused_total{metric="a_total",reason="series_limit"} 50"#
            )
        )
        // Those that were there first go on as before.
        registry.counter("a_total", "A.", ["n": "3", "k": "v"]).increment()
        #expect(lines().contains(#"a_total{k="v",n="3"} 2"#))
    }

    @Test("gauges beyond the limit are not shown")
    func gaugeLimit() {
        let limit = PrometheusRegistry.seriesPerMetricMax
        for number in 0..<(limit + 5) { registry.gauge("g", "G.", ["n": "\(number)"]).set(1) }
        registry.sample("g", "G.", ["n": "sampled"]) { 1 }
        #expect(lines().count { $0.hasPrefix("g{") } == limit)
        #expect(
            lines().contains(
                #"switchboard_metrics_refused_total{metric="g",reason="series_limit"} 6"#
            )
        )
    }

    @Test("a name that means something else already is refused, its handle works unseen")
    func kindConflict() {
        registry.counter("x_total", "X.").increment()
        let gauge = registry.gauge("x_total", "X.")
        gauge.set(9)
        #expect(gauge.value == 9)
        #expect(lines().contains("x_total 1"))
        #expect(
            lines().contains(
                #"switchboard_metrics_refused_total{metric="x_total",reason="kind"} 1"#
            )
        )
    }

    @Test("sampled metrics are read at each scrape, left out when nil, replaced when made again")
    func samples() {
        let pool = Pool()
        registry.sample("pool_open", "Open.", ["pool": "a"]) { pool.open }
        registry.sample("ticks_total", "Ticks.", as: .counter) { 7 }
        #expect(lines().contains(#"pool_open{pool="a"} 1"#))
        #expect(lines().contains("# TYPE ticks_total counter"))
        pool.open = 2
        #expect(lines().contains(#"pool_open{pool="a"} 2"#))
        pool.open = nil
        #expect(!lines().contains { $0.contains("pool_open") })
        registry.sample("pool_open", "Open.", ["pool": "a"]) { 5 }
        #expect(lines().contains(#"pool_open{pool="a"} 5"#))
    }

    @Test("gauges whose labels change are set right before the scrape")
    func beforeScrape() {
        registry.beforeScrape { [registry] in registry.gauge("jobs", "Jobs.", ["state": "x"]).add(1)
        }
        _ = lines()
        #expect(lines().contains(#"jobs{state="x"} 2"#))
    }

    @Test("handles count from many threads at once")
    func threads() {
        let counter = registry.counter("a_total", "A.")
        let gauge = registry.gauge("g", "G.")
        let histogram = registry.histogram("h_seconds", "H.")
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            for _ in 0..<1000 {
                counter.increment()
                counter.increment(by: 0.5)
                gauge.add(1)
                histogram.observe(.milliseconds(1))
            }
        }
        #expect(counter.value == 6000)
        #expect(gauge.value == 4000)
        #expect(histogram.count == 4000)
    }

    @Test("the swift-metrics API makes the same metrics")
    func factory() {
        registry.describe("jobs_total", "Jobs.")
        Counter(label: "jobs", dimensions: [("k", "v")], factory: registry).increment(by: 2)
        FloatingPointCounter(label: "cost", factory: registry).increment(by: 0.5)
        Meter(label: "depth", factory: registry).set(3)
        Recorder(label: "size", factory: registry).record(4)
        Gauge(label: "level", factory: registry).record(5)
        Timer(label: "wait", factory: registry).recordMilliseconds(2)
        let text = lines()
        for line in [
            "# HELP jobs_total Jobs.", #"jobs_total{k="v"} 2"#, "cost_total 0.5",
            "# HELP cost_total cost total.", "depth 3", #"size_bucket{le="5"} 1"#, "level 5",
            #"wait_seconds_bucket{le="0.0025"} 1"#, "wait_seconds_sum 0.002",
        ] {
            #expect(text.contains(line), "\(line)")
        }
    }

    @Test("a destroyed metric is shown no longer")
    func destroy() {
        let kept = Counter(label: "a", dimensions: [("l", "1")], factory: registry)
        let gone = Counter(label: "a", dimensions: [("l", "2")], factory: registry)
        let timer = Timer(label: "t", factory: registry)
        kept.increment()
        gone.increment()
        gone.destroy()
        timer.destroy()
        #expect(lines().filter { !$0.hasPrefix("#") } == [#"a_total{l="1"} 1"#])
    }
}
