import Bytes
import Cryptography
import Identity
import SAML
import XMLSecurity

/// Every rule that a request to sign in is held against, by name, with its clause (docs/conformance.md maps each to its tests).
package enum RequestCheck: String, Sendable, CaseIterable {
  case senderKnown = "sender.known"
  case senderEnabled = "sender.enabled"
  case signaturePresent = "signature.present"
  case signatureHolds = "signature.holds"
  case structure = "structure"
  case sameSender = "sender.same"
  case destination = "destination"
  case fresh = "fresh"
  case notRepeated = "not-repeated"
  case consumerRegistered = "consumer.registered"
  case version = "version"
  case binding = "binding"
  case passive = "passive"
  case authnContext = "authn-context"
  case nameFormat = "name-format"
  case nameQualifier = "name-qualifier"
  case subjectReadable = "subject.readable"
  case scope = "scope"
  case realm = "wtrealm"
  case reply = "wreply"
  case authentication = "wauth"
  case loop = "loop"

  /// The clause that demands it.
  package var clause: String {
    switch self {
    case .senderKnown, .sameSender: "Core 3.4.1 (Issuer)"
    case .senderEnabled: "local policy"
    case .signaturePresent: "Metadata 2.4.4 (AuthnRequestsSigned)"
    case .signatureHolds: "Core 5.4, Bindings 3.4.4.1"
    case .structure: "Core 3.2.1, 3.4.1"
    case .destination: "Core 3.2.1 (Destination), Bindings 3.4.5.2, 3.5.5.2"
    case .fresh: "Core 3.2.1 (IssueInstant)"
    case .notRepeated: "Profiles 4.1.4.5"
    case .consumerRegistered: "Core 3.4.1, Profiles 4.1.4.1"
    case .version: "Core 4.1.3.2"
    case .binding: "Core 3.4.1 (ProtocolBinding)"
    case .passive: "Core 3.4.1 (IsPassive)"
    case .authnContext: "Core 3.3.2.2.1"
    case .nameFormat, .nameQualifier: "Core 3.4.1.1"
    case .subjectReadable: "Core 3.4.1.2"
    case .scope: "Core 3.4.1.2 (Scoping)"
    case .realm, .reply, .authentication: "WS-Federation 13.2.2"
    case .loop: "local policy"
    }
  }
}

/// One check that failed, with what to do about it. For the log, the audit, and whoever runs the relying party.
package struct CheckFailure: Sendable, Equatable {
  package var check: RequestCheck
  package var detail: String
  /// What the relying party is answered; nil: nothing may be sent to it.
  package var status: Status?

  init(_ check: RequestCheck, _ detail: String, status: Status? = nil) {
    self.check = check
    self.detail = detail
    self.status = status
  }
}

/// A request of which every check held. Only `RequestChecks` makes one.
package struct CheckedRequest: Sendable {
  package let party: RelyingParty
  package let request: AuthnRequest
  /// A registered consumer service with the POST binding.
  package let consumer: ServiceProviderMetadata.Endpoint
  package let relayState: String?
  /// What the assertion will say of how the person was authenticated.
  package let contextClass: String
  /// The format that was asked for; nil: the relying party's usual one.
  package let nameFormat: NameIDFormat?
  package let encryptsName: Bool
  package let mayCreateName: Bool
  /// Whom the request names; the answer must be about them.
  package let subject: NameID?

  fileprivate init(
    party: RelyingParty, request: AuthnRequest, consumer: ServiceProviderMetadata.Endpoint, relayState: String?, contextClass: String,
    nameFormat: NameIDFormat?, encryptsName: Bool, mayCreateName: Bool, subject: NameID?
  ) {
    self.party = party
    self.request = request
    self.consumer = consumer
    self.relayState = relayState
    self.contextClass = contextClass
    self.nameFormat = nameFormat
    self.encryptsName = encryptsName
    self.mayCreateName = mayCreateName
    self.subject = subject
  }
}

/// What comes of the checks.
package enum CheckOutcome: Sendable {
  case passed(CheckedRequest)
  /// Nothing may be sent to anybody: it is not proven where the answer belongs, or who asks.
  case refusedHere([CheckFailure], party: RelyingParty?)
  /// The relying party is told, at its proven consumer service.
  case answered(Status, [CheckFailure], party: RelyingParty, consumer: ServiceProviderMetadata.Endpoint, inResponseTo: String, relayState: String?)
}

/// Holds an AuthnRequest against every rule, and collects all that fail.
struct RequestChecks: Sendable {
  /// How far the clocks of sender and gateway may be apart, and how old a signed request may be.
  static let window: Duration = .seconds(180)
  /// How a password over TLS can be called, the best name first.
  static let offeredContexts = [AuthnContextClass.passwordProtectedTransport, AuthnContextClass.password, AuthnContextClass.unspecified]

  /// The URL under which the request was received, as metadata tells it.
  let endpoint: String
  let ownEntityID: String
  let decryptionKeys: [DecryptionKey]
  let now: Instant

