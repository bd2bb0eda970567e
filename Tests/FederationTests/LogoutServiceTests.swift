import Bytes
import Cryptography
import Foundation
import GatehouseTesting
import Identity
import SAML
import Testing
import XMLSecurity

@testable import Federation

@Suite struct `Signing out` {
  /// A house with relying parties at which alice is signed in.
  private struct Visit {
    let house: House
    let wiki: TestServiceProvider
    let shop: TestServiceProvider
    let session: Session

    init(shop change: (inout RelyingParty) -> Void = { _ in }) async throws {
      house = try await House()
      wiki = try await house.register("wiki")
      shop = try await house.register("shop", change)
      session = try await house.session()
      for (index, provider) in [wiki, shop].enumerated() {
        _ = try await house.answer(try house.request(provider, id: "_in\(index)"), session)
      }
    }

    func participant(_ name: String = "wiki") async throws -> Participant {
      let id = try house.party(name).id
      return try #require(try await house.store.participants(of: session.digest).first { $0.relyingParty == id })
    }

    static let name = "<saml:NameID>alice@contoso.com</saml:NameID>"

    func request(
      _ provider: TestServiceProvider? = nil, id: String = "_out", content: String = Visit.name, destination: String? = House.signOnURL,
      attributes: String = "", age: Duration = .zero,
      relayState: String? = nil, signs: Bool = true
    ) throws -> ReceivedMessage {
      let provider = provider ?? wiki
      let document = provider.message(
        "LogoutRequest", id: id, at: house.time.now.adding(.zero - age), destination: destination, attributes: attributes, content: content)
      return try ReceivedMessage(query: try provider.redirect(document, relayState: relayState, signs: signs))
    }

    var isSignedIn: Bool {
      get async throws { try await house.store.session(digest: session.digest, now: house.time.now) != nil }
    }

