import Testing

@testable import PostgresClient

@Suite("MigrationPlan")
struct MigrationPlanTests {
    let files = [
        Migration(version: 1, name: "one", sql: "1"), Migration(version: 2, name: "two", sql: "2"),
        Migration(version: 5, name: "five", sql: "5"),
    ]
    let sums = ["a", "b", "c"]

    func applied(_ versions: Int...) -> [MigrationPlan.Applied] {
        versions.map { version in
            let index = files.firstIndex { $0.version == version }
            return MigrationPlan.Applied(
                version: version,
                name: "n\(version)",
                checksum: index.map { sums[$0] } ?? "?"
            )
        }
    }

    @Test("what the database lacks is pending, in order")
    func pending() throws {
        #expect(
            try MigrationPlan(files: files, checksums: sums, applied: []).pending.map(\.version)
                == [1, 2, 5]
        )
        let plan = try MigrationPlan(files: files, checksums: sums, applied: applied(1, 2))
        #expect(plan.pending.map(\.version) == [5])
        #expect(plan.version == 5)
        #expect(
            try MigrationPlan(files: files, checksums: sums, applied: applied(1, 2, 5)).pending
                == []
        )
    }

    @Test("a changed file, a newer database, an unknown migration and a late number are refused")
    func refusals() {
        func message(_ sums: [String], _ applied: [MigrationPlan.Applied]) -> String {
            do {
                _ = try MigrationPlan(files: files, checksums: sums, applied: applied)
                return "accepted"
            } catch {
                #expect(error.code == .migration)
                return error.message
            }
        }
        #expect(message(["a", "x", "c"], applied(1, 2)).contains("changed after it was applied"))
        #expect(message(sums, applied(1, 2, 5, 6)).contains("a newer release has been here"))
        #expect(message(sums, applied(1, 2, 3)).contains("no file has"))
        #expect(message(sums, applied(1, 5)).contains("give it a higher number"))
    }

    @Test(
        "file names",
        arguments: [
            ("0001_first.sql", 1, "first"), ("0120_add_x-y.sql", 120, "add_x-y"),
        ]
    )
    func names(_ file: String, _ version: Int, _ name: String) throws {
        let parsed = try MigrationFiles.parse(file)
        #expect(parsed.version == version)
        #expect(parsed.name == name)
    }

    @Test(
        "other names are refused, not skipped",
        arguments: [
            "1_x.sql", "00001_x.sql", "0000_x.sql", "abcd_x.sql", "0001.sql", "0001_.sql", ".sql",
        ]
    )
    func badNames(_ file: String) {
        #expect(throws: PostgresError.self) { try MigrationFiles.parse(file) }
    }
}

@Suite("PostgresError")
struct PostgresErrorTests {
    func server(_ state: String, function: String? = nil) -> PostgresError {
        Connection.error(
            of: PostgresError.ServerFields(
                severity: "ERROR",
                sqlState: state,
                message: "m",
                sourceFunction: function
            )
        )
    }

    @Test("SQLSTATEs become what callers act on")
    func classes() {
        #expect(server("23505").isUniqueViolation)
        #expect(server("23503").isForeignKeyViolation)
        #expect(server("23514").isCheckViolation)
        #expect(server("40001").isSerializationFailure && server("40P01").isSerializationFailure)
        #expect(server("55P03").isLockTimeout)
        #expect(server("57014").code == .timeout)
        #expect(server("26000").isStalePlan)
        #expect(server("0A000", function: "RevalidateCachedQuery").isStalePlan)
        #expect(!server("0A000").isStalePlan)
        for state in ["08006", "53300", "57P01", "25006"] { #expect(server(state).isUnavailable) }
        for state in ["23505", "42601", "22P02"] { #expect(!server(state).isUnavailable) }
        for code in [PostgresError.Code.connection, .timeout, .poolExhausted, .stopped] {
            #expect(PostgresError(code, "x", "y").isUnavailable)
        }
        #expect(!PostgresError(.decoding, "x", "y").isUnavailable)
    }

    @Test("an unknown outcome is kept and said")
    func unknown() {
        let error = server("57P01").withUnknownOutcome()
        #expect(error.outcomeUnknown)
        #expect(error.sqlState == "57P01")
        #expect("\(error)".hasSuffix("the write may have happened"))
        #expect(!server("57P01").outcomeUnknown)
    }
}