  /// - Parameter party: registered under the entityID that the message names; nil where there is none.
  func check(_ message: ReceivedMessage, party: RelyingParty?, claimedIssuer: String) -> CheckOutcome {
    guard let party else {
      return .refusedHere(
        [
          CheckFailure(
            .senderKnown, "no relying party is registered under the entityID \(claimedIssuer.prefix(256)). Register it with `gatehouse rp add`.")
        ],
        party: nil)
    }
    guard !party.disabled else {
      return .refusedHere(
        [CheckFailure(.senderEnabled, "the relying party \(party.name) is disabled; `gatehouse rp enable \(party.name)`")], party: party)
    }
    // From here on only what was signed is looked at, where there is a signature.
    let root: XMLElement
    if message.isSigned {
      do { root = try message.verified(by: party.verificationKeys, allowingSHA1: party.allowsSHA1(at: now)) } catch {
        return .refusedHere([CheckFailure(.signatureHolds, error.detail)], party: party)
      }
    } else if party.requestsMustBeSigned {
      return .refusedHere(
        [CheckFailure(.signaturePresent, "the relying party signs its requests, says its registration, and this one is not signed")], party: party)
    } else {
      root = message.root
    }
    let request: AuthnRequest
    do { request = try AuthnRequest(root) } catch { return .refusedHere([CheckFailure(.structure, error.detail)], party: party) }

    var failures = proofFailures(request, isSigned: message.isSigned, party: party)
    let consumer = consumer(of: request, party: party)
    if consumer.endpoint == nil, let failure = consumer.failure { failures.append(failure) }
    guard failures.isEmpty, let endpoint = consumer.endpoint else { return .refusedHere(failures, party: party) }

    if let failure = consumer.failure { failures.append(failure) }
    if let detail = request.head.versionFault {
      failures.append(CheckFailure(.version, "only Version 2.0 is understood", status: Status(.versionMismatch, detail)))
    }
    if request.isPassive, request.forceAuthn {
      failures.append(
        CheckFailure(.passive, "ForceAuthn asks for a password, which IsPassive does not let us ask for", status: Status(.responder, .noPassive)))
    }
    let contextClass = contextClass(request.context)
    if contextClass == nil {
      failures.append(
        CheckFailure(
          .authnContext, "none of the authentication contexts that are asked for can be had by a password over TLS",
          status: Status(.responder, .noAuthnContext)))
    }
    let (format, encryptsName) = nameFormat(request.policy, party: party, into: &failures)
    let subject = subject(request, into: &failures)
    if let list = request.scope?.identityProviders, !list.isEmpty, !list.contains(where: { $0.utf8.elementsEqual(ownEntityID.utf8) }) {
      failures.append(CheckFailure(.scope, "the IDPList does not have us, and we do not proxy", status: Status(.responder, .noSupportedIDP)))
    }
    guard failures.isEmpty, let contextClass else {
      let status = failures.lazy.compactMap(\.status).first ?? Status(.requester, .requestUnsupported)
      return .answered(status, failures, party: party, consumer: endpoint, inResponseTo: request.head.id, relayState: message.relayState)
    }
    return .passed(
      CheckedRequest(
        party: party, request: request, consumer: endpoint, relayState: message.relayState, contextClass: contextClass, nameFormat: format,
        encryptsName: encryptsName, mayCreateName: request.policy?.allowCreate ?? true, subject: subject))
  }

  /// What must hold before anything is sent anywhere.
  private func proofFailures(_ request: AuthnRequest, isSigned: Bool, party: RelyingParty) -> [CheckFailure] {
    var failures: [CheckFailure] = []
    if !request.head.issuer.utf8.elementsEqual(party.entityID.utf8) {
      failures.append(CheckFailure(.sameSender, "the signed Issuer is not the one that the message shows"))
    }
    switch request.head.destination {
    case let destination? where !destination.utf8.elementsEqual(endpoint.utf8):
      failures.append(CheckFailure(.destination, "Destination is \(destination.prefix(256)), and the request came to \(endpoint)"))
    case nil where isSigned: failures.append(CheckFailure(.destination, "a signed request must name its Destination (\(endpoint))"))
    default: break
    }
    // Who can forge a request can forge its time: only signed ones are held to it, and the others may come from a bookmark.
    if isSigned {
      let age = now.since(request.head.issueInstant)
      if age > RequestChecks.window || age < .zero - RequestChecks.window {
        failures.append(
          CheckFailure(
            .fresh, "IssueInstant is \(request.head.issueInstant), and it is \(now) now: older or newer than three minutes. Compare the clocks."))
      }
    }
    return failures
  }

