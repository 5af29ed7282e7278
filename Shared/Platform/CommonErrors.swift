internal import Coordination
public import HTTPServer
internal import PostgresClient

/// What callers see of the errors that every service knows: the only place where they become problems.
public enum CommonErrors {
    /// The problem that an error is to a caller; nil for a fault of ours.
    public static func problem(_ error: any Error) -> Problem? {
        switch error {
        case let error as PostgresError where error.isUnavailable:
            .unavailable("the database is away")
        case let error as CoordinationError:
            .unavailable("\(error.operation) is not to be had")
        default: Problem(known: error)
        }
    }
}
