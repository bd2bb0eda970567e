import Bytes
import Crypto
import Cryptography
import Foundation
import GatehouseTesting
import Identity
import Logging
import SAML
import Synchronization
import Testing
import XMLSecurity

@testable import Federation

/// The federation side of a gateway over a store in memory, with a clock that stands still.
struct House: Sendable {
  static let publicURL = "https://idp.example"
  static let entityID = "https://idp.example/saml/metadata"
  static let signOnURL = "https://idp.example/adfs/ls/"
  static let browser = [UInt8](repeating: 7, count: 32)
  static let otherBrowser = [UInt8](repeating: 8, count: 32)

  let store = InMemoryStore()
  let time = ManualTime(Instant(milliseconds: 1_795_000_000_000))
  let identity = FederationIdentity(publicURL: House.publicURL, settings: FederationSettings(entityID: House.entityID))
  let keys: TokenSigningKeys
  let parties: RelyingPartyDirectory
  let channel = RecordedBackChannel()
  let fetcher = ScriptedFetcher()
  /// What the directory would tell of a session's person.
  let described = Mutexed<AcceptedPerson?>(nil)
  /// Runs while a person is described, which is while a token is made.
  let whileDescribing = Mutexed<(@Sendable () async throws -> Void)?>(nil)
  let signOn: SignOnService
  let logout: LogoutService
  let metadata: MetadataService

  init() async throws {
    let logger = Logger(label: "test") { _ in SilentLog() }
    try await SharedKeys.put(into: store, now: time.reading)
    keys = try await TokenSigningKeys.load(store: store, protector: TestProtector(), host: "idp.example", now: time.reading)
    parties = RelyingPartyDirectory(store: store)
    let (described, whileDescribing) = (described, whileDescribing)
    signOn = SignOnService(
      parties: parties, keys: keys, store: store, audit: store, identity: identity, domain: { _ in "contoso" },
      describe: { _, _ in
        try? await whileDescribing.value?()
        return described.value
      }, now: time.reading, logger: logger)
    logout = LogoutService(
      parties: parties, keys: keys, store: store, sessions: store, audit: store, identity: identity, backChannel: channel, now: time.reading,
      logger: logger)
    metadata = MetadataService(
      parties: parties, partyStore: store, keys: keys, identity: identity, fetcher: fetcher, displayName: "Contoso", contactMail: "a@contoso.com",
      now: time.reading,
      logger: logger)
  }

  /// Registers `name`, changed as the test wants it.
  @discardableResult
  func register(_ name: String = "wiki", kind: SigningKey.Kind = .p256, _ change: (inout RelyingParty) -> Void = { _ in }) async throws
    -> TestServiceProvider
  {
    let provider = try TestServiceProvider(name, kind: kind, now: time.now)
    var party = provider.registration(name)
    change(&party)
    try await store.add(party, audit: [])
    try await parties.refresh()
    return provider
  }

  func change(_ name: String, _ change: (inout RelyingParty) -> Void) async throws {
    var party = try party(name)
    change(&party)
    try await store.update(party, audit: [])
    try await parties.refresh()
  }

