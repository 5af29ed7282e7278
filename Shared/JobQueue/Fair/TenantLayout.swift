internal import RedisClient

/// How the queues that are served beside each other are named.
enum TenantLayout: Hashable {
    /// The queue `name` of each tenant: `<prefix>:{tenant}:<name>:…`.
    case tenants(prefix: String, name: String)
    /// Every queue of a prefix; a tenant is what its keys have between the prefix and their endings.
    case all(prefix: String)

    private static let meta = ":meta"

    var ringName: String {
        switch self {
        case .tenants(let prefix, let name): "\(prefix):\(name)"
        case .all(let prefix): prefix
        }
    }

    /// The keys of a tenant's queue.
    func keys(of tenant: String) throws(JobQueueError) -> QueueKeys {
        switch self {
        case .tenants(let prefix, let name):
            guard !tenant.isEmpty, !tenant.contains(where: { $0 == "{" || $0 == "}" }) else {
                throw JobQueueError(.invalid, "the tenant '\(tenant)' is no tag of a key")
            }
            return try QueueKeys(queue: name, prefix: "\(prefix):{\(tenant)}")
        case .all(let prefix):
            guard let colon = tenant.lastIndex(of: ":") else {
                return try QueueKeys(queue: tenant, prefix: prefix)
            }
            return try QueueKeys(
                queue: String(tenant[tenant.index(after: colon)...]),
                prefix: "\(prefix):\(tenant[..<colon])"
            )
        }
    }

    /// What the settings of all these queues match, as Redis writes patterns; every queue has some
    /// from its first job on.
    var pattern: String {
        switch self {
        case .tenants(let prefix, let name):
            "\(TenantLayout.literal(prefix)):{*}:\(TenantLayout.literal(name))\(TenantLayout.meta)"
        case .all(let prefix): "\(TenantLayout.literal(prefix)):*\(TenantLayout.meta)"
        }
    }

    private static func literal(_ text: String) -> String {
        text.reduce(into: "") { pattern, character in
            if "*?[]^\\".contains(character) { pattern.append("\\") }
            pattern.append(character)
        }
    }

    /// The tenant whose settings have this key; nil when it is none of these queues.
    func tenant(ofMeta key: String) -> String? {
        guard key.hasSuffix(TenantLayout.meta) else { return nil }
        let base = key.dropLast(TenantLayout.meta.count)
        let (head, tail) =
            switch self {
            case .tenants(let prefix, let name): ("\(prefix):{", "}:\(name)")
            case .all(let prefix): ("\(prefix):", "")
            }
        guard base.hasPrefix(head), base.dropFirst(head.count).hasSuffix(tail) else { return nil }
        let tenant = String(base.dropFirst(head.count).dropLast(tail.count))
        return tenant.isEmpty || (try? keys(of: tenant)) == nil ? nil : tenant
    }
}
