internal import Glibc

/// The pages of code that only the start of the process ran.
public enum StartUpCode {
    /// Lets go of all code that is mapped; what runs again is mapped again, from the page cache.
    ///
    /// Start-up runs a third of a program once, and the kernel maps 64 KiB around each place. Code is
    /// never written to, so that nothing can be lost; call it once, when the service is ready.
    public static func letGo() {
        guard let maps = fopen("/proc/self/maps", "re") else { return }
        defer { fclose(maps) }
        while let line = nextLine(of: maps) {
            guard let range = codeRange(line) else { continue }
            // A kernel that refuses leaves the pages where they are, which costs memory only.
            _ = madvise(
                UnsafeMutableRawPointer(bitPattern: range.lowerBound),
                range.count,
                MADV_DONTNEED
            )
        }
    }

    private static func nextLine(of file: UnsafeMutablePointer<FILE>) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096) { buffer in
            fgets(buffer.baseAddress, Int32(buffer.count), file).map { String(cString: $0) }
        }
    }

    /// The addresses of a line of `/proc/self/maps` (proc(5)) if it is code of a file.
    ///
    /// Only what may be executed and not written: of other pages the process may hold its own version.
    static func codeRange(_ line: String) -> Range<UInt>? {
        let fields = line.split(separator: " ", omittingEmptySubsequences: true)
        guard fields.count >= 6, fields[1] == "r-xp", fields[5].hasPrefix("/") else { return nil }
        let ends = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        guard ends.count == 2, ends[0] < ends[1] else { return nil }
        return ends[0]..<ends[1]
    }
}
