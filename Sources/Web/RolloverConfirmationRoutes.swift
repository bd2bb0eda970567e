import Bytes
import CertificateLifecycle
import Cryptography
import Federation
import HTTPTypes
import Hummingbird
import Identity

/// The page behind the link in the letter to a relying party's owner: the new certificate, and a button that says that it is installed. Whoever has the link may
/// press it; it is good for one relying party and one key.
struct RolloverConfirmationRoutes: Sendable {
  let services: SignOnServices
  let now: @Sendable () -> Instant
  let pages: Pages

  init(services: SignOnServices, now: @escaping @Sendable () -> Instant) {
    self.services = services
    self.now = now
    pages = Pages(branding: services.branding)
  }

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/rollover/:party/:key/:token") { request, context in
      let (party, place, certificate) = try find(context)
      let texts = PageTexts(language: .preferred(request.headers[.acceptLanguage]))
      let isDone = services.rollover.ledger.record(of: party.id).best(for: place.id, now: now()).map { $0.level >= .configured } ?? false
      return pages.confirmCertificate(
        .init(
          party: party.shownName, sha256: Digests.sha256(certificate).hexadecimal, sha1: DigestAlgorithm.sha1.digest(certificate).hexadecimal,
          ends: place.notAfter.description, certificate: certificate.base64, isDone: isDone), texts)
    }
    router.post("/rollover/:party/:key/:token") { request, context in
      var request = request
      _ = try await request.readBody(limit: 1024)
      let (party, place, _) = try find(context)
      let texts = PageTexts(language: .preferred(request.headers[.acceptLanguage]))
      do {
        try await services.rollover.confirm(
          party, key: place.id, document: nil, detail: "confirmed by the link that its owner was given", actor: "owner of \(party.name)")
      } catch is RingProblem { return pages.message(texts.certificateConfirmation, texts.notByLink, texts, status: .conflict) }
      return pages.message(texts.certificateConfirmation, texts.certificateConfirmed, texts)
    }
  }

  private func find(_ context: GatewayRequestContext) throws -> (RelyingParty, SigningKeyPlace, [UInt8]) {
    let (name, key, token) = (try segment("party", of: context), try segment("key", of: context), try segment("token", of: context))
    guard let party = services.parties.party(named: name), !party.disabled,
      constantTimeEqual(Array(services.keys.addressToken("confirm", party.id, key).utf8), Array(token.utf8)),
      let found = services.keys.places.first(where: { $0.place.id == key && $0.place.state.isInMetadata })
    else { throw RequestFault.notFound("There is no such link, or its time is over.") }
    return (party, found.place, found.certificate)
  }
}

extension SignOnServices {
  /// The page where the owner of a relying party says that it has a key.
  func confirmationURL(of party: RelyingParty, key: String) -> String {
    let base = identity.metadataURL.dropLast("/saml/metadata".utf8.count)
    return "\(base)/rollover/\(party.name)/\(key)/\(keys.addressToken("confirm", party.id, key))"
  }
}
