import Metrics

/// The name of every metric, in one place (docs/architecture.md, law 13). Label values are from closed sets, never names, addresses or error texts.
package enum Telemetry: String, Sendable, CaseIterable {
  /// Sign-ins by `verdict` (accepted, refused, unknown) and `reason` (a `RefusalReason` or `UnknownCause`, `none` for accepted).
  case signIns = "gatehouse_sign_ins_total"
  /// How long sign-ins took, from the request read to the verdict recorded.
  case signInSeconds = "gatehouse_sign_in_seconds"
  /// Requests that were turned away before they were judged, by `fault`.
  case requestFaults = "gatehouse_request_faults_total"
  /// Directory servers as the connected agents see them, by `state` (healthy, slow, open, half-open); a server counts once for each agent.
  case directoryServers = "gatehouse_directory_servers"
  /// Sprays by `kind` (password, address, network, realm); those that stand are the began less the ended.
  case spraysBegan = "gatehouse_sprays_began_total"
  case spraysEnded = "gatehouse_sprays_ended_total"
  /// Canaries by `kind` (wrong, right) and `verdict`; they are no sign-ins.
  case canaries = "gatehouse_canaries_total"
  /// Accepted sign-ins that were asked again of a second agent, by `outcome` (agrees, disagrees, none).
  case secondOpinions = "gatehouse_second_opinions_total"

  /// Notices of alarms by `way` (webhook, command), `kind` and `outcome` (delivered, failed).
  case alarmNotices = "gatehouse_alarm_notices_total"

  /// Answers to relying parties' requests by `outcome`: issued, declined (a status without an assertion), refused (a page of our own).
  case tokens = "gatehouse_tokens_total"

  package static func countToken(outcome: String) {
    Counter(label: Telemetry.tokens.rawValue, dimensions: [("outcome", outcome)]).increment()
  }

  package static func countSecondOpinion(outcome: String) {
    Counter(label: Telemetry.secondOpinions.rawValue, dimensions: [("outcome", outcome)]).increment()
  }
}

extension Verdict {
  /// Counts the answer to a canary of this kind.
  package func countCanary(kind: String) {
    let verdict =
      switch self {
      case .accepted: "accepted"
      case .refused: "refused"
      case .unknown: "unknown"
      }
    Counter(label: Telemetry.canaries.rawValue, dimensions: [("kind", kind), ("verdict", verdict)]).increment()
  }

  /// Counts the verdict and how long it took.
  package func count(took: Duration) {
    let (verdict, reason): (String, String) =
      switch self {
      case .accepted: ("accepted", "none")
      case .refused(let refusal): ("refused", refusal.reason.rawValue)
      case .unknown(let cause): ("unknown", cause.rawValue)
      }
    Counter(label: Telemetry.signIns.rawValue, dimensions: [("verdict", verdict), ("reason", reason)]).increment()
    let (seconds, attoseconds) = took.components
    Timer(label: Telemetry.signInSeconds.rawValue).recordNanoseconds(seconds &* 1_000_000_000 &+ attoseconds / 1_000_000_000)
  }
}