  func party(_ name: String = "wiki") throws -> RelyingParty { try #require(parties.party(named: name)) }

  static func person(_ byte: UInt8 = 1, attributes: [String: [String]] = ["mail": ["alice@contoso.com"]], groups: [String]? = []) throws
    -> AcceptedPerson
  {
    AcceptedPerson(
      object: DirectoryObject(
        realm: try #require(RealmName("contoso.com")), id: try #require(Identifier(bytes: [UInt8](repeating: byte, count: 16)))),
      immutableID: "aW1tdXRhYmxl", userPrincipalName: "alice@contoso.com", attributes: attributes, groups: groups)
  }

  /// Begins a session of somebody.
  func session(_ person: AcceptedPerson? = nil, digest: UInt8 = 1, life: Duration = .seconds(28_800)) async throws -> Session {
    let session = Session(
      digest: [UInt8](repeating: digest, count: 32), person: try person ?? House.person(), userName: "alice", authenticated: time.now,
      ends: time.now.adding(life), isKept: false)
    #expect(try await store.begin(session, replacing: nil, audit: []))
    return session
  }

  func events(_ kind: AuditKind) async -> [AuditEvent] { await store.events.filter { $0.kind == kind } }

  /// A request of the relying party by Redirect.
  func request(
    _ provider: TestServiceProvider, id: String = "_request", attributes: String = "", content: String = "", destination: String? = House.signOnURL,
    relayState: String? = nil,
    signs: Bool = true, version: String = "2.0", at instant: Instant? = nil
  ) throws -> ReceivedMessage {
    let document = provider.message(
      "AuthnRequest", id: id, at: instant ?? time.now, destination: destination, version: version, attributes: attributes, content: content)
    return try ReceivedMessage(query: try provider.redirect(document, relayState: relayState, signs: signs))
  }

  /// Asks with a session, and answers what the relying party gets.
  func answer(_ message: ReceivedMessage, _ session: Session?, browser: [UInt8] = House.browser) async throws -> Answer {
    try Answer(await signOn.receive(message, session: session, browser: browser))
  }
}

/// What a relying party gets by the browser.
struct Answer {
  let form: PostForm
  let root: XMLElement

  struct None: Error { var step: String }

  init(_ step: SignOnStep) throws {
    guard case .post(let form) = step else { throw None(step: "\(step)") }
    self.form = form
    let text = try #require(form.fields.first { $0.name == "SAMLResponse" }).value
    root = try XMLElement.parse(try #require(StrictText.base64(text)), limits: .message)
  }

  static func saml(_ local: String) -> XMLName { XMLName(Vocabulary.assertionNamespace, local) }
  static func samlp(_ local: String) -> XMLName { XMLName(Vocabulary.protocolNamespace, local) }

  var relayState: String? { form.fields.first { $0.name == "RelayState" }?.value }
  var assertion: XMLElement? { root.children(Answer.saml("Assertion")).first }
  var inResponseTo: String? { root.attribute("InResponseTo") }

  var code: String? { root.children(Answer.samlp("Status")).first?.elements.first?.attribute("Value") }
  var detail: String? { root.children(Answer.samlp("Status")).first?.elements.first?.elements.first?.attribute("Value") }

  func isDeclined(_ code: Status.Code, _ detail: Status.Detail?) -> Bool {
    assertion == nil && root.children(Answer.saml("EncryptedAssertion")).isEmpty && self.code == code.rawValue && self.detail == detail?.rawValue
  }

  var subject: XMLElement? { assertion?.children(Answer.saml("Subject")).first }
  var nameElement: XMLElement? { subject?.children(Answer.saml("NameID")).first }
  var name: String? { try? nameElement?.text() }
  var statement: XMLElement? { assertion?.children(Answer.saml("AuthnStatement")).first }
  var contextClass: String? { try? statement?.elements.first?.elements.first?.text() }

  /// Name → values.
  var attributes: [String: [String]] {
    var result: [String: [String]] = [:]
    for attribute in assertion?.children(Answer.saml("AttributeStatement")).first?.elements ?? [] {
      result[attribute.attribute("Name") ?? ""] = attribute.elements.map { (try? $0.text()) ?? "" }
    }
    return result
  }

  static func elements(_ root: XMLElement) -> Int { 1 + root.elements.map(elements).reduce(0, +) }
}

/// Why a page of our own was shown; nil where none was.
func refusal(_ step: SignOnStep) -> PageRefusal.Reason? {
  if case .refused(let page) = step { page.reason } else { nil }
}

func refusal(_ step: LogoutStep) -> PageRefusal.Reason? {
  if case .refused(let page) = step { page.reason } else { nil }
}

/// A value that several tasks read and change.
final class Mutexed<Value: Sendable>: Sendable {
  private let mutex: Mutex<Value>
  init(_ value: Value) { mutex = Mutex<Value>(value) }
  var value: Value { mutex.withLock { $0 } }
  func set(_ value: Value) { mutex.withLock { $0 = value } }
  func change(_ work: (inout Value) -> Void) { mutex.withLock { work(&$0) } }
}

/// Answers a back channel as the test wants, and remembers what was sent.
final class RecordedBackChannel: BackChannel {
  let sent = Mutexed<[(url: String, envelope: [UInt8])]>([])
  let answer = Mutexed<(@Sendable ([UInt8]) throws -> [UInt8])?>(nil)

  func post(soap envelope: [UInt8], to url: String, timeout: Duration) async throws -> [UInt8] {
    sent.change { $0.append((url, envelope)) }
    guard let answer = answer.value else { throw MetadataProblem("nobody answers") }
    return try answer(envelope)
  }
}

/// Gives documents as the test wants.
final class ScriptedFetcher: MetadataFetcher {
  let documents = Mutexed<[String: [UInt8]]>([:])
  let asked = Mutexed<[String]>([])

  func fetch(_ url: String, limit: Int, timeout: Duration) async throws -> [UInt8] {
    asked.change { $0.append(url) }
    guard let document = documents.value[url] else { throw MetadataProblem("nobody answers") }
    return document
  }
}

/// AES-GCM with the context as additional data, under a key of the tests.
struct TestProtector: SecretProtector {
  var key = SymmetricKey(data: [UInt8](repeating: 42, count: 32))

  func protect(_ secret: Secret, context: String) throws -> [UInt8] {
    let sealed = try secret.withBytes { try AES.GCM.seal(Array($0), using: key, authenticating: Array(context.utf8)) }
    return Array(sealed.combined ?? Data())
  }

  func reveal(_ ciphertext: [UInt8], context: String) throws -> Secret {
    Secret(Array(try AES.GCM.open(try AES.GCM.SealedBox(combined: ciphertext), using: key, authenticating: Array(context.utf8))))
  }
}

/// The token-signing keys are made once for all tests: RSA takes its time.
private enum SharedKeys {
  private static let document = Mutexed<ProtectedDocument?>(nil)

  static func put(into store: InMemoryStore, now: @escaping @Sendable () -> Instant) async throws {
    if document.value == nil {
      let first = InMemoryStore()
      _ = try await TokenSigningKeys.load(store: first, protector: TestProtector(), host: "idp.example", now: now)
      document.set(try await first.document("token-signing-keys"))
    }
    var copy = try #require(document.value)
    copy.version = 0
    try await store.putDocument(copy, audit: [])
  }
}

/// Writes nothing.
struct SilentLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.critical
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }
  func log(event: LogEvent) {}
}
