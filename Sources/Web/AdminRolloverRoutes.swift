import Bytes
import CertificateLifecycle
import Cryptography
import Federation
import Foundation
import Hummingbird
import Identity
import SwiftASN1
import X509

/// The life of the token-signing certificates: what is, what is to come, and steps by hand.
struct AdminRolloverRoutes: Sendable {
  let services: GatewayServices
  private var federation: SignOnServices { services.federation }
  private var rollover: RolloverService { services.federation.rollover }

  init(services: GatewayServices) { self.services = services }

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/signing-keys") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      let ring = federation.keys.ring
      return jsonResponse(federation.keys.places.map { SigningKeyMessage($0.place, certificate: $0.certificate, ring: ring) })
    }
    router.get("/admin/v1/rollover") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(RolloverPlanMessage(rollover.plan()))
    }
    router.post("/admin/v1/rollover/steps/:step") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let step = try segment("step", of: context)
      let wish: RolloverRequest = try await decodeAdmin(request, limit: 256 << 10)
      let action = try action(step, wish)
      let report = try await translating {
        try await rollover.perform(action, dryRun: wish.dryRun ?? false, force: wish.force ?? false, actor: actor)
      }
      return jsonResponse(RolloverReportMessage(report, certificate: federation.keys.places.first { $0.place.id == report.key }?.certificate))
    }
    addPolicy(to: router)
    addReadiness(to: router)
  }

  private func addPolicy(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/rollover/policy") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(RolloverPolicyMessage(federation.keys.policy))
    }
    router.patch("/admin/v1/rollover/policy") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let change: RolloverPolicyMessage = try await decodeAdmin(request)
      let policy = try await translating { try await rollover.changePolicy(actor: actor) { change.apply(to: &$0) } }
      return jsonResponse(RolloverPolicyMessage(policy))
    }
    router.post("/admin/v1/rollover/clock") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      try await rollover.trustClock(actor: actor)
      return jsonResponse(Done(done: true, message: "The clock is taken to be right: \(services.now())."))
    }
    router.post("/admin/v1/rollover/rehearsal") { request, context in
      let wish: RehearsalRequest = try await decodeAdmin(request)
      let actor = try services.adminRoles.actor(context, changing: wish.record)
      guard (1...4000).contains(wish.days) else { throw RequestFault.malformed("A rehearsal is of 1 to 4000 days.") }
      let events = try await rollover.rehearse(
        days: wish.days, record: wish.record ? (actor, { AdminRolloverRoutes.digest($0.map(RehearsedEventMessage.init)) }) : nil
      ).map(RehearsedEventMessage.init)
      return jsonResponse(RehearsalMessage(events: events, digest: wish.record ? AdminRolloverRoutes.digest(events) : nil))
    }
  }

  private func addReadiness(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/rollover/readiness") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(readiness())
    }
    router.post("/admin/v1/rollover/readiness/:party") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let wish: ConfirmationRequest = try await decodeAdmin(request, limit: 8 << 20)
      let party = try party(named: try segment("party", of: context))
      if let reason = wish.failed {
        guard let present = federation.keys.signer(for: party)?.id else { throw RequestFault.conflict("No key signs for \(party.name).") }
        let former = try await rollover.revert(party, from: wish.key ?? present, reason: String(reason.prefix(512)), actor: actor)
        return jsonResponse(
          Done(
            done: former != nil,
            message: former.map { "\(party.name) is signed for with the key \($0) again." }
              ?? "There is no former key in metadata that \(party.name) could be taken back to; the alarm stands."))
      }
      let document = try wish.document.map { text in
        guard let bytes = StrictText.base64(text) else { throw RequestFault.malformed("The document did not arrive whole.") }
        return bytes
      }
      let key = try await translating {
        try await rollover.confirm(party, key: wish.key, document: document, detail: wish.detail.map { String($0.prefix(512)) }, actor: actor)
      }
      return jsonResponse(Done(done: true, message: "\(party.name) is known to have the key \(key)."))
    }
    router.post("/admin/v1/rollover/probe/:party") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let wish: ProbeRequest = try await decodeAdmin(request)
      let party = try party(named: try segment("party", of: context))
      guard let key = wish.key ?? federation.keys.ring.next(of: party.signatureAlgorithm.family)?.id ?? federation.keys.signer(for: party)?.id else {
        throw RequestFault.conflict("There is no key to probe with.")
      }
      let report = try await translating { try await federation.probes.run(party, key: key, actor: actor) }
      return jsonResponse(
        ProbeMessage(verdict: report.verdict.rawValue, key: report.key, control: report.control.detail, trial: report.trial?.detail))
    }
  }

  private static func digest(_ events: [RehearsedEventMessage]) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Digests.sha256(Array((try? encoder.encode(events)) ?? Data())).hexadecimal
  }

  private func translating<Value>(_ body: () async throws -> Value) async throws -> Value {
    do { return try await body() } catch let problem as RingProblem {
      throw RequestFault.conflict(problem.description)
    } catch let fault as SigningKeyVaultFault { throw RequestFault.unavailable(fault.description, retryAfterSeconds: 5) }
  }

  private func party(named name: String) throws -> RelyingParty {
    guard let party = federation.parties.party(named: name) ?? federation.parties.party(entityID: name) else {
      throw RequestFault.notFound("There is no relying party \(name.prefix(256)). See `gatehouse rp list`.")
    }
    return party
  }

  private func action(_ step: String, _ wish: RolloverRequest) throws -> RolloverAction {
    let family = try wish.family.map { text in
      guard let family = SigningKeyFamily(rawValue: text) else { throw RequestFault.malformed("A family of keys is rsa or ecdsa.") }
      return family
    }
    func key() throws -> String {
      guard let key = wish.key else { throw RequestFault.malformed("Say which key; see `gatehouse certs list`.") }
      return key
    }
    let parties = try (wish.relyingParties ?? []).map(party(named:))
    let usual = family ?? wish.key.flatMap { federation.keys.ring[$0]?.family } ?? parties.first?.signatureAlgorithm.family ?? .rsa
    switch step {
    case "prepare": return .prepare(usual)
    case "publish": return .publish(try wish.key ?? federation.keys.ring.next(of: usual)?.id ?? key())
    case "promote": return .promote(wish.key, usual, parties: parties)
    case "rollback": return .rollBack(usual, parties: parties, reason: wish.reason ?? "taken back by hand")
    case "resume": return .resume(try key())
    case "retire": return .retire(try key())
    case "replace": return .replace(usual, fresh: wish.fresh ?? false, suspectSince: wish.suspectSince ?? services.now())
    case "import": return try imported(wish)
    default:
      throw RequestFault.notFound("There is no step \(step.prefix(32)): prepare, publish, promote, rollback, resume, retire, replace, import.")
    }
  }

  private func imported(_ wish: RolloverRequest) throws -> RolloverAction {
    guard let certificate = wish.certificate.flatMap({ StrictText.base64($0) }), let read = try? Certificate(derEncoded: certificate)
    else {
      throw RequestFault.malformed("The certificate is no X.509 certificate in DER.")
    }
    guard let key = wish.privateKey.flatMap({ StrictText.base64($0) }), let signing = try? SigningKey(pkcs8: Secret(key)) else {
      throw RequestFault.malformed("The private key is none that can sign: RSA of 2048 bits or more, P-256 or P-384, as PKCS#8 without a password.")
    }
    guard let own = try? VerificationKey(certificate: certificate), own.subjectPublicKeyInfo == signing.publicKey.subjectPublicKeyInfo else {
      throw RequestFault.malformed("The certificate belongs to another key.")
    }
    return .import(signing, certificate: certificate, notBefore: Instant(read.notValidBefore), notAfter: Instant(read.notValidAfter))
  }

  private func readiness() -> [ReadinessMessage] {
    let (ring, time) = (federation.keys.ring, services.now())
    let laggards = Dictionary(rollover.laggards().map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let standings = Dictionary(rollover.standings(time).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    return federation.parties.parties.filter { !$0.disabled }.map { party in
      let record = rollover.ledger.record(of: party.id)
      let family = party.signatureAlgorithm.family
      let signer = ring.signer(for: party.id.description, family: family)?.id ?? "none"
      let next = ring.next(of: family).flatMap { $0.state == .published ? $0.id : nil }
      let asked = next ?? signer
      let standing = standings[party.id.description]
      let level = standing?.level(for: asked) ?? .unknown
      let laggard = laggards[party.name]
      return ReadinessMessage(
        relyingParty: party.name, family: family.rawValue, signer: signer, next: next, level: level.rawValue, readiness: level.word,
        ready: signer == asked && laggard == nil || standing?.isReady(for: asked) ?? false, blocked: record.blocks.last?.reason,
        what: laggard?.sentence,
        command: laggard?.command, deadline: laggard.flatMap { $0.deadline == Instant(milliseconds: .max) ? nil : $0.deadline },
        owner: party.rollover?.owner, ownMetadataUrl: federation.ownMetadataURL(of: party),
        confirmationUrl: next.map { federation.confirmationURL(of: party, key: $0) },
        evidence: record.evidence.map {
          .init(key: $0.key, level: $0.level.rawValue, readiness: $0.level.word, time: $0.time, detail: $0.detail)
        },
        pollers: record.pollers.map {
          .init(
            client: $0.client, polls: $0.count, last: $0.last, intervalSeconds: $0.interval?.components.seconds, isRegular: $0.isRegular,
            keys: $0.keys)
        })
    }
  }
}

extension SignOnServices {
  /// Where the relying party, and nobody else, reads our metadata.
  func ownMetadataURL(of party: RelyingParty) -> String {
    let token = keys.addressToken("metadata", party.id)
    // Who speaks WS-Federation only reads FederationMetadata.xml.
    guard party.usableConsumers.isEmpty, !party.replyAddresses.isEmpty else { return "\(identity.metadataURL)/\(party.name)/\(token)" }
    return identity.federationMetadataURL.replacing("/FederationMetadata.xml", with: "/\(party.name)/\(token)/FederationMetadata.xml")
  }
}
