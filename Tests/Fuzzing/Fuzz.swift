import Bytes
import Cryptography
import Federation
import Foundation
import Identity
import XMLSecurity

@testable import ActiveDirectory
@testable import PassThrough
@testable import SAML
@testable import WSFederation
@testable import Web

// One program for every parser of foreign bytes; the variable FUZZ_TARGET says which. Tests/Fuzzing/README.md says how it is built and run.

/// The parsers, each with what must hold besides "it does not trap".
enum FuzzTarget: String, CaseIterable {
  case json, proxy, token, verdict, question, link, hub, envelope, certificate, audit, name, address, diagnostic, xml, signature, decryption, saml,
    metadata, passive, trust, partner, pageform, evidence, planted

  func run(_ bytes: [UInt8]) {
    switch self {
    case .json:
      // What the scanner lets through, the decoder must take too: else the two disagree about what was said.
      if (try? JSONText(object: bytes)) != nil {
        check((try? JSONSerialization.jsonObject(with: Data(bytes))) != nil, "accepted, but no JSON for the decoder")
      }
    case .proxy:
      if case .header(_, let length) = ProxyHeader.parse(bytes) { check(length > 0 && length <= bytes.count, "a header longer than its bytes") }
    case .token:
      guard let text = StrictText.utf8(bytes), let token = try? EnrolmentToken(text) else { return }
      check((try? EnrolmentToken(token.text))?.text == token.text, "a token that does not read as it was written")
    case .verdict: _ = try? VerdictsRequest(message: bytes)
    case .question:
      guard let frame = try? QuestionFrame(message: bytes), let allowance = frame.allowance else { return }
      _ = frame.digest
      // The numbers of an allowance come from elsewhere: whatever they are, weighing them must not trap.
      for threshold in [0, 1, 3, 65_535] {
        let policy = DirectoryLockoutPolicy(threshold: threshold, window: .seconds(1800), lock: nil)
        _ = policy.decide(count: allowance.counted, allowance: allowance)
      }
    case .link:
      let data = Data(bytes)
      let decoder = JSONDecoder()
      _ = try? WorkRequest(message: bytes)
      _ = try? WorkResponse(message: bytes)
      _ = try? decoder.decode(Heartbeat.self, from: data)
      _ = try? decoder.decode(HeartbeatAnswer.self, from: data)
      _ = try? decoder.decode(VerdictsAnswer.self, from: data)
      // Only good signatures reach this reader, but an agent that was patched signs what it likes.
      if let body = try? VerdictBody(message: bytes), let realm = RealmName("contoso.com"),
        let judgement = body.judgement(of: .validate, realm: realm)
      {
        check((0...4).contains(judgement.uncertainTries), "more tries than can have been made")
        if case .accepted(let person) = judgement.verdict { check(person.object.realm == realm, "a yes about another realm") }
      }
    case .hub: HubFuzz().run(bytes)
    case .envelope: _ = try? JSONDecoder().decode(SealedEnvelope.self, from: Data(bytes))
    case .certificate: _ = AgentCertificate(der: bytes)
    case .audit:
      var verifier = AuditExportVerifier()
      guard (try? verifier.read(bytes)) != nil else { return }
      _ = try? verifier.finish()
    case .name:
      guard let text = StrictText.utf8(bytes), let name = UserName(text) else { return }
      check(UserName(name.countingKey).map { $0.countingKey == name.countingKey } ?? true, "a counting key that is not its own")
    case .address:
      guard let text = StrictText.utf8(bytes), let address = IPAddress(text) else { return }
      check(IPAddress(address.description) == address, "an address that does not read as it was written")
    case .diagnostic: _ = ActiveDirectoryDiagnostic(bytes)
    case .xml:
      guard let root = try? XMLElement.parse(bytes, limits: .message), let canonical = try? root.canonicalBytes() else { return }
      // Canonical form may be longer than the document was allowed to be, and declares namespaces more often.
      let again = (try? XMLElement.parse(canonical, limits: .metadata)).flatMap { try? $0.canonicalBytes() }
      check(again == canonical, "a canonical form that does not read as itself")
    case .signature: SignatureFuzz.shared?.verify(bytes)
    case .decryption: SignatureFuzz.shared?.decrypt(bytes)
    case .saml: saml(bytes)
    case .metadata:
      guard let root = try? XMLElement.parse(bytes, limits: .metadata), let metadata = try? ServiceProviderMetadata(root) else { return }
      check(!metadata.consumers.isEmpty && !metadata.entityID.isEmpty, "metadata without a name or a consumer")
      check((metadata.standardConsumer?.binding ?? Binding.post.rawValue) == Binding.post.rawValue, "a standard consumer that cannot be posted to")
    case .passive:
      guard let fields = try? FormFields(bytes), let request = try? PassiveRequest(fields) else { return }
      check(PassiveRequest.isOne(fields), "a request that is not known as one")
      check(request.action != .signIn || request.realm?.isEmpty == false, "a sign-in for nobody")
      check((request.context?.utf8.count ?? 0) <= PassiveRequest.longestContext, "a context that is too long")
      for (name, value) in [("wtrealm", request.realm), ("wreply", request.reply), ("wctx", request.context)] where value != nil {
        let named = fields.fields.filter { $0.name.utf8.elementsEqual(name.utf8) }
        check(named.count == 1 && named[0].value.utf8.elementsEqual((value ?? "").utf8), "a parameter that is not there once")
      }
    case .trust: trust(bytes)
    case .partner:
      guard let root = try? XMLElement.parse(bytes, limits: .metadata), let metadata = try? ServiceProviderMetadata(federation: root) else { return }
      check(!metadata.entityID.isEmpty, "metadata without a name")
      check(!metadata.consumers.isEmpty, "metadata that nobody can be answered by")
      check(metadata.consumers.allSatisfy { $0.location.utf8.count <= 2048 }, "an address of any length")
    case .pageform:
      guard let form = PageForm(bytes) else { return }
      _ = form.secret("password")
      // Whatever was typed comes back on the page: none of it as markup.
      let shown = Markup.escaped(form.value("userName") ?? "")
      check(!shown.utf8.contains { [0x22, 0x27, 0x3c, 0x3e].contains($0) }, "markup out of a form")
    case .evidence:
      // Neither the one form nor the other shows a certificate that is not in the bytes.
      let certificate = Array("a certificate that no document has".utf8)
      check(!ConfigurationEvidence.shows(bytes, certificate: certificate), "a certificate that nobody has was shown")
      let lacking = try? ConfigurationEvidence.entraDomains(lacking: certificate, of: ["contoso.com"], in: bytes)
      check(lacking == nil || lacking == ["contoso.com"], "a domain shows a certificate that nobody has")
    // Tells whether the build looks for anything at all: with instrumentation this falls within seconds.
    // One branch a byte: coverage leads from one to the next, chance alone would take years.
    case .planted:
      guard bytes.count >= 4 else { return }
      guard bytes[0] == UInt8(ascii: "g") else { return }
      guard bytes[1] == UInt8(ascii: "a") else { return }
      guard bytes[2] == UInt8(ascii: "t") else { return }
      check(bytes[3] != UInt8(ascii: "e"), "the planted fault was found")
    }
  }

