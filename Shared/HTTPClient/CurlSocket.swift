internal import CLibCurl
internal import EventLoop

/// A socket of curl's that the loop watches.
@LoopActor
final class CurlSocket: Channel {
    private weak var multi: CurlMulti?
    private let descriptor: Int32
    private var registration: Registration?

    /// `nil` when the kernel refuses to watch it.
    init?(_ multi: CurlMulti, _ descriptor: Int32, _ interest: Interest) {
        self.multi = multi
        self.descriptor = descriptor
        do {
            registration = try EventLoop.shared.add(
                self,
                descriptor: descriptor,
                interest: interest
            )
        } catch {
            return nil
        }
    }

    func update(_ interest: Interest) {
        if let registration { EventLoop.shared.update(registration, interest: interest) }
    }

    func unwatch() {
        if let registration { EventLoop.shared.remove(registration) }
        registration = nil
    }

    func ready(_ readiness: Readiness) {
        var events: Int32 = 0
        if readiness.contains(.read) { events |= CURL_CSELECT_IN }
        if readiness.contains(.write) { events |= CURL_CSELECT_OUT }
        if readiness.contains(.hangup) { events |= CURL_CSELECT_ERR }
        multi?.work(descriptor, events)
    }
}
