import Bytes
import Foundation
import Identity
import Logging
import ServiceLifecycle
import Synchronization

/// Asks a few of the accepted sign-ins again of a second agent, after their answer has left: an agent that says yes to what others refuse is told.
///
/// The password is held in memory for that long, at most some seconds. It was found right, so that asking again costs nothing in the directory;
/// only where the first agent lied is it a wrong one that is counted. Nobody is blocked by a disagreement.
package final class SecondOpinions: Service, AlarmSource {
  private struct Case: Sendable {
    var credential: Credential
    var wanting: AttributeRequest
    var agent: Identifier
    var person: DirectoryObject
  }

  private let hub: AgentHub
  private let registry: AgentRegistry
  private let audit: any AuditLog
  private let percent: Int
  private let deadline: Duration
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let cases: AsyncStream<Case>
  private let offered: AsyncStream<Case>.Continuation
  private let disagreements = Mutex<[Alarm]>([])

  /// So long an alarm about a disagreement stands.
  private static let memory: Duration = .seconds(86_400)
  /// More than these do not wait: passwords are not piled up.
  private static let mostWaiting = 64

  /// - Parameter percent: how many of a hundred accepted sign-ins are asked again, 0 to 100.
  package init(
    hub: AgentHub, registry: AgentRegistry, audit: any AuditLog, percent: Int, deadline: Duration, now: @escaping @Sendable () -> Instant,
    logger: Logger
  ) {
    self.hub = hub
    self.registry = registry
    self.audit = audit
    self.percent = percent
    self.deadline = deadline
    self.now = now
    self.logger = logger
    (cases, offered) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(SecondOpinions.mostWaiting))
  }

  /// An accepted sign-in, of which chance decides whether it is asked again.
  func offer(_ credential: Credential, wanting: AttributeRequest, answeredBy agent: Identifier, person: DirectoryObject) {
    guard percent > 0, Int.random(in: 0..<100) < percent else { return }
    offered.yield(Case(credential: credential, wanting: wanting, agent: agent, person: person))
  }

  package func run() async throws {
    await withGracefulShutdownHandler {
      await withDiscardingTaskGroup { group in
        for await one in cases { group.addTask { await self.ask(one) } }
      }
    } onGracefulShutdown: {
      self.offered.finish()
    }
  }

  private func ask(_ one: Case) async {
    // The answer to the first one is on its way meanwhile, and an agent cannot tell by the time which of its questions come twice.
    try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .milliseconds(Int64.random(in: 200...2000))) }
    guard !Task.isShuttingDownGracefully, !Task.isCancelled else { return }
    let question = Question(
      realm: one.credential.realm, userName: one.credential.userName, password: one.credential.password, wanting: one.wanting,
      allowance: one.credential.allowance.map { _ in TryAllowance(expected: one.person.id, isFamiliar: true) }, deadline: Deadline(after: deadline))
    let outcome = await hub.ask(question, to: .another(than: one.agent))
    switch outcome.judgement.verdict {
    case .accepted(let person) where person.object == one.person: SecondOpinions.count("agrees")
    case .accepted: await disagree(one, with: outcome.agent, saying: "accepted as somebody else")
    case .refused(let refusal) where [.wrongPassword, .userNotFound, .ambiguousName].contains(refusal.reason):
      await disagree(one, with: outcome.agent, saying: refusal.reason.rawValue)
    // The account's own state may have changed in between, and what could not be found out says nothing.
    case .refused, .unknown: SecondOpinions.count("none")
    }
  }

  private func disagree(_ one: Case, with second: Identifier?, saying answer: String) async {
    SecondOpinions.count("disagrees")
    guard let second else { return }
    func name(_ agent: Identifier) -> String { registry.agent(agent)?.name ?? agent.description }
    let time = now()
    let alarm = Alarm(
      .agentsDisagree, subject: "\(name(one.agent)), \(name(second))",
      message: "Agent \(name(one.agent)) accepted a password of realm \(one.credential.realm), and agent \(name(second)) did not (\(answer)).",
      remedy:
        "Unless the password was changed in that moment, one of them lies or asks another directory: `gatehouse audit list --kind agent.disagreed`, "
        + "then `gatehouse agents answered-by \(name(one.agent))`.",
      since: time)
    disagreements.withLock { standing in
      standing.removeAll { $0.subject == alarm.subject }
      standing = Array(standing.suffix(31)) + [alarm]
    }
    logger.error("two agents disagree about a password", metadata: ["first": "\(name(one.agent))", "second": "\(name(second))"])
    let event = AuditEvent(
      time: time, kind: .agentsDisagreed, actor: "gatehouse", realm: one.credential.realm, subject: one.credential.userName.text,
      object: one.person.id, outcome: answer,
      details: ["first": name(one.agent), "firstID": one.agent.description, "second": name(second), "secondID": second.description])
    do { try await audit.append([event]) } catch {
      logger.error("a disagreement could not be recorded", metadata: ["error": "\(error)"])
    }
  }

  private static func count(_ outcome: String) { Telemetry.countSecondOpinion(outcome: outcome) }

  package func alarms() async -> [Alarm] {
    let now = now()
    return disagreements.withLock { standing in
      standing.removeAll { now.since($0.since) > SecondOpinions.memory }
      return standing
    }
  }
}