  private func check(_ holds: Bool, _ what: String) { precondition(holds, what) }

  /// The bytes as an envelope at both endpoints. Whatever is wrong with them can be told.
  private func trust(_ bytes: [UInt8]) {
    for endpoint in TrustEndpoint.allCases where endpoint.isServed {
      do {
        let request = try SecurityTokenRequest(bytes, endpoint: endpoint)
        check((1...320).contains(request.userName.utf8.count) && (1...1024).contains(request.password.count), "a request of nobody")
        check((1...1024).contains(request.appliesTo.utf8.count), "a token for nobody")
        check((request.messageID?.utf8.count ?? 0) <= SecurityTokenRequest.longestMessageID, "a message ID that is too long")
        _ = request.timeFault(now: Instant(milliseconds: 1_795_000_000_000), window: .seconds(300))
        // The name stands in the bytes' one Username, in one piece.
        let security = try XMLElement.parse(bytes, limits: .message).only(FederationVocabulary.s("Header")).only(
          FederationVocabulary.wsse("Security"))
        let name = try security.only(FederationVocabulary.wsse("UsernameToken")).only(FederationVocabulary.wsse("Username")).text()
        check(name.utf8.elementsEqual(request.userName.utf8), "somebody who is not there")
      } catch let fault as TrustFault {
        let answer = try? TrustAnswer.fault(fault, text: "no", version: endpoint.version)
        check(answer.flatMap { try? XMLElement.parse($0, limits: .message) } != nil, "a fault that cannot be told")
      } catch { check(false, "a request that is read in two ways: \(error)") }
    }
  }

