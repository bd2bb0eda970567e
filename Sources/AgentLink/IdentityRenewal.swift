import Bytes
import Foundation
import Identity
import Logging
import PassThrough
import ServiceLifecycle
import Synchronization

/// Keeps the agent's identity fresh: new keys and a new certificate daily, and whatever roots and nodes the gateway tells.
///
/// A renewal that fails is tried again every minute; the certificate lives 30 days and may be renewed for 30 more, so a gateway that is away for
/// a weekend, or an agent that slept for a month, costs nobody a manual step.
package final class IdentityRenewal: Service {
  package static let interval: Duration = .seconds(86_400)

  private let connections: [HTTPGatewayConnection]
  private let file: AgentIdentityFile
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let latest = Mutex<HeartbeatAnswer?>(nil)

  package init(connections: [HTTPGatewayConnection], file: AgentIdentityFile, now: @escaping @Sendable () -> Instant, logger: Logger) {
    self.connections = connections
    self.file = file
    self.now = now
    self.logger = logger
  }

  /// To be told every answer to a heartbeat.
  package func learn(_ answer: HeartbeatAnswer) { latest.withLock { $0 = answer } }

  package func run() async throws {
    var nextTry = ContinuousClock.now
    while !Task.isShuttingDownGracefully, !Task.isCancelled {
      keepWhatWasTold()
      for connection in connections { await connection.closeSuperseded() }
      if ContinuousClock.now >= nextTry, await !renewIfDue() { nextTry = .now.advanced(by: .seconds(60)) }
      try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(2)) }
    }
  }

  /// Renews where it is due; false where that failed.
  package func renewIfDue() async -> Bool {
    guard let (current, _) = connections.first?.identity else { return true }
    guard now().since(current.renewed) >= IdentityRenewal.interval || current.notAfter <= now() else { return true }
    for connection in connections {
      do {
        let keys = AgentKeys()
        let answer = try await connection.renew(RenewalRequest(certificateRequest: try keys.request()))
        let renewed = try keys.renewing(current, with: answer, now: now())
        try keep(renewed)
        logger.info("certificate renewed", metadata: ["until": "\(renewed.notAfter)"])
        return true
      } catch {
        logger.warning("renewal failed; trying again in a minute", metadata: ["error": "\(error)"])
      }
    }
    return false
  }

  /// During a CA rollover the gateway tells two roots; the agent must trust both before the listener changes to the new one.
  private func keepWhatWasTold() {
    guard let answer = latest.withLock({ $0 }), let first = connections.first else { return }
    var (identity, _) = first.identity
    let roots = answer.roots.compactMap(StrictText.base64)
    guard !roots.isEmpty, Set(roots) != Set(identity.roots) || answer.nodes != identity.nodes else { return }
    identity.roots = roots
    identity.nodes = answer.nodes
    do {
      try keep(identity)
      logger.info("the gateway's roots or nodes changed", metadata: ["roots": "\(roots.count)", "nodes": "\(answer.nodes.count)"])
    } catch {
      logger.error("the gateway's new roots could not be kept", metadata: ["error": "\(error)"])
    }
  }

  private func keep(_ identity: AgentIdentity) throws {
    // On disk first: an identity that was used but not kept would be lost with the process.
    try file.save(identity)
    for connection in connections { try connection.adopt(identity) }
  }
}
