/// What this build is, and which database it needs.
public enum Schema {
    /// The newest file under `compose/migrations`.
    public static let version = 34
    /// The release, as `/health` and the interface's reference show it.
    public static let release = "0.1.0"
}
