/// What a child's final failure does to its parent; without one, the parent goes on waiting.
///
/// The raw values are the members' names in `opts` and in the child's `parent` field.
public enum ParentPolicy: String, Sendable, Hashable, CaseIterable {
    /// The parent fails too.
    case fail = "fpof"
    /// The parent goes on at once, its other children open or not.
    case goOn = "cpof"
    /// The failure counts as done and is recorded with the parent.
    case ignore = "idof"
    /// The child no longer counts.
    case forget = "rdof"
}
