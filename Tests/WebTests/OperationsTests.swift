import Foundation
import Testing

@testable import Web

@Suite("The operations listener")
struct OperationsTests {
  private struct Health: Decodable, Equatable {
    var status: String
    var reasons: [String]
  }

  @Test("says that the node lives, whether it should get traffic and why not, and its numbers")
  func endpoints() async throws {
    try await withGateway { gateway async throws in
      let connection = try await gateway.openOperations()
      func get(_ path: String) async throws -> RawAnswer { try await connection.exchange(RawRequest("GET", path)) }
      let alive = try await get("/healthz")
      #expect(try alive.status == 200 && alive.decode(Health.self) == Health(status: "alive", reasons: []))
      let ready = try await get("/readyz")
      #expect(try ready.status == 200 && ready.decode(Health.self) == Health(status: "ready", reasons: []))
      gateway.obstruct(["the store does not answer"])
      let obstructed = try await get("/readyz")
      #expect(try obstructed.status == 503 && obstructed.decode(Health.self) == Health(status: "not ready", reasons: ["the store does not answer"]))
      #expect(try await get("/healthz").status == 200)
      let metrics = try await get("/metrics")
      #expect(metrics.status == 200 && metrics.value("content-type") == "text/plain; version=0.0.4; charset=utf-8")
      #expect(metrics.text == "# TYPE seen_total counter\nseen_total 1\n")
      #expect(try await connection.exchange(RawRequest("HEAD", "/healthz")).status == 200)
      #expect(try await connection.exchange(RawRequest("POST", "/healthz", body: [])).status == 405)
    }
  }

  @Test(
    "knows no route of the other listeners",
    arguments: ["/v1/sign-in", "/agent/v1/enrol", "/agent/v1/work", "/admin/v1/status", "/common/userrealm/a@b", "/GetUserRealm.srf"])
  func otherRoutes(path: String) async throws {
    try await withGateway { gateway async throws in
      for method in ["GET", "POST"] { #expect(try await gateway.openOperations().exchange(RawRequest(method, path, body: [])).status == 404) }
    }
  }
}
