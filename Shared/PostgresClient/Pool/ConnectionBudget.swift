/// Whether the server has room for our connections, with some left for people.
struct ConnectionBudget: Sendable, Hashable {
    /// Connections that one process may hold.
    static let perProcess = 9

    /// What the server allows.
    struct ServerLimits: Sendable, Hashable {
        var maxConnections: Int
        var reserved: Int
        /// Negative for none.
        var roleLimit: Int
        /// Negative for none.
        var databaseLimit: Int
    }

    enum Verdict: Sendable, Hashable {
        case fits
        /// It works for this process, but not for all that are expected.
        case tight(String)
        case impossible(String)
    }

    var readers: Int
    var pool: Int
    var dedicated: Int
    var processes: Int

    var own: Int { readers + pool + dedicated }

    /// Judges the settings alone.
    var verdictWithoutServer: Verdict {
        guard readers > 0, pool > 0, dedicated >= 0 else {
            return .impossible("at least one reader and one pool connection are needed")
        }
        guard own <= ConnectionBudget.perProcess else {
            return .impossible(
                "\(readers) readers + \(pool) in the pool + \(dedicated) dedicated make \(own) "
                    + "connections; a process may hold \(ConnectionBudget.perProcess)"
            )
        }
        return .fits
    }

    /// Judges the settings against the server's.
    func verdict(_ limits: ServerLimits) -> Verdict {
        var room = limits.maxConnections - limits.reserved
        var name = "max_connections \(limits.maxConnections) less \(limits.reserved) reserved"
        if limits.roleLimit >= 0, limits.roleLimit < room {
            room = limits.roleLimit
            name = "the role's connection limit \(limits.roleLimit)"
        }
        if limits.databaseLimit >= 0, limits.databaseLimit < room {
            room = limits.databaseLimit
            name = "the database's connection limit \(limits.databaseLimit)"
        }
        if own > room {
            return .impossible("this process needs \(own) connections and \(name) leaves \(room)")
        }
        if own * processes > room {
            return .tight(
                "\(processes) processes of \(own) connections need \(own * processes), "
                    + "and \(name) leaves \(room)"
            )
        }
        return .fits
    }
}
