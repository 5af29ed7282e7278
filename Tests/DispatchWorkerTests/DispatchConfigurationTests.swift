import EventLoop
import Platform
import Testing

@testable import dispatch_worker

@Suite("DispatchConfiguration")
struct DispatchConfigurationTests {
    @Test("an attempt owns its request for 60 s unless set otherwise")
    func lease() throws {
        #expect(try configuration([:]).sendLease == .seconds(60))
        #expect(try configuration(["SEND_LEASE_MS": "2000"]).sendLease == .seconds(2))
        #expect(throws: SettingsError.self) { try configuration(["SEND_LEASE_MS": "soon"]) }
    }

    @Test("large tenants are named with commas, each by a code")
    func largeTenants() throws {
        #expect(try configuration([:]).largeTenants == [])
        let two = try configuration(["DISPATCH_LARGE_TENANTS": "acme, globex"])
        #expect(two.largeTenants == ["acme", "globex"])
        for bad in ["acme#3", "{acme}", "Acme", "a b,c;d"] {
            let error = #expect(throws: SettingsError.self) {
                try configuration(["DISPATCH_LARGE_TENANTS": bad])
            }
            #expect("\(error.map { "\($0)" } ?? "")".contains("DISPATCH_LARGE_TENANTS"))
        }
    }

    private func configuration(_ more: [String: String]) throws -> DispatchConfiguration {
        let complete = [
            "DATABASE_URL": "postgres://u:p@127.0.0.1:5432/d", "SERVICE_TOKEN": "t",
            "SECRETS_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        ]
        return try DispatchConfiguration(
            settings: Settings(environment: complete.merging(more) { $1 })
        )
    }
}