  /// The bytes as a query, as a form, and as the document itself of each message that is read here.
  private func saml(_ bytes: [UInt8]) {
    for message in [try? ReceivedMessage(query: bytes), try? ReceivedMessage(form: bytes)] {
      guard let message else { continue }
      check((message.relayState?.utf8.count ?? 0) <= ReceivedMessage.longestRelayState, "a relay state that is too long")
      _ = try? message.claimedIssuer
      _ = try? AuthnRequest(message.root)
      _ = try? LogoutRequest(message.root)
    }
    _ = try? SOAPEnvelope.body(bytes)
    guard let root = try? XMLElement.parse(bytes, limits: .message) else { return }
    if let request = try? AuthnRequest(root) {
      check((1...256).contains(request.head.id.utf8.count) && !request.head.issuer.isEmpty, "a request of nobody")
    }
    if let request = try? LogoutRequest(root) {
      check((request.name == nil) != (request.encryptedName == nil), "a logout of nobody")
      if let name = request.name {
        // What was read can be written, and reads the same again.
        let again = try? LogoutRequest(
          head: request.head, name: name, sessionIndexes: request.sessionIndexes, notOnOrAfter: request.notOnOrAfter, reason: request.reason
        ).written()
        let read = again.flatMap { try? XMLElement.parse($0.bytes, limits: .message) }.flatMap { try? LogoutRequest($0) }
        check(read?.name == name && read?.sessionIndexes == request.sessionIndexes, "a logout that does not read as it was written")
      }
    }
    _ = try? LogoutResponse(root)
  }
}

/// What agents may say to the hub, in any order: no question may be answered twice, or by whoever was not asked.
private struct HubFuzz {
  private var hub = HubState()
  private var open: [Identifier] = []
  private let agents = (1...3).compactMap { Identifier(bytes: [UInt8](repeating: UInt8($0), count: 16)) }

  func run(_ bytes: [UInt8]) {
    var copy = self
    copy.go(bytes)
  }

  private mutating func take(_ actions: [HubState.Action]) {
    for case .finish(let id, let judgement, _) in actions {
      guard let place = open.firstIndex(of: id) else { preconditionFailure("a question was answered twice") }
      open.remove(at: place)
      precondition((0...3).contains(judgement.uncertainTries), "more tries than agents that may be asked")
    }
  }

  private mutating func go(_ bytes: [UInt8]) {
    guard let realm = RealmName("contoso.com"), let user = UserName("alice"), let password = Password(Secret("x".utf8)) else { return }
    var now: HubTime = 0
    for (step, pair) in zip(bytes, bytes.dropFirst()).enumerated().prefix(400) {
      now += HubTime(pair.1)
      let agent = agents[Int(pair.1) % agents.count]
      let instance = agents[Int(pair.1 / 3) % agents.count]
      let mine = open.first { hub.expected($0, from: agent) != nil }
      switch pair.0 % 12 {
      case 0: take(hub.poll(step, agent: agent, realms: [realm], instance: instance, connection: UInt(pair.1 % 5), now: now))
      case 1: _ = hub.mayPoll(agent: agent, instance: instance, now: now)
      case 2:
        take(
          hub.beat(
            agent: agent, realms: [realm], now: now, draining: pair.1 % 7 == 0, alarms: [], software: "", clockSkewMilliseconds: 0,
            reportsStages: pair.1 % 2 == 0, instance: pair.1 % 3 == 0 ? nil : instance))
      case 3, 4, 5:
        let addressee: HubState.Addressee = pair.0 % 12 == 3 ? .only(agent) : pair.0 % 12 == 4 ? .another(than: agent) : .anyone
        let question = Question(realm: realm, userName: user, password: password, wanting: .none, deadline: Deadline(after: .seconds(1)))
        open.append(question.id)
        take(hub.ask(question, to: addressee, deadline: now + HubTime(pair.1) * 40, now: now, random: Int(pair.1)))
      case 6: if let mine { take(hub.answered(mine, by: agent, Judgement(.unknown(.directoryBusy)), now: now)) }
      case 7:
        let stages: [StageReport.Stage] = [.accepted, .bindSent, .returned]
        take(hub.stage(StageReport(question: mine ?? agent, stage: stages[Int(pair.1) % 3]), agent: agent, now: now).actions)
      case 8: take(hub.connectionGone(UInt(pair.1 % 5), agent: agent, now: now))
      case 9: take(pair.1 % 4 == 0 ? hub.drop(agent: agent, now: now) : hub.guardRealms(pair.1 % 3 == 0 ? [realm] : [], now: now))
      case 10: take(hub.prove(agent: agent, instance: instance, realm: realm, now: now))
      default: take(hub.tick(now: now))
      }
    }
    take(hub.tick(now: now + 1_000_000))
    precondition(open.isEmpty && hub.pendingCount == 0, "a question was forgotten")
  }
}

