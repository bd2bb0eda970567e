import Foundation
import Testing

@Suite("Through a company's HTTP proxy")
struct ProxyScenario {
  @Test("the agent enrols and answers, and the proxy sees CONNECT and TLS, no password")
  func proxied() async throws {
    try await House.with("proxy", agents: []) { house in
      let canary = "Canary.\(UInt64.random(in: 0 ... .max)).Canary"
      let user = "proxied"
      try await SambaDomain.add([(name: user, password: canary)], to: house.domain)
      let proxy = try await ConnectProxy.start()
      let agent = try AgentProcess(name: "behind", scenario: house.scenario, domain: house.domain, proxyPort: proxy.port)
      try await house.move(in: agent)
      for _ in 0..<5 { #expect(try await house.frontEnd.signIn(user, canary).gist == "200 accepted") }
      #expect(try await house.frontEnd.signIn(user, canary + "x").gist == "200 invalid_credentials")
      let seen = proxy.seen
      #expect(
        Set(seen.requests) == ["CONNECT localhost:\(house.gateway.publicPort) HTTP/1.1", "CONNECT 127.0.0.1:\(house.gateway.mutualPort) HTTP/1.1"])
      #expect(!seen.openings.isEmpty)
      // A TLS record (RFC 8446 §5.1): a handshake, of a version that begins with 3.
      #expect(seen.openings.allSatisfy { $0.count == 3 && $0[0] == 22 && $0[1] == 3 })
      let bytes = Data(seen.bytes)
      #expect(bytes.count > 10_000)
      for secret in [canary, Data(canary.utf8).base64EncodedString(), user] {
        #expect(bytes.range(of: Data(secret.utf8)) == nil, "the proxy could read \(secret)")
      }
      // When the proxy goes and comes back, so does the agent.
      await agent.stop()
      await proxy.stop()
    }
  }
}
