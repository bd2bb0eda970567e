import Foundation
import Identity
import SignIn
import Testing

@testable import Web

@Suite("A gateway with more sign-ins than it can answer")
struct OverloadTests {
  private let good = Array(#"{"userName":"alice@contoso.com","password":"right"}"#.utf8)

  private func request(_ gateway: LiveGateway, headers: [(String, String)] = []) -> RawRequest {
    RawRequest(
      "POST", "/v1/sign-in", headers: [("Authorization", "Bearer \(gateway.apiKey)"), ("Content-Type", "application/json")] + headers, body: good)
  }

  private func full() -> AdmissionGate {
    var policy = AdmissionPolicy()
    (policy.first, policy.fewest) = (1, 1)
    let gate = AdmissionGate(policy: policy)
    #expect(gate.enter(waited: .zero))
    return gate
  }

  @Test("turns the next away with 503 and Retry-After before anybody is asked, keeps the connection, and answers again when one has left")
  func turnedAway() async throws {
    var options = LiveGateway.Options()
    let gate = full()
    options.admission = gate
    try await withGateway(options) { gateway async throws in
      let connection = try await gateway.open()
      for _ in 0..<3 {
        let answer = try await connection.exchange(request(gateway))
        #expect(answer.status == 503)
        #expect(answer.value("retry-after").flatMap { Int($0) }.map { (1...5).contains($0) } == true)
        #expect(try answer.decode(FaultBody.self).error.code == "unavailable")
        #expect(answer.value("cache-control") == "no-store")
      }
      #expect(gateway.script.asked.isEmpty)
      #expect(gate.standing.turnedAway == 3)
      gate.leave()
      #expect(try await connection.exchange(request(gateway)).status == 200)
      #expect(gate.standing.underWay == 0)
    }
  }

  @Test("goes on telling health, and everything that is no sign-in")
  func others() async throws {
    var options = LiveGateway.Options()
    options.admission = full()
    try await withGateway(options) { gateway async throws in
      #expect(try await gateway.openOperations().exchange(RawRequest("GET", "/readyz")).status == 200)
      #expect(try await gateway.open().exchange(RawRequest("GET", "/v1/realm-discovery?name=alice@contoso.com")).status != 503)
    }
  }

  @Test("closes the connection of one who asked for that")
  func closes() async throws {
    var options = LiveGateway.Options()
    options.admission = full()
    try await withGateway(options) { gateway async throws in
      let connection = try await gateway.open()
      #expect(try await connection.exchange(request(gateway, headers: [("Connection", "close")])).status == 503)
      await #expect(throws: RawConnection.Failure.self) { try await connection.exchange(request(gateway)) }
    }
  }

  @Test("answers pipelined sign-ins in their order, one by one")
  func pipelined() async throws {
    var policy = AdmissionPolicy()
    (policy.first, policy.fewest) = (1, 1)
    var options = LiveGateway.Options()
    options.admission = AdmissionGate(policy: policy)
    try await withGateway(options) { gateway async throws in
      let connection = try await gateway.open()
      let one = request(gateway)
      await connection.send(one.bytes + one.bytes + one.bytes)
      for _ in 0..<3 { #expect(try await connection.answer().status == 200) }
    }
  }

  @Test("lets people in at addresses from which they signed in before, and nobody else, while it is full")
  func familiar() async throws {
    var policy = AdmissionPolicy()
    (policy.first, policy.fewest) = (1, 1)
    var options = LiveGateway.Options()
    let gate = AdmissionGate(policy: policy)
    options.admission = gate
    try await withGateway(options) { gateway async throws in
      func signIn(_ address: String, name: String = "alice@contoso.com", path: String = "/v1/sign-in") async throws -> RawAnswer {
        let more = path == "/v1/sign-in" ? "" : #","newPassword":"new password""#
        return try await gateway.ask(
          RawRequest(
            "POST", path, headers: [("Authorization", "Bearer \(gateway.apiKey)"), ("Content-Type", "application/json")],
            body: Array(#"{"userName":"\#(name)","password":"right","clientAddress":"\#(address)"\#(more)}"#.utf8)))
      }
      #expect(try await signIn("192.0.2.1").status == 200)
      #expect(gate.enter(waited: .zero))
      #expect(try await signIn("192.0.2.1").status == 200)
      #expect(try await signIn("192.0.2.1", path: "/v1/change-password").status == 200)
      #expect(try await signIn("192.0.2.2").status == 503)
      #expect(try await signIn("192.0.2.1", name: "bob@contoso.com").status == 503)
      #expect(try await signIn("192.0.2.1", name: "eve@fabrikam.com").status == 503)
      #expect(gate.standing.underWay == 1, "guests have left")
    }
  }
}
