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
    /// or nodes of a cluster (`redis+cluster://`). With TLS (`rediss://`), `REDIS_TLS_CA_FILE` says
    /// whom to trust, and `REDIS_TLS_CERT_FILE` with `REDIS_TLS_KEY_FILE` who the client is.
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
        let files = RedisTLS.Files(environment: environment)
        try settings.checkFiles()
        if let name = settings.urlVariable(for: purpose), let text = settings[name] {
            var url = try RedisURL(text, variable: name)
            url.password = url.password ?? password
            guard url.username == nil || url.password != nil else {
                throw RedisConfigurationError(
                    variable: name,
                    message: "has a user without a password; REDIS_PASSWORD may hold it"
                )
            }
            try self.init(
                mode: mode ?? serviceDefault,
                isProbe: false,
                url: url,
                files: files
            )
            sentinelPassword = settings["REDIS_SENTINEL_PASSWORD"]
            return
        }
        var url = try RedisURL("redis://", variable: "REDIS_URL")
        let host = settings["REDIS_HOST"]
        url.endpoint = .tcp(host: host ?? "localhost", port: try settings.port())
        url.password = password
        let isGiven = host != nil
        try self.init(
            mode: mode ?? (isGiven ? serviceDefault : .optional),
            // Who says "required" means the default address, not a chance.
            isProbe: !isGiven && mode != .required,
            url: url,
            files: files
        )
    }
}

extension RedisTLS.Files {
    /// The files that an environment names; an empty variable counts as unset.
    public init(environment: [String: String]) {
        let settings = Settings(environment: environment)
        self.init(
            authorities: settings[RedisTLS.authoritiesVariable],
            certificate: settings[RedisTLS.certificateVariable],
            key: settings[RedisTLS.keyVariable]
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

    /// Whoever names files for TLS means it: plain text in its place would be worse than an error.
    func checkFiles() throws(RedisConfigurationError) {
        let urls = ["REDIS_URL", "REDIS_CACHE_URL", "REDIS_QUEUE_URL"].compactMap { self[$0] }
        guard !urls.contains(where: { $0.lowercased().hasPrefix("rediss") }) else { return }
        let given = [
            RedisTLS.authoritiesVariable, RedisTLS.certificateVariable, RedisTLS.keyVariable,
        ]
        guard let variable = given.first(where: { self[$0] != nil }) else { return }
        throw RedisConfigurationError(
            variable: variable,
            message: "is set, and no URL asks for TLS: write REDIS_URL=rediss://host:port"
        )
    }

    func port() throws(RedisConfigurationError) -> Int {
        guard let text = self["REDIS_PORT"] else { return RedisURL.defaultPort }
        return try RedisURL.port(Substring(text), variable: "REDIS_PORT")
    }
}
