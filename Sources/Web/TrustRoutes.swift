import Bytes
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import SAML
import SignIn
import WSFederation

/// What rich clients of WS-Trust and readers of WS-Federation's metadata reach: tokens for a user name and password, the description of the endpoints, and
/// FederationMetadata.xml where AD FS has it. The paths are taken in whatever case, as AD FS takes them.
struct TrustRoutes: Sendable {
  let routes: SignOnRoutes
  private var services: SignOnServices { routes.services }

  func add(to router: Router<GatewayRequestContext>) {
    router.post("/adfs/services/trust/:version/:kind") { request, context in
      guard let endpoint = try TrustRoutes.endpoint(context) else { throw RequestFault.notFound("There is no such endpoint.") }
      return try await answer(request, context, endpoint)
    }
    router.get("/adfs/services/trust/mex") { _, _ in
      let document = try MetadataExchange(endpoints: services.identity.trustEndpoints.filter { $0.0.isServed }).written()
      return TrustRoutes.xml(document, type: "text/xml; charset=utf-8", cacheControl: "public, max-age=300")
    }
    router.get("/:directory/2007-06/:party") { _, context in
      try TrustRoutes.expectMetadataPath(context, document: "party")
      return TrustRoutes.xml(
        try services.metadata.federation(), type: "application/samlmetadata+xml", cacheControl: "public, max-age=300")
    }
    router.get("/:directory/2007-06/:party/:token/:document") { request, context in
      try TrustRoutes.expectMetadataPath(context, document: "document")
      let party = try routes.ownParty(context)
      let response = TrustRoutes.xml(
        try services.metadata.federation(for: party), type: "application/samlmetadata+xml", cacheControl: "private, no-cache")
      routes.notePoll(of: party, request, context)
      return response
    }
  }

  /// - Parameter document: the name of the last segment: a router knows one name for each place of a path.
  private static func expectMetadataPath(_ context: GatewayRequestContext, document: String) throws {
    guard try asciiLowercased(segment("directory", of: context)) == "federationmetadata",
      try asciiLowercased(segment(document, of: context)) == "federationmetadata.xml"
    else { throw RequestFault.notFound("There is nothing under this path.") }
  }

  private static func endpoint(_ context: GatewayRequestContext) throws -> TrustEndpoint? {
    TrustEndpoint(rawValue: asciiLowercased("\(try segment("version", of: context))/\(try segment("kind", of: context))"))
  }

  private static func xml(_ bytes: [UInt8], type: String, cacheControl: String, status: HTTPResponse.Status = .ok) -> Response {
    Response(
      status: status, headers: [.contentType: type, .cacheControl: cacheControl, .xContentTypeOptions: "nosniff"],
      body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
  }

  /// One question with a user name and password.
  private func answer(_ request: Request, _ context: GatewayRequestContext, _ endpoint: TrustEndpoint) async throws -> Response {
    let arrived = ContinuousClock.now
    var request = request
    let visit = Visit(request, context, routes)
    // Before anything is read: who may not ask learns nothing more than that.
    guard endpoint.isServed, services.identity.isOn(endpoint, for: visit.address) else {
      throw RequestFault.unavailable("This endpoint is switched off.", retryAfterSeconds: 3600)
    }
    // What another site's form can send is not taken: visitors' browsers would try passwords for it, each from its own address.
    guard TrustRoutes.isSOAP(request.headers[.contentType]) else { throw RequestFault.unsupportedMediaType }
    let body: [UInt8]
    do { body = try await request.readBody(limit: SecurityTokenRequest.longestEnvelope) } catch RequestFault.tooLarge {
      let fault = TrustFault(.invalidRequest, "the envelope has more than \(SecurityTokenRequest.longestEnvelope) bytes")
      await services.signOn.record(fault)
      return try TrustRoutes.fault(fault, endpoint)
    }
    let question: SecurityTokenRequest
    do { question = try SecurityTokenRequest(body, endpoint: endpoint) } catch {
      await services.signOn.record(error)
      return try TrustRoutes.fault(error, endpoint)
    }
    let admitted: AdmittedTokenRequest
    switch await services.signOn.admit(question, at: endpoint, from: visit.address) {
    case .success(let passed): admitted = passed
    case .failure(let fault): return try TrustRoutes.fault(fault, endpoint)
    }
    guard routes.gate.enter(waited: context.facts.waited(now: .now)) else {
      return try TrustRoutes.fault(
        TrustFault(.busy, "there are more sign-ins than can be answered now", messageID: question.messageID), endpoint)
    }
    defer { routes.gate.leave() }
    let answer = await routes.signIn.signIn(
      SignInRequest(
        userName: question.userName, password: question.password, address: visit.address, application: admitted.application, correlation: nil,
        wanting: SignOnService.needs(of: admitted), deadline: Deadline(after: routes.deadline, now: arrived)), frontEnd: routes.trustFrontEnd)
    switch answer.verdict {
    case .accepted(let person):
      do {
        let envelope = try await services.signOn.issue(admitted, for: person, from: visit.address)
        return TrustRoutes.xml(envelope, type: TrustRoutes.soap, cacheControl: "no-store")
      } catch { return try TrustRoutes.fault(error, endpoint, reference: answer.reference) }
    // The sign-in has its audit row already, with the reason.
    case .refused:
      return try TrustRoutes.fault(
        TrustFault(.failedAuthentication, "the sign-in was refused", messageID: question.messageID), endpoint, reference: answer.reference)
    case .unknown:
      return try TrustRoutes.fault(
        TrustFault(.busy, "nobody could find out", messageID: question.messageID), endpoint, reference: answer.reference)
    }
  }

  private static let soap = "application/soap+xml; charset=utf-8"

  /// The type of SOAP 1.2, or that of 1.1, which some clients name all the same.
  private static func isSOAP(_ contentType: String?) -> Bool {
    let type = contentType?.split(separator: ";", omittingEmptySubsequences: false).first.map(String.init) ?? ""
    return ["application/soap+xml", "text/xml"].contains(asciiLowercased(type.trimmingCharacters(in: .whitespaces)))
  }

  /// What the client is told: AD FS's numbers, which people look for, and no more of the reason than every other caller hears. AD FS answers 500 to whatever it
  /// refuses; "could not find out" is 503 here as everywhere.
  private static func fault(_ fault: TrustFault, _ endpoint: TrustEndpoint, reference: Reference? = nil) throws -> Response {
    let words =
      switch fault.code {
      case .failedAuthentication: "ID3242: The user name or password was not accepted."
      case .accessDenied: "MSIS7068: This user may not use the relying party."
      case .invalidScope: "ID3082: The scope (AppliesTo) is not one that tokens are issued for here."
      case .messageExpired: "The message's Timestamp is not of now. Compare the clocks."
      case .invalidSecurity, .unsupportedSecurityToken: "The Security header cannot be used: \(fault.detail)"
      case .busy: "The question could not be answered now. Try again in a moment."
      case .requestFailed: "MSIS3127: The request failed."
      case .badTo: "The message is addressed (To) to another endpoint than the one that it came to."
      case .versionMismatch, .mustUnderstand, .invalidRequest, .actionNotSupported: "The request was not understood: \(fault.detail)"
      }
    let text = reference.map { "\(words) Reference: \($0.text)" } ?? words
    let body = try TrustAnswer.fault(fault, text: text, version: endpoint.version)
    var response = xml(
      body, type: soap, cacheControl: "no-store", status: fault.code == .busy ? .serviceUnavailable : .internalServerError)
    if fault.code == .busy { response.headers[.retryAfter] = "\(Int.random(in: 1...5))" }
    return response
  }
}
