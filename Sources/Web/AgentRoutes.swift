import Bytes
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import Logging
import PassThrough
import SignIn

/// The gateway's end of the agent link. Enrolment is on the public listener; everything else wants the agent's certificate.
struct AgentRoutes: Sendable {
  let hub: AgentHub
  let registry: AgentRegistry
  let enrolment: AgentEnrolment
  let authority: AgentAuthority
  /// The URLs of all gateway nodes for agents.
  let nodes: [String]
  let proxies: [AddressRange]
  let now: @Sendable () -> Instant

  /// A verdict with thousands of groups is some hundred kilobytes; a batch may carry several.
  private static let bodyLimit = 4 * 1024 * 1024
  private static let smallBodyLimit = 16 * 1024

  /// Refused enrolments by address.
  private let enrolments = AddressThrottle()

  func addPublic(to router: Router<GatewayRequestContext>) {
    router.post("/agent/v1/enrol") { request, context in
      let envelope: SealedEnvelope = try await decode(request, limit: AgentRoutes.smallBodyLimit)
      let address = clientAddress(headers: request.headers, context.facts, proxies: proxies) ?? "unknown"
      // Nobody has proved anything yet, and each refusal is a row in the audit: who is refused again and again is slowed.
      guard enrolments.mayGuess(IPAddress(address), now: .now) else { throw RequestFault.rateExceeded(retryAfterSeconds: 1) }
      do {
        return jsonResponse(try await enrolment.enrol(envelope, address: address, now: now()))
      } catch let refusal as AgentEnrolment.Refusal {
        enrolments.guessFailed(from: IPAddress(address), now: .now)
        throw refusal
      }
    }
  }

  func addMutual(to router: Router<GatewayRequestContext>) {
    router.post("/agent/v1/work") { request, context in
      let (agent, certificate) = try identify(context)
      let work: WorkRequest = try await read(request, limit: AgentRoutes.smallBodyLimit)
      return messageResponse(try await hub.work(work, agent: agent, certificate: certificate, connection: context.facts))
    }
    router.post("/agent/v1/verdicts") { request, context in
      let (agent, certificate) = try identify(context)
      let verdicts: VerdictsRequest = try await read(request, limit: AgentRoutes.bodyLimit)
      let answer = hub.receive(verdicts, agent: agent, certificate: certificate)
      if answer.ignored > 0 {
        context.logger.warning(
          "verdicts that were late, foreign or not good were ignored", metadata: ["agent": "\(agent.name)", "count": "\(answer.ignored)"])
      }
      return jsonResponse(answer)
    }
    router.post("/agent/v1/heartbeat") { request, context in
      let (agent, _) = try identify(context)
      let heartbeat: Heartbeat = try await decode(request, limit: AgentRoutes.bodyLimit)
      guard heartbeat.version >= 1 else { throw RequestFault.malformed("This protocol version is not spoken here; update the agent.") }
      hub.beat(heartbeat, agent: agent, now: now())
      return jsonResponse(HeartbeatAnswer(roots: authority.roots.map { Data($0).base64EncodedString() }, nodes: nodes, clock: now()))
    }
    router.post("/agent/v1/renew") { request, context in
      guard let certificate = context.facts.agentCertificate else { throw RequestFault.unauthenticated }
      let agent: AgentRecord
      switch registry.standing(of: certificate, now: now()) {
      case .good(let record), .mayRenewOnly(let record): agent = record
      case let standing: throw AgentRoutes.fault(for: standing)
      }
      let renewal: RenewalRequest = try await decode(request, limit: AgentRoutes.smallBodyLimit)
      return jsonResponse(try await enrolment.renew(renewal, agent: agent.id, presented: certificate, now: now()))
    }
  }

  /// The agent behind the connection, if it may work now: asked anew with every message, so that revocation cuts in at once.
  private func identify(_ context: GatewayRequestContext) throws -> (AgentRecord, AgentCertificate) {
    guard let certificate = context.facts.agentCertificate else { throw RequestFault.unauthenticated }
    let standing = registry.standing(of: certificate, now: now())
    guard case .good(let agent) = standing else { throw AgentRoutes.fault(for: standing) }
    return (agent, certificate)
  }

  private static func fault(for standing: AgentStanding) -> RequestFault {
    switch standing {
    case .good: .forbidden("")
    case .mayRenewOnly: .forbidden("This agent's certificate has expired; it may only ask for a new one (/agent/v1/renew).")
    case .expired: .forbidden("This agent's certificate expired more than 30 days ago. Enrol it anew with a token from `gatehouse agents token`.")
    case .revoked(_, let since): .forbidden("This agent was revoked at \(since). Enrol it anew with a token from `gatehouse agents token`.")
    case .quarantined(let agent, let since):
      .forbidden(
        "This agent is in quarantine since \(since): it said yes to a password that was known to be wrong. Look at its host; then "
          + "`gatehouse agents release \(agent.name)` or revoke it.")
    case .unknown: .unauthenticated
    }
  }

  private func read<Message: WireMessage>(_ request: Request, limit: Int) async throws -> Message {
    guard isJSON(request.headers[.contentType]) else { throw RequestFault.unsupportedMediaType }
    var request = request
    let bytes = try await request.readBody(limit: limit)
    do { return try Message(message: bytes) } catch { throw RequestFault.malformed(error.text) }
  }

  private func decode<T: Decodable>(_ request: Request, limit: Int) async throws -> T {
    guard isJSON(request.headers[.contentType]) else { throw RequestFault.unsupportedMediaType }
    var request = request
    let bytes = try await request.readBody(limit: limit)
    do { _ = try JSONText(object: bytes) } catch { throw RequestFault.malformed("The body is not the JSON that is expected: \(error).") }
    do { return try JSONDecoder().decode(T.self, from: Data(bytes)) } catch { throw RequestFault.malformed(describe(error)) }
  }
}

/// The client's address: the socket's, what a PROXY header said, or, from a trusted proxy only, the last entry of X-Forwarded-For that no
/// trusted proxy wrote.
///
/// Behind a PROXY header it is the address in it that must be a proxy's: a balancer that passes bytes on writes no X-Forwarded-For, so whatever
/// stands there is the client's own word.
func clientAddress(headers: HTTPFields, _ facts: ConnectionFacts, proxies: [AddressRange]) -> String? {
  guard let peer = facts.address, proxies.contains(where: { $0.contains(peer) }) else { return facts.address }
  let name = HTTPField.Name("X-Forwarded-For")
  let entries = (name.map { headers[values: $0] } ?? []).flatMap { $0.utf8.split(separator: UInt8(ascii: ",")).map { Substring($0) } }
    .map { $0.trimmingCharacters(in: .whitespaces) }
  for entry in entries.reversed() {
    guard IPAddress(entry) != nil else { return facts.address }
    if !proxies.contains(where: { $0.contains(entry) }) { return entry }
  }
  return facts.address
}
