import Coordination
import HTTPServer
import JSON
import Testing

@testable import Platform

@Suite("CommonErrors")
struct CommonErrorsTests {
    private struct Fault: Error {}

    @Test("what callers can act on is a problem; a fault of ours is none")
    func problems() throws {
        let away = CommonErrors.problem(CoordinationError(operation: "lock", message: "secret"))
        #expect(away?.status == 503)
        #expect(away?.detail?.contains("secret") == false)
        #expect(CommonErrors.problem(Problem.notFound)?.status == 404)
        #expect(CommonErrors.problem(Fault()) == nil)
        #expect(throws: JSONError.self) { try JSON(parsing: Array("{".utf8)) }
        do {
            _ = try JSON(parsing: Array("{".utf8))
        } catch {
            let problem = CommonErrors.problem(error)
            #expect(problem?.status == 400)
            #expect(problem?.detail == "the body is not JSON: \(error)")
        }
    }
}
