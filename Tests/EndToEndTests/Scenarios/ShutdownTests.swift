import Foundation
import Synchronization
import Testing

@Suite("SIGTERM under load")
struct ShutdownScenario {
  @Test("Readiness fails first, every request that was taken is answered whole, and the gateway ends with 0 in its grace")
  func terminated() async throws {
    try await House.with("shutdown") { house in
      let people = try await house.people("down", 8)
      let tally = Tally()
      let gateway = try #require(house.gateway.process)
      let afterwards = Mutex(0)
      try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 8, tally: tally, stopAtFirstFailure: true) {
        try await Task.sleep(for: .seconds(1))
        let began = ContinuousClock.now
        gateway.signal(SIGTERM)
        let drained = await eventually(within: .seconds(3), every: .milliseconds(20)) { await house.gateway.readiness() == 503 }
        #expect(drained, "readiness did not fail")
        let before = tally.right
        try await Task.sleep(for: .milliseconds(500))
        afterwards.withLock { $0 = tally.right - before }
        let status = await gateway.ended(within: .seconds(12))
        #expect(status == 0)
        print("SIGTERM under load: ended after \(began.duration(to: .now)); \(tally.right) accepted, \(tally.unanswered) times 503")
      }
      #expect(afterwards.withLock { $0 } > 0, "load balancers need a moment to see that readiness fails")
      #expect(tally.wrong == [])
      #expect(tally.unanswered == 0)
      // Each client saw one end: no listener any more; or, for a connection that the kernel had accepted and the gateway had not, a reset; or the
      // end of a connection on which no head had been read yet. That none of these had been taken is what the audit shows below.
      let ends = ["refused", "reset by peer", "remoteConnectionClosed", "I/O on closed channel"]
      let others = tally.failed.filter { failure in !ends.contains { failure.contains($0) } }
      #expect(others == [])
      // What was taken was answered: there is no verdict on record that nobody received.
      try await house.gateway.start()
      let rows = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "sign-in", "--limit", "10000")
      #expect(rows.count == tally.right + tally.refused + tally.unanswered)
      #expect(gateway.logText.split(separator: "\n").contains { $0.contains("shutting down") })
    }
  }
}
