import Bytes
import Cryptography
import GatehouseTesting
import Identity
import SAML
import Testing
import XMLSecurity

@testable import Federation

@Suite struct `Signing on` {
  private func transaction(_ step: SignOnStep) throws -> SignOnTransaction {
    guard case .signIn(let transaction) = step else { throw Answer.None(step: "\(step)") }
    return transaction
  }

  @Test func `asks for a password, and then answers the relying party`() async throws {
    let house = try await House()
    let provider = try await house.register()
    let message = try house.request(provider, relayState: "a\"b<c")
    let transaction = try transaction(await house.signOn.receive(message, session: nil, browser: House.browser))
    #expect(transaction.kind == .saml && transaction.request == "_request" && transaction.consumer == "https://wiki.example/acs")
    #expect(transaction.browser == House.browser && transaction.freshSince == nil && transaction.hint == nil)
    house.time.advance(by: .seconds(30))
    let session = try await house.session()
    let answer = try Answer(await house.signOn.finish(transaction, session: session))
    #expect(answer.form.action == "https://wiki.example/acs")
    #expect(answer.relayState == "a\"b<c")
    #expect(answer.inResponseTo == "_request")
    #expect(answer.root.attribute("Destination") == "https://wiki.example/acs")
    #expect(answer.code == Status.Code.success.rawValue)
    #expect(answer.statement?.attribute("AuthnInstant") == session.authenticated.description)
    #expect(answer.statement?.attribute("SessionNotOnOrAfter") == session.ends.description)
    #expect(answer.contextClass == AuthnContextClass.passwordProtectedTransport)
    let assertion = try #require(answer.assertion)
    let data = try #require(answer.subject?.children(Answer.saml("SubjectConfirmation")).first?.elements.first)
    #expect(
      data.attribute("Recipient") == "https://wiki.example/acs" && data.attribute("InResponseTo") == "_request" && data.attribute("NotBefore") == nil)
    #expect(data.attribute("NotOnOrAfter") == house.time.now.adding(.seconds(300)).description)
    let conditions = try #require(assertion.children(Answer.saml("Conditions")).first)
    #expect(conditions.attribute("NotBefore") == house.time.now.description)
    #expect(conditions.attribute("NotOnOrAfter") == house.time.now.adding(.seconds(3600)).description)
    #expect(try conditions.elements.first?.elements.map { try $0.text() } == [provider.entityID])
    #expect(try assertion.children(Answer.saml("Issuer")).map { try $0.text() } == [House.entityID])
    // Both are signed by the key that metadata shows.
    let key = try VerificationKey(certificate: try #require(house.keys.published().first?.certificate))
    #expect(try SignatureVerifier(keys: [key]).verify(answer.root).element.name == Answer.samlp("Response"))
    #expect(
      try SignatureVerifier(keys: [key]).verify(try XMLElement.parse(try assertion.canonicalBytes(), limits: .message)).element.name
        == Answer.saml("Assertion"))
  }

  @Test func `answers out of a session, with the time of its password`() async throws {
    let house = try await House()
    let provider = try await house.register()
    let session = try await house.session()
    house.time.advance(by: .seconds(3600))
    let answer = try await house.answer(try house.request(provider), session)
    #expect(answer.statement?.attribute("AuthnInstant") == session.authenticated.description)
  }

  @Test func `with ForceAuthn answers out of no earlier session`() async throws {
    let house = try await House()
    let provider = try await house.register()
    let old = try await house.session()
    house.time.advance(by: .seconds(1))
    let forced = try transaction(
      await house.signOn.receive(try house.request(provider, attributes: " ForceAuthn=\"true\""), session: old, browser: House.browser))
    #expect(forced.freshSince == house.time.now)
    #expect(try transaction(await house.signOn.finish(forced, session: old)) == forced)
    house.time.advance(by: .seconds(10))
    let fresh = try await house.session(digest: 2)
    #expect(try Answer(await house.signOn.finish(forced, session: fresh)).statement?.attribute("AuthnInstant") == house.time.now.description)
  }

  @Test func `with IsPassive shows nothing`() async throws {
    let house = try await House()
    let provider = try await house.register()
    let without = try await house.answer(try house.request(provider, id: "_a", attributes: " IsPassive=\"true\"", relayState: "r"), nil)
    #expect(without.isDeclined(.responder, .noPassive))
    #expect(without.inResponseTo == "_a" && without.relayState == "r")
    // saml2int: an answer without an assertion is signed all the same.
    let key = try VerificationKey(certificate: try #require(house.keys.published().first?.certificate))
    #expect(try SignatureVerifier(keys: [key]).verify(without.root).element.name == Answer.samlp("Response"))
    let with = try await house.answer(try house.request(provider, id: "_b", attributes: " IsPassive=\"true\""), try await house.session())
    #expect(with.assertion != nil)
    let both = try await house.answer(
      try house.request(provider, id: "_c", attributes: " IsPassive=\"true\" ForceAuthn=\"true\""), try await house.session(digest: 2))
    #expect(both.isDeclined(.responder, .noPassive))
  }

  private static let persistent = "<samlp:NameIDPolicy Format=\"\(NameIDFormat.persistent.rawValue)\" AllowCreate=\"true\"/>"
  private static let persistentIfKnown = "<samlp:NameIDPolicy Format=\"\(NameIDFormat.persistent.rawValue)\"/>"

  @Test func `makes a persistent name where it may, once, and another for every relying party`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let shop = try await house.register("shop")
    let session = try await house.session()
    let refused = try await house.answer(try house.request(wiki, id: "_a", content: Self.persistentIfKnown), session)
    #expect(refused.isDeclined(.requester, .invalidNameIDPolicy))
    #expect(await house.events(.persistentNameMade).isEmpty)
    let first = try await house.answer(try house.request(wiki, id: "_b", content: Self.persistent), session)
    let name = try #require(first.name)
    #expect(name.utf8.count >= 32 && name.utf8.count <= 256 && !name.contains("alice"))
    #expect(first.nameElement?.attribute("NameQualifier") == House.entityID && first.nameElement?.attribute("SPNameQualifier") == wiki.entityID)
    // Known now: whoever does not let one be made gets it too.
    #expect(try await house.answer(try house.request(wiki, id: "_c", content: Self.persistentIfKnown), session).name == name)
    let other = try await house.answer(try house.request(shop, content: Self.persistent), session)
    #expect(other.name != name)
    #expect(await house.events(.persistentNameMade).count == 2)
    let bob = try await house.session(try House.person(2), digest: 2)
    let bobs = try await house.answer(try house.request(wiki, id: "_d", content: Self.persistent), bob)
    #expect(bobs.name != name)
    // Never reassigned: alice's is alice's after everything.
    #expect(try await house.answer(try house.request(wiki, id: "_e", content: Self.persistent), session).name == name)
  }

  @Test func `makes one persistent name where two ask at once`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let session = try await house.session()
    let messages = try (0..<16).map { try house.request(wiki, id: "_\($0)", content: Self.persistent) }
    let names = try await withThrowingTaskGroup(of: String?.self) { group in
      for message in messages { group.addTask { try await house.answer(message, session).name } }
      return try await group.reduce(into: Set<String?>()) { $0.insert($1) }
    }
    #expect(names.count == 1)
    #expect(await house.events(.persistentNameMade).count == 1)
  }

  @Test func `makes a transient name anew every time`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki") { $0.nameID = NameIDRule(format: .transient) }
    let session = try await house.session()
    var names: Set<String> = []
    for index in 0..<5 { names.insert(try #require(try await house.answer(try house.request(wiki, id: "_\(index)"), session).name)) }
    #expect(names.count == 5)
    #expect(names.allSatisfy { $0.utf8.count == 33 && $0.hasPrefix("_") })
  }

  @Test func `gives names of the other formats out of what is known of the person`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let session = try await house.session(try House.person(attributes: ["MAIL": ["alice@contoso.com"], "sAMAccountName": ["alice"]]))
    func name(_ format: NameIDFormat) async throws -> Answer {
      try await house.answer(try house.request(wiki, id: "_\(format.word)", content: "<samlp:NameIDPolicy Format=\"\(format.rawValue)\"/>"), session)
    }
    #expect(try await name(.emailAddress).name == "alice@contoso.com")
    #expect(try await name(.windowsDomainQualifiedName).name == "CONTOSO\\alice")
    #expect(try await name(.unspecified).name == "alice@contoso.com")
    let nobody = try await house.session(try House.person(3, attributes: [:]), digest: 3)
    let without = try await house.answer(
      try house.request(wiki, id: "_none", content: "<samlp:NameIDPolicy Format=\"\(NameIDFormat.emailAddress.rawValue)\"/>"), nobody)
    #expect(without.isDeclined(.requester, .invalidNameIDPolicy))
  }

  @Test func `takes a persistent name from the directory where that is its rule`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki") { $0.nameID = NameIDRule(format: .persistent, source: .immutableID) }
    #expect(try await house.answer(try house.request(wiki), try await house.session()).name == "aW1tdXRhYmxl")
    #expect(await house.events(.persistentNameMade).isEmpty)
  }

  @Test func `answers about the one whom the request names, or about nobody`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let session = try await house.session()
    func ask(_ id: String, _ name: String) async throws -> Answer {
      try await house.answer(try house.request(wiki, id: id, content: "<saml:Subject>\(name)</saml:Subject>"), session)
    }
    #expect(try await ask("_a", "<saml:NameID>alice@contoso.com</saml:NameID>").assertion != nil)
    let wrong = [
      "<saml:NameID>bob@contoso.com</saml:NameID>", "<saml:NameID>Alice@contoso.com</saml:NameID>", "<saml:NameID>alice@contoso.com </saml:NameID>",
      "<saml:NameID Format=\"\(NameIDFormat.persistent.rawValue)\">alice@contoso.com</saml:NameID>",
      "<saml:NameID SPNameQualifier=\"https://other.example\">alice@contoso.com</saml:NameID>",
      "<saml:NameID NameQualifier=\"https://other.example\">alice@contoso.com</saml:NameID>",
    ]
    for (index, name) in wrong.enumerated() { #expect(try await ask("_\(index)", name).isDeclined(.responder, .unknownPrincipal)) }
    // The page shows the name that was asked for.
    let message = try house.request(wiki, id: "_hint", content: "<saml:Subject><saml:NameID>bob@contoso.com</saml:NameID></saml:Subject>")
    #expect(try transaction(await house.signOn.receive(message, session: nil, browser: House.browser)).hint == "bob@contoso.com")
  }

  @Test func `gives no token to who is in none of the permitted groups`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki") { $0.permittedGroups = ["CN=Staff,DC=contoso,DC=com"] }
    for (byte, groups, passes) in [
      (1, ["cn=staff,dc=contoso,dc=com"], true), (2, ["CN=Staff,DC=fabrikam,DC=com"], false), (3, [], false), (4, nil, false),
      (5, ["CN=Other", "CN=STAFF,DC=contoso,DC=com"], true),
    ] as [(UInt8, [String]?, Bool)] {
      let session = try await house.session(try House.person(byte, groups: groups), digest: byte)
      let answer = try await house.answer(try house.request(wiki, id: "_\(byte)"), session)
      #expect(passes ? answer.assertion != nil : answer.isDeclined(.responder, .requestDenied))
    }
  }

  @Test func `issues nothing for a session that ended meanwhile`() async throws {
    let house = try await House()
    // A claim that the session does not hold is asked of the directory while the token is made.
    let wiki = try await house.register("wiki") { $0.claims = [ClaimRule(name: "dept", sources: [.directory("department")])] }
    let session = try await house.session()
    let store = house.store
    house.whileDescribing.set { _ = try await store.end(session: session.digest, audit: []) }
    // At the sign-in it had no room among the 64 attributes that others want more.
    for name in ["crowd", "throng"] {
      try await house.register(name) { $0.claims = (0..<64).map { ClaimRule(name: "c\($0)", sources: [.directory("aa\($0)")]) } }
    }
    #expect(!house.parties.attributeRequest.attributes.contains("department"))
    let step = await house.signOn.receive(try house.request(wiki), session: session, browser: House.browser)
    _ = try transaction(step)
    #expect(await house.events(.tokenIssued).isEmpty)
  }

  @Test func `issues nothing where the registration changed while the person typed`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let begun = try transaction(await house.signOn.receive(try house.request(wiki), session: nil, browser: House.browser))
    let session = try await house.session()
    try await house.change("wiki") { $0.disabled = true }
    #expect(refusal(await house.signOn.finish(begun, session: session)) == .partyDisabled)
    try await house.change("wiki") {
      $0.disabled = false; $0.consumers = [.init(binding: Binding.post.rawValue, location: "https://wiki.example/new")]
    }
    #expect(refusal(await house.signOn.finish(begun, session: session)) == .consumerNotRegistered)
    try await house.change("wiki") { $0.consumers = [.init(binding: Binding.redirect.rawValue, location: "https://wiki.example/acs")] }
    #expect(refusal(await house.signOn.finish(begun, session: session)) == .consumerNotRegistered)
    try await house.store.remove(relyingParty: try house.party().id, audit: [])
    try await house.parties.refresh()
    #expect(refusal(await house.signOn.finish(begun, session: session)) == .unknownParty)
    #expect(await house.events(.tokenIssued).isEmpty)
  }

  @Test func `takes a signed request again from the same browser, and from no other, however often`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let session = try await house.session()
    let message = try house.request(wiki)
    for _ in 0..<3 { #expect(try await house.answer(message, session).assertion != nil) }
    for _ in 0..<3 {
      #expect(refusal(await house.signOn.receive(message, session: session, browser: House.otherBrowser)) == .repeated)
      #expect(refusal(await house.signOn.receive(message, session: nil, browser: House.otherBrowser)) == .repeated)
    }
    #expect(try await house.answer(message, session).assertion != nil)
    // Another relying party may use the same ID.
    let shop = try await house.register("shop")
    #expect(try await house.answer(try house.request(shop), session, browser: House.otherBrowser).assertion != nil)
    // Unsigned ones prove nothing by being new.
    let unsigned = try house.request(wiki, id: "_u", signs: false)
    for browser in [House.browser, House.otherBrowser] { #expect(try await house.answer(unsigned, session, browser: browser).assertion != nil) }
  }

  @Test func `issues nothing that it cannot record`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let session = try await house.session()
    await house.store.fail(with: .unavailable("down"))
    #expect(refusal(await house.signOn.receive(try house.request(wiki), session: session, browser: House.browser)) == .unavailable)
    #expect(refusal(await house.signOn.receive(try house.request(wiki, signs: false), session: session, browser: House.browser)) == .unavailable)
    await house.store.fail(with: nil)
    #expect(await house.events(.tokenIssued).isEmpty)
  }

  @Test(arguments: SignedParts.allCases) func `records every token with the digest of its assertion`(_ parts: SignedParts) async throws {
    let house = try await House()
    let wiki = try await house.register("wiki") { $0.signs = parts }
    let session = try await house.session()
    for index in 0..<3 {
      let answer = try await house.answer(try house.request(wiki, id: "_\(index)"), session)
      let assertion = try #require(answer.assertion)
      let event = try #require(await house.events(.tokenIssued).last)
      #expect(event.subject == assertion.attribute("ID"))
      #expect(event.details["digest"] == Digests.sha256(try assertion.canonicalBytes()).hexadecimal)
      #expect(
        event.details["request"] == "_\(index)" && event.details["consumer"] == "https://wiki.example/acs"
          && event.details["relyingParty"] == wiki.entityID)
      #expect(event.object == session.person.object.id)
      // What is signed is what the registration says.
      let names = { (element: XMLElement) in element.elements.contains { $0.name.local == "Signature" } }
      #expect(names(answer.root) == parts.includesResponse && names(assertion) == parts.includesAssertion)
    }
    #expect(await house.events(.tokenIssued).count == 3)
    #expect(try await house.store.participants(of: session.digest).count == 1)
  }

  @Test(arguments: [EncryptedParts.assertion, .name]) func `hides what the registration says from everybody else`(_ parts: EncryptedParts)
    async throws
  {
    let house = try await House()
    let wiki = try await house.register("wiki") { $0.encrypts = parts }
    let key = try SigningKey.generate(.rsa2048)
    let certificate = try SelfSignedCertificate.make(
      key: key, commonName: "e", notBefore: house.time.now, notAfter: house.time.now.adding(.seconds(1000)))
    let session = try await house.session()
    // Without a key nothing is sent at all.
    #expect(refusal(await house.signOn.receive(try house.request(wiki, id: "_a"), session: session, browser: House.browser)) == .noToken)
    try await house.change("wiki") { $0.encryptionCertificates = [certificate] }
    let answer = try await house.answer(try house.request(wiki, id: "_b"), session)
    let text = String(decoding: try answer.root.canonicalBytes(), as: UTF8.self)
    #expect(!text.contains(">alice@contoso.com</saml:NameID>"))
    let decryption = try DecryptionKey(pkcs8: try key.pkcs8)
    if parts == .assertion {
      let hidden = try #require(answer.root.children(Answer.saml("EncryptedAssertion")).first)
      let assertion = try XMLEncryption.decrypt(hidden, keys: [decryption], limits: .message)
      #expect(assertion.name == Answer.saml("Assertion"))
      #expect(await house.events(.tokenIssued).last?.details["digest"] == Digests.sha256(try assertion.canonicalBytes()).hexadecimal)
    } else {
      let hidden = try #require(answer.subject?.children(Answer.saml("EncryptedID")).first)
      #expect(try NameID(encrypted: hidden, keys: [decryption]).value == "alice@contoso.com")
    }
  }

  @Test func `records every refusal with its checks`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let message = try house.request(wiki, attributes: " AssertionConsumerServiceURL=\"https://evil.example/\"")
    #expect(refusal(await house.signOn.receive(message, session: nil, browser: House.browser)) == .consumerNotRegistered)
    let event = try #require(await house.events(.tokenRefused).last)
    #expect(event.outcome == "refused:consumerNotRegistered" && event.actor == "wiki" && event.reference != nil)
    #expect(event.trace.contains { $0.detail.hasPrefix("consumer.registered: ") })
    let declined = try await house.answer(try house.request(wiki, id: "_p", attributes: " IsPassive=\"true\""), nil)
    #expect(declined.assertion == nil)
    #expect(await house.events(.tokenRefused).count == 2)
  }

  @Test func `begins here where the relying party allows it`() async throws {
    let house = try await House()
    let wiki = try await house.register("wiki")
    let session = try await house.session()
    func begin(_ name: String, relayState: String? = nil) async -> SignOnStep {
      await house.signOn.unsolicited(name, relayState: relayState, session: session, browser: House.browser)
    }
    #expect(refusal(await begin("wiki")) == .unsolicitedNotAllowed)
    #expect(refusal(await begin("nobody")) == .unknownParty)
    try await house.change("wiki") { $0.allowsUnsolicited = true }
    for name in ["wiki", wiki.entityID] {
      let answer = try Answer(await begin(name, relayState: "x"))
      #expect(answer.inResponseTo == nil && answer.relayState == "x" && answer.form.action == "https://wiki.example/acs")
      #expect(!String(decoding: try answer.root.canonicalBytes(), as: UTF8.self).contains("InResponseTo"))
    }
    #expect(refusal(await begin("wiki", relayState: String(repeating: "x", count: 4097))) == .malformed)
    try await house.change("wiki") { $0.permittedGroups = ["CN=Staff"] }
    #expect(refusal(await begin("wiki")) == .notPermitted)
    try await house.change("wiki") { $0.disabled = true }
    #expect(refusal(await begin("wiki")) == .partyDisabled)
  }

  @Test func `says what would be issued, and stores nothing`() async throws {
    let house = try await House()
    try await house.register("wiki") {
      $0.nameID = NameIDRule(format: .persistent)
      $0.claims = [ClaimRule(name: "mail", sources: [.directory("mail")])]
    }
    let before = await house.store.events.count
    let text = String(decoding: try await house.signOn.preview(try house.party(), person: try House.person()), as: UTF8.self)
    #expect(text.contains("(made at the first sign-in)") && text.contains(">alice@contoso.com</saml:AttributeValue>"))
    #expect(await house.store.events.count == before)
    #expect(try await house.store.persistentName(of: try House.person().object, at: try house.party().id) == nil)
  }
}
