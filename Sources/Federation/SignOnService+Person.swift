import Bytes
import Cryptography
import Identity
import Logging
import SAML
import WSFederation

/// How and from where somebody was signed in, before it is known for whom the token is.
struct SignInSource: Sendable {
  var method: String
  var authenticated: Instant
  var isKept: Bool
  var address: IPAddress?

  init(method: String, authenticated: Instant, isKept: Bool, address: IPAddress?) {
    self.method = method
    self.authenticated = authenticated
    self.isKept = isKept
    self.address = address
  }

  init(_ transaction: SignOnTransaction, _ session: Session, _ visit: VisitFacts) {
    self.init(method: transaction.contextClass, authenticated: session.authenticated, isKept: session.isKept, address: visit.address)
  }
}

/// What a relying party is told of a person: facts, name, permission.
extension SignOnService {
  /// Throws `ClaimProblem` where this identity provider has no name for the person's domain.
  func facts(of person: AcceptedPerson, _ party: RelyingParty, _ source: SignInSource) throws(ClaimProblem) -> PersonFacts {
    PersonFacts(
      person: person, domain: domain(person.object.realm),
      circumstances: SignInCircumstances(
        insideCorporateNetwork: identity.isInside(source.address), authenticationMethod: source.method, authenticated: source.authenticated,
        isKept: source.isKept, issuer: try party.passive.issuer(for: person.userPrincipalName, usual: identity.entityID),
        changePasswordURL: identity.changePasswordURL, now: now()))
  }

  /// What the directory must tell of a person for a relying party.
  package static func needs(of party: RelyingParty) -> AttributeRequest { ClaimTable.needs(party) }

  /// The assertion that would be issued for somebody now, unsigned and in plain. Nothing is stored: where a persistent name would be made, a sample stands.
  /// Throws `ClaimProblem` or `MessageFault` where none would be issued.
  package func preview(_ party: RelyingParty, person: AcceptedPerson) async throws -> [UInt8] {
    let isPassive = party.usableConsumers.isEmpty && !party.replyAddresses.isEmpty
    let time = now()
    let source = SignInSource(
      method: isPassive ? SignOnService.passwordMethod(party.passive.tokenType) : AuthnContextClass.passwordProtectedTransport,
      authenticated: time, isKept: false, address: nil)
    let facts = try self.facts(of: person, party, source)
    guard SignOnService.permits(party, facts) else { throw ClaimProblem(detail: "the person is in none of the groups that may use \(party.name)") }
    if isPassive { return try await previewPassive(party, facts) }
    guard let consumer = party.standardConsumer else { throw ClaimProblem(detail: "\(party.name) has no consumer service for HTTP-POST") }
    let name = try await sampleName(party, facts)
    return try TokenIssuer(entityID: identity.entityID, now: time).content(
      TokenOrder(
        prepared: PreparedParty(party), facts: facts, name: name, encryptsName: false, consumer: consumer.location, inResponseTo: nil,
        relayState: nil, contextClass: source.method, authenticated: time, sessionIndex: TokenIssuer.makeID(),
        sessionEnds: time.adding(.seconds(8 * 3600))), subject: .plain(name)
    ).written().bytes
  }

  /// The person's name at a relying party, with a sample where it would be made at the first sign-in. Throws `ClaimProblem` where there would be none.
  func sampleName(_ party: RelyingParty, _ facts: PersonFacts) async throws -> NameID {
    var transaction = SignOnTransaction(kind: .unsolicited, began: now(), browser: [])
    transaction.mayCreateName = false
    if let name = try await makeName(transaction, party, facts) { return name }
    guard party.nameID.format == .persistent, party.nameID.source == nil else {
      throw ClaimProblem(detail: "the person has no value for a name of the format \(party.nameID.format.word)")
    }
    return NameID(
      "(made at the first sign-in)", format: NameIDFormat.persistent.rawValue, nameQualifier: identity.entityID, spNameQualifier: party.entityID)
  }

  /// Of this session at this relying party, and of no other; tells nobody anything about either.
  static func sessionIndex(_ session: Session, _ party: Identifier) -> String {
    "_" + Digests.sha256(Array("session index 1".utf8) + session.digest + party.bytes).prefix(16).hexadecimal
  }

  /// The person's name for the relying party; nil where it cannot be had.
  func makeName(_ transaction: SignOnTransaction, _ party: RelyingParty, _ facts: PersonFacts) async throws -> NameID? {
    let format = transaction.nameFormat ?? party.nameID.format
    switch format {
    case .unspecified:
      let source = party.nameID.source ?? .userPrincipalName
      return facts.values(of: source).first.map { NameID($0, format: format.rawValue) }
    case .emailAddress: return facts.mail.map { NameID($0, format: format.rawValue) }
    case .windowsDomainQualifiedName: return facts.windowsAccountName.map { NameID($0, format: format.rawValue) }
    case .transient:
      return NameID(
        TokenIssuer.makeID(), format: format.rawValue, nameQualifier: identity.entityID, spNameQualifier: party.entityID)
    case .persistent:
      let value: String
      if let source = party.nameID.source {
        guard let told = facts.values(of: source).first, told.utf8.count <= 256 else { return nil }
        value = told
      } else if let known = try await store.persistentName(of: facts.person.object, at: party.id) {
        value = known
      } else {
        // Core 3.4.1.1 (AllowCreate): a new one only where the relying party agrees.
        guard transaction.mayCreateName else { return nil }
        let made = RandomBytes.generate(20).hexadecimal
        let event = AuditEvent(
          time: now(), kind: .persistentNameMade, actor: "gatehouse", realm: facts.person.object.realm, subject: party.name,
          object: facts.person.object.id, outcome: "done")
        value = try await store.makePersistentName(made, of: facts.person.object, at: party.id, audit: [event])
      }
      return NameID(value, format: format.rawValue, nameQualifier: identity.entityID, spNameQualifier: party.entityID)
    }
  }

  static func isSame(_ asked: NameID, _ own: NameID, identity: String, party: String) -> Bool {
    func agrees(_ qualifier: String?, _ expected: String) -> Bool { qualifier.map { $0.utf8.elementsEqual(expected.utf8) } ?? true }
    let format = asked.format ?? NameIDFormat.unspecified.rawValue
    return asked.value.utf8.elementsEqual(own.value.utf8) && (format == NameIDFormat.unspecified.rawValue || format == own.format)
      && agrees(asked.nameQualifier, identity) && agrees(asked.spNameQualifier, party)
  }

  static func permits(_ party: RelyingParty, _ facts: PersonFacts) -> Bool {
    guard !party.permittedGroups.isEmpty else { return true }
    guard let groups = facts.groups else { return false }
    // Distinguished names have no case in AD; a group more that looks alike is none that exists.
    let own = Set(groups.map { asciiLowercased($0) })
    return party.permittedGroups.contains { own.contains(asciiLowercased($0)) }
  }
}
