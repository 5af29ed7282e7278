/// A part of a large team: so many of those whom its strategy tries first, and whoever follows them.
///
/// The first is small, because nearly always somebody of it gets the session; what follows grows, so
/// that a skill that few have is found in few looks.
struct RosterPage: Sendable, Hashable {
    static let first = 8
    /// More agents in one answer would take the loop too long to read.
    static let largest = 256

    /// Whose turn it is; nil as long as no turn was counted.
    var turn: Int?
    var from = 0
    var limit = RosterPage.first
    /// A turn's pages go round: to the end, and from the beginning up to the turn.
    var hasWrapped = false
    /// Whether the agents before it were looked at in the same run.
    var isFurther = false
    /// Those who could have it, were they there.
    var isOfAbsent = false

    init(turn: Int? = nil) {
        self.turn = turn
        from = turn ?? 0
    }

    /// The page of those who are away.
    static var absent: RosterPage {
        var page = RosterPage()
        page.limit = largest
        page.isFurther = true
        page.isOfAbsent = true
        return page
    }

    /// What to read when nobody among the `count` that this page had can be chosen; nil at the end.
    func next(after count: Int) -> RosterPage? {
        guard !isOfAbsent else { return nil }
        var page = self
        page.isFurther = true
        if count >= limit {
            page.from = from + limit
            page.limit = min(limit * 8, RosterPage.largest)
        } else if !hasWrapped {
            page.from = 0
            page.hasWrapped = true
        } else {
            return nil
        }
        if page.hasWrapped { page.limit = min(page.limit, (turn ?? 0) - page.from) }
        return page.limit > 0 ? page : nil
    }
}
