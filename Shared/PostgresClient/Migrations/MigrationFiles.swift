internal import FoundationEssentials

/// One numbered file.
struct Migration: Sendable, Hashable {
    let version: Int
    let name: String
    let sql: String
}

/// The migrations of a folder: `NNNN_name.sql`, each number once.
enum MigrationFiles {
    static let numberOfDigits = 4

    /// Reads the folder, in the order of the numbers; blocks, so only at start and in commands.
    static func load(_ directory: String) throws(PostgresError) -> [Migration] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory)
        } catch {
            throw fault("the folder \(directory) cannot be read")
        }
        var migrations: [Migration] = []
        for name in names where name.hasSuffix(".sql") {
            let (version, title) = try parse(name)
            guard let data = FileManager.default.contents(atPath: "\(directory)/\(name)"),
                let sql = String(validating: data, as: UTF8.self)
            else { throw fault("\(name) cannot be read as UTF-8") }
            migrations.append(Migration(version: version, name: title, sql: sql))
        }
        migrations.sort { $0.version < $1.version }
        for (first, second) in zip(migrations, migrations.dropFirst())
        where first.version == second.version {
            throw fault("\(first.name) and \(second.name) have the same number")
        }
        guard !migrations.isEmpty else { throw fault("the folder \(directory) has no migration") }
        return migrations
    }

    /// `0012_add_outbox.sql` is number 12, `add_outbox`.
    static func parse(_ file: String) throws(PostgresError) -> (version: Int, name: String) {
        let stem = file.dropLast(".sql".count)
        let digits = stem.prefix { $0 != "_" }
        guard digits.utf8.count == numberOfDigits, digits.allSatisfy(\.isASCII),
            let version = Int(digits), version > 0,
            stem.utf8.count > numberOfDigits + 1
        else { throw fault("\(file) is not named NNNN_name.sql") }
        return (version, String(stem.dropFirst(numberOfDigits + 1)))
    }

    static func fault(_ message: String) -> PostgresError {
        PostgresError(.migration, "migrations", message)
    }
}

/// What is left to do, from what the folder has and what the database says.
struct MigrationPlan: Sendable, Hashable {
    /// A migration that the database has.
    struct Applied: Sendable, Hashable {
        let version: Int
        let name: String
        let checksum: String
    }

    let pending: [Migration]
    let version: Int

    /// - Parameter checksums: SHA-256 of each file, in the files' order.
    init(
        files: [Migration],
        checksums: [String],
        applied: [Applied]
    ) throws(PostgresError) {
        let latest = applied.map(\.version).max() ?? 0
        let byVersion = Dictionary(applied.map { ($0.version, $0) }, uniquingKeysWith: { $1 })
        if let newest = files.last?.version, latest > newest {
            throw MigrationFiles.fault(
                "the database is at version \(latest), and the newest file is \(newest): "
                    + "a newer release has been here"
            )
        }
        let numbers = Set(files.map(\.version))
        if let unknown = applied.first(where: { !numbers.contains($0.version) }) {
            throw MigrationFiles.fault(
                "the database has migration \(unknown.version) (\(unknown.name)), and no file has"
            )
        }
        var pending: [Migration] = []
        for (file, checksum) in zip(files, checksums) {
            guard let old = byVersion[file.version] else {
                guard file.version > latest else {
                    throw MigrationFiles.fault(
                        "\(file.version) (\(file.name)) was never applied, and \(latest) was: "
                            + "give it a higher number"
                    )
                }
                pending.append(file)
                continue
            }
            guard old.checksum == checksum else {
                throw MigrationFiles.fault(
                    "\(file.version) (\(file.name)) was changed after it was applied: "
                        + "its SHA-256 was \(old.checksum) and is \(checksum)"
                )
            }
        }
        self.pending = pending
        version = files.last?.version ?? 0
    }
}
