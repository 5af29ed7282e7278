extension RedisConfiguration {
    /// The configuration that a service's environment asks for.
    ///
    /// | given | mode when `REDIS_MODE` is unset | server |
    /// |---|---|---|
    /// | `REDIS_URL` | `serviceDefault` | that; `REDIS_PASSWORD` fills in a missing password |
    /// | `REDIS_HOST` | `serviceDefault` | host, `REDIS_PORT` or 6379, `REDIS_PASSWORD` |
    /// | neither | `optional` | localhost:`REDIS_PORT` or 6379, as a probe |
    ///
    /// A URL may name sentinels (`redis+sentinel://`), whose password is `REDIS_SENTINEL_PASSWORD`,
    /// or nodes of a cluster (`redis+cluster://`).
    /// `REDIS_CACHE_URL` and `REDIS_QUEUE_URL` stand before `REDIS_URL` for their purposes. An empty
    /// variable counts as unset, as Compose files write `${NAME:-}`.
    ///
    /// - Parameter serviceDefault: the mode of a service that was told where Redis is.
    /// - Throws: an error that names the variable at fault.
    public init(
        environment: [String: String],
        serviceDefault: Mode,
        purpose: Purpose = .general
    ) throws(RedisConfigurationError) {
        let settings = Settings(environment: environment)
        let password = settings["REDIS_PASSWORD"]
        let mode = try settings.mode()
        if let name = settings.urlVariable(for: purpose), let text = settings[name] {
            var url = try RedisURL(text, variable: name)
            url.password = url.password ?? password
            guard url.username == nil || url.password != nil else {
                throw RedisConfigurationError(
                    variable: name,
                    message: "has a user without a password; REDIS_PASSWORD may hold it"
                )
            }
            self.init(mode: mode ?? serviceDefault, isProbe: false, url: url)
            sentinelPassword = settings["REDIS_SENTINEL_PASSWORD"]
            return
        }
        var url = try RedisURL("redis://", variable: "REDIS_URL")
        let host = settings["REDIS_HOST"]
        url.endpoint = .tcp(host: host ?? "localhost", port: try settings.port())
        url.password = password
        let isGiven = host != nil
        self.init(
            mode: mode ?? (isGiven ? serviceDefault : .optional),
            // Who says "required" means the default address, not a chance.
            isProbe: !isGiven && mode != .required,
            url: url
        )
    }
}

private struct Settings {
    let environment: [String: String]

    subscript(name: String) -> String? {
        guard let value = environment[name], !value.isEmpty else { return nil }
        return value
    }

    func urlVariable(for purpose: RedisConfiguration.Purpose) -> String? {
        [purpose.variable, "REDIS_URL"].compactMap { $0 }.first { self[$0] != nil }
    }

    func mode() throws(RedisConfigurationError) -> RedisConfiguration.Mode? {
        guard let text = self["REDIS_MODE"] else { return nil }
        guard let mode = RedisConfiguration.Mode(rawValue: text.lowercased()) else {
            throw RedisConfigurationError(
                variable: "REDIS_MODE",
                message: "is '\(text)'; write required, optional or disabled"
            )
        }
        return mode
    }

    func port() throws(RedisConfigurationError) -> Int {
        guard let text = self["REDIS_PORT"] else { return RedisURL.defaultPort }
        return try RedisURL.port(Substring(text), variable: "REDIS_PORT")
    }
}