    /// The message behind a redirect of ours, its signature checked.
    func sent(_ url: String) throws -> XMLElement {
      let query = try #require(url.firstIndex(of: "?"))
      let message = try ReceivedMessage(query: Array(url[url.index(after: query)...].utf8))
      return try message.verified(by: [try VerificationKey(certificate: try #require(house.keys.published().first?.certificate))])
    }

    func response(_ provider: TestServiceProvider, to request: String, status: Status.Code = .success, signs: Bool = true, detail: String = "") throws
      -> ReceivedMessage
    {
      let document = provider.message(
        "LogoutResponse", id: "_answer", at: house.time.now, destination: House.signOnURL, attributes: " InResponseTo=\"\(request)\"",
        content: "<samlp:Status><samlp:StatusCode Value=\"\(status.rawValue)\">\(detail)</samlp:StatusCode></samlp:Status>")
      return try ReceivedMessage(query: try provider.redirect(document, .response, signs: signs))
    }
  }

  private func away(_ step: LogoutStep) throws -> (url: String, transaction: LogoutTransaction) {
    guard case .away(let url, let transaction) = step else { throw Answer.None(step: "\(step)") }
    return (url, transaction)
  }

  private func status(_ step: LogoutStep, _ visit: Visit) throws -> Status {
    guard case .redirect(let url) = step else { throw Answer.None(step: "\(step)") }
    return try LogoutResponse(try visit.sent(url)).status
  }

  @Test func `at a relying party leads over the others and back, and ends the session first`() async throws {
    let visit = try await Visit()
    let (url, transaction) = try away(await visit.house.logout.receive(try visit.request(relayState: "r&s")))
    #expect(try await !visit.isSignedIn)
    #expect(url.hasPrefix("https://shop.example/slo?SAMLRequest="))
    let asked = try LogoutRequest(try visit.sent(url))
    #expect(asked.name?.value == "alice@contoso.com" && asked.head.destination == "https://shop.example/slo" && asked.head.issuer == House.entityID)
    #expect(asked.sessionIndexes.count == 1 && asked.notOnOrAfter == visit.house.time.now.adding(.seconds(300)))
    let step = await visit.house.logout.receive(response: try visit.response(visit.shop, to: asked.head.id), transaction: transaction)
    guard case .redirect(let back) = step else { throw Answer.None(step: "\(step)") }
    #expect(back.hasPrefix("https://wiki.example/slo?SAMLResponse=") && back.contains("&RelayState=r%26s&"))
    let answer = try LogoutResponse(try visit.sent(back))
    #expect(answer.status == .success && answer.inResponseTo == "_out" && answer.head.destination == "https://wiki.example/slo")
    #expect(await visit.house.events(.sessionEnded).map(\.actor) == ["wiki"])
  }

  @Test func `sends its answer to where the relying party wants answers`() async throws {
    let visit = try await Visit { $0.logout = [] }
    try await visit.house.change("wiki") {
      $0.logout = [
        .init(binding: Binding.redirect.rawValue, location: "https://wiki.example/slo", responseLocation: "https://wiki.example/slo/answer?a=b")
      ]
    }
    let step = await visit.house.logout.receive(try visit.request())
    guard case .redirect(let url) = step else { throw Answer.None(step: "\(step)") }
    #expect(url.hasPrefix("https://wiki.example/slo/answer?a=b&SAMLResponse="))
    // The other one has no logout service: it could not be told.
    let query = try #require(url.range(of: "SAMLResponse="))
    let message = try ReceivedMessage(query: Array(url[query.lowerBound...].utf8))
    #expect(try LogoutResponse(message.root).status == Status(.success, .partialLogout))
  }

  @Test func `unsigned, or signed by somebody else, ends nothing`() async throws {
    let visit = try await Visit()
    #expect(refusal(await visit.house.logout.receive(try visit.request(signs: false))) == .badSignature)
    let forged = visit.wiki.message("LogoutRequest", id: "_forged", at: visit.house.time.now, destination: House.signOnURL, content: Visit.name)
    #expect(refusal(await visit.house.logout.receive(try ReceivedMessage(query: try visit.shop.redirect(forged)))) == .badSignature)
    let posted = try ReceivedMessage(form: visit.shop.post(try visit.shop.signed(forged)))
    #expect(refusal(await visit.house.logout.receive(posted)) == .badSignature)
    let stranger = try TestServiceProvider("stranger", now: visit.house.time.now)
    #expect(refusal(await visit.house.logout.receive(try visit.request(stranger))) == .unknownParty)
    #expect(try await visit.isSignedIn)
    #expect(await visit.house.events(.logoutRefused).count == 4)
  }

  @Test func `by one relying party reaches only sessions that are at it`() async throws {
    let visit = try await Visit()
    let alone = try await visit.house.register("alone")
    // It knows the name, and has no part in the session.
    #expect(try status(await visit.house.logout.receive(try visit.request(alone)), visit) == .success)
    #expect(try await visit.isSignedIn)
    // It has a part, and gives the index of another relying party.
    let index = try await visit.participant("shop").sessionIndex
    let content = Visit.name + "<samlp:SessionIndex>\(index)</samlp:SessionIndex>"
    #expect(try status(await visit.house.logout.receive(try visit.request(content: content)), visit) == .success)
    #expect(try await visit.isSignedIn)
    let own = Visit.name + "<samlp:SessionIndex>\(try await visit.participant().sessionIndex)</samlp:SessionIndex>"
    _ = try away(await visit.house.logout.receive(try visit.request(id: "_own", content: own)))
    #expect(try await !visit.isSignedIn)
  }

  @Test func `leaves the sessions of others, and of the same person that are not meant`() async throws {
    let visit = try await Visit()
    let second = try await visit.house.session(digest: 2)
    _ = try await visit.house.answer(try visit.house.request(visit.wiki, id: "_second"), second)
    var other = try House.person(9)
    other.userPrincipalName = "bob@contoso.com"
    let bob = try await visit.house.session(other, digest: 9)
    _ = try await visit.house.answer(try visit.house.request(visit.wiki, id: "_bob"), bob)
    let own = Visit.name + "<samlp:SessionIndex>\(try await visit.participant().sessionIndex)</samlp:SessionIndex>"
    _ = await visit.house.logout.receive(try visit.request(content: own))
    func lives(_ session: Session) async throws -> Bool {
      try await visit.house.store.session(digest: session.digest, now: visit.house.time.now) != nil
    }
    #expect(try await !visit.isSignedIn)
    #expect(try await lives(second))
    #expect(try await lives(bob))
    // Without an index: all of the person, and nobody else's.
    _ = await visit.house.logout.receive(try visit.request(id: "_all"))
    #expect(try await !lives(second))
    #expect(try await lives(bob))
  }

  @Test func `about somebody whose encrypted name cannot be read is refused, and says nothing of why`() async throws {
    let visit = try await Visit()
    let step = await visit.house.logout.receive(try visit.request(content: "<saml:EncryptedID><x/></saml:EncryptedID>"))
    guard case .refused(let refusal) = step else {
      Issue.record("\(step)")
      return
    }
    #expect(refusal.reason == .malformed)
    #expect(try await visit.isSignedIn)
  }

  @Test func `about nobody whom we know is a success`() async throws {
    let visit = try await Visit()
    for (index, name) in [
      "<saml:NameID>mallory@contoso.com</saml:NameID>", "<saml:NameID>ALICE@contoso.com</saml:NameID>",
      "<saml:NameID Format=\"\(NameIDFormat.persistent.rawValue)\">alice@contoso.com</saml:NameID>",
    ].enumerated() {
      #expect(try status(await visit.house.logout.receive(try visit.request(id: "_\(index)", content: name)), visit) == .success)
    }
    #expect(try await visit.isSignedIn)
  }

  @Test func `takes an encrypted name`() async throws {
    let visit = try await Visit { $0.logout = [] }
    let key = try EncryptionKey(certificate: try #require(visit.house.keys.encryptionCertificates.first))
    let data = try XMLEncryption.encrypt(try NameID("alice@contoso.com").bytes(), to: key, certificate: nil)
    let content = "<saml:EncryptedID>\(String(decoding: data, as: UTF8.self))</saml:EncryptedID>"
    #expect(try status(await visit.house.logout.receive(try visit.request(content: content)), visit).code == .success)
    #expect(try await !visit.isSignedIn)
  }

  @Test(arguments: [(179, true), (181, false), (-179, true), (-181, false)]) func `by a request of another time ends nothing`(
    _ seconds: Int, _ passes: Bool
  ) async throws {
    let visit = try await Visit()
    let step = await visit.house.logout.receive(try visit.request(age: .seconds(seconds)))
    #expect(refusal(step) == (passes ? nil : .stale))
    #expect(try await visit.isSignedIn == !passes)
  }

  @Test(arguments: [(-179, true), (-180, false), (0, true), (60, true)]) func `after the request's own end ends nothing`(
    _ seconds: Int, _ passes: Bool
  ) async throws {
    let visit = try await Visit()
    let end = visit.house.time.now.adding(.seconds(seconds))
    let step = await visit.house.logout.receive(try visit.request(attributes: " NotOnOrAfter=\"\(end)\""))
    #expect(refusal(step) == (passes ? nil : .stale))
    #expect(try await visit.isSignedIn == !passes)
  }

  @Test func `by a request that came before, was sent elsewhere, or is of another version ends nothing`() async throws {
    let visit = try await Visit()
    for (destination, expected) in [
      ("https://idp.example/saml/logout", PageRefusal.Reason.misdirected), ("https://other.example/adfs/ls/", .misdirected),
    ] {
      #expect(refusal(await visit.house.logout.receive(try visit.request(id: "_d", destination: destination))) == expected)
    }
    #expect(refusal(await visit.house.logout.receive(try visit.request(id: "_n", destination: nil))) == .misdirected)
    let old = visit.wiki.message(
      "LogoutRequest", id: "_v", at: visit.house.time.now, destination: House.signOnURL, version: "1.1", content: Visit.name)
    #expect(refusal(await visit.house.logout.receive(try ReceivedMessage(query: try visit.wiki.redirect(old)))) == .malformed)
    #expect(refusal(await visit.house.logout.receive(try visit.request(id: "_m", content: "<x/>"))) == .malformed)
    #expect(try await visit.isSignedIn)
    let message = try visit.request(id: "_again")
    _ = try away(await visit.house.logout.receive(message))
    let again = try await visit.house.session(digest: 5)
    _ = try await visit.house.answer(try visit.house.request(visit.wiki, id: "_five"), again)
    #expect(refusal(await visit.house.logout.receive(message)) == .repeated)
    #expect(try await visit.house.store.session(digest: again.digest, now: visit.house.time.now) != nil)
  }

  @Test func `counts a relying party that does not say that it signed somebody out`() async throws {
    for kind in 0..<6 {
      let visit = try await Visit()
      let (url, transaction) = try away(await visit.house.logout.receive(try visit.request()))
      let asked = try LogoutRequest(try visit.sent(url)).head.id
      let response =
        switch kind {
        case 0: try visit.response(visit.shop, to: asked, status: .responder)
        case 1: try visit.response(visit.shop, to: "_other")
        case 2: try visit.response(visit.shop, to: asked, signs: false)
        case 3: try visit.response(visit.wiki, to: asked)
        case 4: try visit.response(visit.shop, to: asked, detail: "<samlp:StatusCode Value=\"\(Status.Detail.partialLogout.rawValue)\"/>")
        default: try ReceivedMessage(query: try visit.shop.redirect(visit.shop.message("LogoutResponse", at: visit.house.time.now), .response))
        }
      #expect(try status(await visit.house.logout.receive(response: response, transaction: transaction), visit) == Status(.success, .partialLogout))
    }
  }

  @Test func `ends at our own page where a response belongs to nothing, or comes too late`() async throws {
    let visit = try await Visit()
    let (url, transaction) = try away(await visit.house.logout.receive(try visit.request()))
    let response = try visit.response(visit.shop, to: try LogoutRequest(try visit.sent(url)).head.id)
    guard case .done(let end) = await visit.house.logout.receive(response: response, transaction: nil) else { throw Answer.None(step: "none") }
    #expect(end == SignedOut())
    visit.house.time.advance(by: .seconds(301))
    guard case .done = await visit.house.logout.receive(response: response, transaction: transaction) else { throw Answer.None(step: "late") }
  }

  @Test func `goes on without a relying party that the browser did not return from`() async throws {
    let visit = try await Visit()
    let (_, transaction) = try away(await visit.house.logout.receive(try visit.request()))
    #expect(try status(await visit.house.logout.skip(transaction), visit) == Status(.success, .partialLogout))
  }

  @Test func `tells nobody an answer that they do not want`() async throws {
    let visit = try await Visit { $0.logout = [] }
    let content = "<samlp:Extensions><a:Asynchronous xmlns:a=\"\(Vocabulary.asynchronousLogoutNamespace)\"/></samlp:Extensions>" + Visit.name
    let step = await visit.house.logout.receive(try visit.request(content: content))
    guard case .done(let end) = step else { throw Answer.None(step: "\(step)") }
    #expect(end == SignedOut(failed: ["shop"]))
    #expect(try await !visit.isSignedIn)
  }

  @Test func `at our own page leads over everybody`() async throws {
    let visit = try await Visit()
    let (first, transaction) = try away(await visit.house.logout.signOut(visit.session))
    #expect(try await !visit.isSignedIn)
    let asked = try LogoutRequest(try visit.sent(first))
    let provider = first.hasPrefix("https://wiki") ? visit.wiki : visit.shop
    let (second, next) = try away(
      await visit.house.logout.receive(response: try visit.response(provider, to: asked.head.id), transaction: transaction))
    let other = second.hasPrefix("https://wiki") ? visit.wiki : visit.shop
    #expect(other.entityID != provider.entityID)
    let step = await visit.house.logout.receive(
      response: try visit.response(other, to: try LogoutRequest(try visit.sent(second)).head.id), transaction: next)
    guard case .done(let end) = step else { throw Answer.None(step: "\(step)") }
    #expect(end == SignedOut())
  }

  @Test func `by POST where a relying party has nothing else`() async throws {
    let visit = try await Visit { $0.logout = [.init(binding: Binding.post.rawValue, location: "https://shop.example/slo-post")] }
    let step = await visit.house.logout.receive(try visit.request())
    guard case .awayByPost(let form, let transaction) = step else { throw Answer.None(step: "\(step)") }
    #expect(form.action == "https://shop.example/slo-post" && form.fields.map(\.name) == ["SAMLRequest"])
    let document = try #require(form.fields.first.flatMap { StrictText.base64($0.value) })
    let key = try VerificationKey(certificate: try #require(visit.house.keys.published().first?.certificate))
    let asked = try LogoutRequest(try SignatureVerifier(keys: [key]).verify(try XMLElement.parse(document, limits: .message)).element)
    #expect(transaction.currentRequest == asked.head.id)
  }

  @Test func `over the back channel tells those who have one, and answers with what came of it`() async throws {
    let visit = try await Visit { $0.logout = [.init(binding: Binding.soap.rawValue, location: "https://shop.example/slo-soap")] }
    let (shop, time) = (visit.shop, visit.house.time)
    func ask(_ id: String, destination: String? = "https://idp.example/saml/logout", signs: Bool = true) async throws -> Status? {
      let document = visit.wiki.message("LogoutRequest", id: id, at: time.now, destination: destination, content: Visit.name)
      let bytes = signs ? try visit.wiki.signed(document) : Array(document.utf8)
      let message = ReceivedMessage(soap: try XMLElement.parse(bytes, limits: .message), direction: .request, digest: [])
      guard let answer = try await visit.house.logout.receive(soap: message) else { return nil }
      let key = try VerificationKey(certificate: try #require(visit.house.keys.published().first?.certificate))
      let response = try LogoutResponse(
        try SignatureVerifier(keys: [key]).verify(try XMLElement.parse(try SOAPEnvelope.body(answer).canonicalBytes(), limits: .message)).element)
      #expect(response.inResponseTo == id)
      return response.status
    }
    #expect(try await ask("_unsigned", signs: false) == nil)
    #expect(try await ask("_elsewhere", destination: House.signOnURL) == nil)
    #expect(try await visit.isSignedIn)
    visit.house.channel.answer.set { envelope in
      let asked = try LogoutRequest(try SOAPEnvelope.body(envelope)).head.id
      let status = "<samlp:Status><samlp:StatusCode Value=\"\(Status.Code.success.rawValue)\"/></samlp:Status>"
      return SOAPEnvelope.wrap(
        Array(shop.message("LogoutResponse", id: "_s", at: time.now, attributes: " InResponseTo=\"\(asked)\"", content: status).utf8))
    }
    #expect(try await ask("_good", destination: nil) == .success)
    #expect(visit.house.channel.sent.value.map(\.url) == ["https://shop.example/slo-soap"])
    #expect(try await !visit.isSignedIn)
    // Nobody answers: the session here is over all the same.
    let again = try await visit.house.session(digest: 6)
    for (index, provider) in [visit.wiki, visit.shop].enumerated() {
      _ = try await visit.house.answer(try visit.house.request(provider, id: "_again\(index)"), again)
    }
    visit.house.channel.answer.set(nil)
    #expect(try await ask("_partly") == Status(.success, .partialLogout))
    #expect(try await visit.house.store.session(digest: again.digest, now: time.now) == nil)
  }

  @Test func `while the store is down says so and changes nothing`() async throws {
    let visit = try await Visit()
    await visit.house.store.fail(with: .unavailable("down"))
    #expect(refusal(await visit.house.logout.receive(try visit.request())) == .unavailable)
    #expect(refusal(await visit.house.logout.signOut(visit.session)) == .unavailable)
    await visit.house.store.fail(with: nil)
    #expect(try await visit.isSignedIn)
  }
}