  /// The endpoint to answer to, and what is wrong with the one that was asked for. Without an endpoint nothing is sent.
  private func consumer(
    of request: AuthnRequest, party: RelyingParty
  ) -> (endpoint: ServiceProviderMetadata.Endpoint?, failure: CheckFailure?) {
    func unsupported(_ binding: String) -> (ServiceProviderMetadata.Endpoint?, CheckFailure?) {
      let failure = CheckFailure(
        .binding, "responses are sent by HTTP-POST only, and \(binding.prefix(128)) was asked for", status: Status(.responder, .unsupportedBinding))
      return (party.standardConsumer, failure)
    }
    switch request.consumer {
    case .standard:
      guard let standard = party.standardConsumer else {
        return (nil, CheckFailure(.consumerRegistered, "the relying party has no consumer service for HTTP-POST"))
      }
      return (standard, nil)
    case .index(let index):
      guard let endpoint = party.consumers.first(where: { $0.index == index }) else {
        return (nil, CheckFailure(.consumerRegistered, "no consumer service of the relying party has the index \(index)"))
      }
      return endpoint.binding == Binding.post.rawValue ? (endpoint, nil) : unsupported(endpoint.binding)
    case .url(let url, let binding):
      // Byte by byte, whatever the two URLs may mean (Core 3.4.1: the identity provider must make sure that it is the sender's).
      let registered = party.consumers.filter { $0.location.utf8.elementsEqual(url.utf8) }
      guard !registered.isEmpty else {
        return (
          nil,
          CheckFailure(
            .consumerRegistered,
            "\(url.prefix(512)) is not among the registered consumer services of \(party.name). Refresh its metadata, or add it there first.")
        )
      }
      if let binding, binding != Binding.post.rawValue { return unsupported(binding) }
      guard let endpoint = registered.first(where: { $0.binding == Binding.post.rawValue }) else {
        return unsupported(registered.first?.binding ?? "another binding")
      }
      return (endpoint, nil)
    case .binding(let binding):
      guard binding == Binding.post.rawValue else { return unsupported(binding) }
      guard let standard = party.standardConsumer else {
        return (nil, CheckFailure(.consumerRegistered, "the relying party has no consumer service for HTTP-POST"))
      }
      return (standard, nil)
    }
  }

  /// The class to state, or nil where what is asked for cannot be had.
  private func contextClass(_ requested: AuthnRequest.RequestedContext?) -> String? {
    let standard = AuthnContextClass.passwordProtectedTransport
    guard let requested else { return standard }
    // Declarations are not understood (Core 3.3.2.2.1 lets them be asked for instead of classes).
    guard !requested.hasDeclarations else { return nil }
    func rank(_ name: String) -> Int? { AuthnContextClass.order.firstIndex { $0.utf8.elementsEqual(name.utf8) } }
    guard let own = rank(standard) else { return nil }
    let ranks = requested.classes.compactMap(rank)
    switch requested.comparison {
    case .exact:
      return requested.classes.first { name in RequestChecks.offeredContexts.contains { $0.utf8.elementsEqual(name.utf8) } }
    case .minimum: return ranks.contains { own >= $0 } ? standard : nil
    case .better: return ranks.count == requested.classes.count && ranks.allSatisfy { own > $0 } ? standard : nil
    case .maximum:
      guard let highest = ranks.max() else { return nil }
      return own <= highest ? standard : RequestChecks.offeredContexts.first { (rank($0) ?? .max) <= highest }
    }
  }

  private func nameFormat(
    _ policy: AuthnRequest.Policy?, party: RelyingParty, into failures: inout [CheckFailure]
  ) -> (NameIDFormat?, encrypts: Bool) {
    guard let policy else { return (nil, false) }
    let invalid = Status(.requester, .invalidNameIDPolicy)
    if let qualifier = policy.spNameQualifier, !qualifier.utf8.elementsEqual(party.entityID.utf8) {
      failures.append(CheckFailure(.nameQualifier, "SPNameQualifier names another relying party; affiliations are not offered", status: invalid))
    }
    guard let uri = policy.format else { return (nil, false) }
    if uri == NameIDFormat.encrypted {
      guard !party.encryptionCertificates.isEmpty else {
        failures.append(CheckFailure(.nameFormat, "an encrypted name needs an encryption certificate of the relying party", status: invalid))
        return (nil, true)
      }
      return (nil, true)
    }
    guard let format = NameIDFormat(rawValue: uri) else {
      failures.append(CheckFailure(.nameFormat, "names of the format \(uri.prefix(128)) are not made here", status: invalid))
      return (nil, false)
    }
    // Unspecified leaves the choice to us (Core 8.3.1).
    guard format != .unspecified else { return (nil, false) }
    guard format == party.nameID.format || party.nameID.allowed.isEmpty || party.nameID.allowed.contains(format) else {
      failures.append(CheckFailure(.nameFormat, "the relying party may not have names of the format \(format.word)", status: invalid))
      return (nil, false)
    }
    return (format, false)
  }

  private func subject(_ request: AuthnRequest, into failures: inout [CheckFailure]) -> NameID? {
    guard let encrypted = request.encryptedSubject else { return request.subject }
    guard let name = try? NameID(encrypted: encrypted, keys: decryptionKeys) else {
      failures.append(CheckFailure(.subjectReadable, "the encrypted Subject cannot be read", status: Status(.requester, .unknownPrincipal)))
      return nil
    }
    return name
  }
}