/// A signed and an encrypted document, and what becomes of them when somebody changes bytes. Also documents from nothing.
private struct SignatureFuzz {
  static let shared = try? SignatureFuzz()

  private let content: [UInt8]
  private let signed: [UInt8]
  private let encrypted: [UInt8]
  private let verifier: SignatureVerifier
  private let key: DecryptionKey

  private init() throws {
    let signingKey = try SigningKey.generate(.p256)
    key = try DecryptionKey.generate()
    let saml = CanonicalWriter.Namespace(prefix: "saml", uri: "urn:oasis:names:tc:SAML:2.0:assertion")
    var writer = CanonicalWriter()
    try writer.open(saml, "Assertion", [("ID", "_a")])
    writer.open(saml, "Issuer")
    try writer.text("issuer")
    writer.close()
    let place = writer.position
    writer.open(saml, "Subject")
    try writer.text("alice")
    content = writer.finish()
    let prepared = EnvelopedSignature.prepare(
      element: content, id: "_a", at: place, digest: .sha256, algorithm: .ecdsaSHA256, certificates: [])
    signed = prepared.finish(signature: try signingKey.sign(prepared.bytesToSign, with: .ecdsaSHA256))
    encrypted = try XMLEncryption.encrypt(content, to: try EncryptionKey(key.publicKey), certificate: nil)
    verifier = SignatureVerifier(keys: [signingKey.publicKey])
  }

  /// The bytes themselves, or, where they begin with 0, the good document with changes: place (two bytes), what happens there, a byte.
  private func document(_ bytes: [UInt8], _ good: [UInt8]) -> [UInt8] {
    guard bytes.first == 0 else { return bytes }
    var result = good
    var reader = ByteReader(bytes.dropFirst())
    while let place = reader.readInteger(UInt16.self), let kind = reader.readByte(), let byte = reader.readByte(), !result.isEmpty {
      let index = Int(place) % result.count
      switch kind % 4 {
      case 0: result[index] = byte
      case 1: result.insert(byte, at: index)
      case 2: result.remove(at: index)
      default: result.insert(contentsOf: Array(result.dropFirst(index).prefix(Int(byte))), at: Int(byte) % result.count)
      }
    }
    return result
  }

  func verify(_ bytes: [UInt8]) {
    guard let root = try? XMLElement.parse(document(bytes, signed), limits: .message), let found = try? verifier.verify(root) else { return }
    precondition((try? found.element.canonicalBytes()) == content, "a signature over something else than what was signed")
  }

  func decrypt(_ bytes: [UInt8]) {
    guard let root = try? XMLElement.parse(document(bytes, encrypted), limits: .message) else { return }
    guard let found = try? XMLEncryption.decrypt(root, keys: [key], limits: .message) else { return }
    precondition((try? found.canonicalBytes()) == content, "something else than what was encrypted")
  }
}

private let target: FuzzTarget = {
  guard let name = ProcessInfo.processInfo.environment["FUZZ_TARGET"], let target = FuzzTarget(rawValue: name) else {
    print("Set FUZZ_TARGET to one of: \(FuzzTarget.allCases.map(\.rawValue).joined(separator: " "))")
    exit(2)
  }
  return target
}()

/// What libFuzzer calls for every input; 0 means that it may keep it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  target.run(Array(UnsafeBufferPointer(start: data, count: count)))
  return 0
}
