import Bytes
import Cryptography
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import Logging
import Metrics
import NIOCore
import NIOHTTP1
import NIOSSL
import PassThrough
import SignIn

// The one place where something that went wrong, or was refused, becomes what the caller sees (docs/architecture.md, law 2). Callers get a code, a neutral text
// and a reference; the specific reason stays in audit and log.

/// A request that is not answered with what it asked for.
enum RequestFault: Error, Sendable, Equatable {
  /// The text is for the developer of the calling program.
  case malformed(String)
  case tooLarge(limit: Int)
  case unsupportedMediaType
  case unauthenticated
  /// Authenticated, but not for this.
  case forbidden(String)
  case notFound(String)
  /// The path knows these methods only.
  case methodNotAllowed([HTTPRequest.Method])
  case conflict(String)
  case rateExceeded(retryAfterSeconds: Int)
  case unavailable(String, retryAfterSeconds: Int)

  var status: HTTPResponse.Status {
    switch self {
    case .malformed: .badRequest
    case .tooLarge: .contentTooLarge
    case .unsupportedMediaType: .unsupportedMediaType
    case .unauthenticated: .unauthorized
    case .forbidden: .forbidden
    case .notFound: .notFound
    case .methodNotAllowed: .methodNotAllowed
    case .conflict: .conflict
    case .rateExceeded: .tooManyRequests
    case .unavailable: .serviceUnavailable
    }
  }

  var code: String {
    switch self {
    case .malformed: "malformed_request"
    case .tooLarge: "request_too_large"
    case .unsupportedMediaType: "unsupported_media_type"
    case .unauthenticated: "unauthenticated"
    case .forbidden: "forbidden"
    case .notFound: "not_found"
    case .methodNotAllowed: "method_not_allowed"
    case .conflict: "conflict"
    case .rateExceeded: "rate_exceeded"
    case .unavailable: "unavailable"
    }
  }

  var message: String {
    switch self {
    case .malformed(let text), .forbidden(let text), .notFound(let text), .conflict(let text), .unavailable(let text, _): text
    case .tooLarge(let limit): "The request's body may have at most \(limit) bytes."
    case .unsupportedMediaType: "Send the body as application/json, or as application/soap+xml to an endpoint of WS-Trust."
    case .unauthenticated: "Present an API key as `Authorization: Bearer KEY`, or a registered client certificate on the mutual-TLS listener."
    case .methodNotAllowed: "This path does not know that method."
    case .rateExceeded: "Your rate is used up. Wait as long as Retry-After says."
    }
  }
}

extension RequestContext {
  /// The request's number in the logs; nil where the log handler keeps no metadata (the framework's own `id` would end the process then).
  fileprivate var requestID: String? { logger[metadataKey: "hb.request.id"]?.description }
}

/// What a sign-in gets while the gateway has more under way than it can answer in time. Waits are spread, so that many who were turned away
/// together do not come back together.
func overloadFault() -> RequestFault {
  .unavailable("The gateway has more sign-ins than it can answer now. Try again.", retryAfterSeconds: Int.random(in: 1...5))
}

/// The same for requests that are turned away before there is a handler for them.
func overloadAnswer() -> (HTTPResponse, ByteBuffer) {
  let fault = overloadFault()
  Counter(label: Telemetry.requestFaults.rawValue, dimensions: [("fault", "overloaded")]).increment()
  var json = CanonicalJSON(capacity: 160)
  json.object { json in
    json.key("error")
    json.object { json in
      json.member("code", fault.code)
      json.member("message", fault.message)
    }
  }
  var fields = HTTPFields()
  fields[.contentType] = "application/json"
  fields[.contentLength] = "\(json.bytes.count)"
  if case .unavailable(_, let seconds) = fault { fields[.retryAfter] = "\(seconds)" }
  return (HTTPResponse(status: fault.status, headerFields: fields), ByteBuffer(bytes: json.bytes))
}

/// The body of every answer that is an error.
struct FaultBody: Codable {
  struct Detail: Codable {
    var code: String
    var message: String
    var requestId: String?
  }
  var error: Detail
}

/// Turns everything that a handler throws into an answer; nothing internal leaves.
struct FaultTranslation<Context: RequestContext>: RouterMiddleware {
  func handle(_ request: Request, context: Context, next: (Request, Context) async throws -> Response) async throws -> Response {
    do {
      return try await next(request, context)
    } catch {
      let fault = translate(error, context: context)
      Counter(label: Telemetry.requestFaults.rawValue, dimensions: [("fault", fault.code)]).increment()
      return jsonResponse(
        FaultBody(error: .init(code: fault.code, message: fault.message, requestId: context.requestID)), status: fault.status,
        headers: headers(of: fault))
    }
  }

  private func translate(_ error: any Error, context: Context) -> RequestFault {
    switch error {
    case let fault as RequestFault: return fault
    case let refusal as AgentEnrolment.Refusal: return .forbidden(refusal.message)
    case is AgentHub.LaneSuperseded, is AgentHub.TooManyLanes: return .conflict("Open a new lane.")
    case is AgentHub.IdentityInUse:
      return .conflict("Another process works under this agent's identity. Stop one of the two; enrol a second agent under a name of its own.")
    case StoreError.conflict(let text): return .conflict(text)
    case StoreError.notFound(let text): return .notFound(text)
    case StoreError.unavailable(let text):
      context.logger.error("the store is not available", metadata: ["error": "\(text)"])
      return .unavailable("The gateway cannot do this now. Try again later.", retryAfterSeconds: 2)
    case CryptographyFault.tokenAway(let text):
      context.logger.error("nothing can be signed", metadata: ["error": "\(text)"])
      return .unavailable("The gateway cannot sign now. Try again later.", retryAfterSeconds: 5)
    // The body did not arrive whole, or not as HTTP: whoever sent it is told, if still there.
    case is HTTPParserError, is ChannelError, is NIOSSLError, is IOError: return .malformed("The request's body did not arrive whole.")
    case let http as any HTTPResponseError:
      switch http.status {
      case .notFound: return .notFound("There is nothing under this path.")
      case .contentTooLarge: return .tooLarge(limit: 0)
      case .badRequest: return .malformed("The request is malformed.")
      default: break
      }
    default: break
    }
    context.logger.error("a request failed", metadata: ["error": "\(error)"])
    return .unavailable("The gateway cannot do this now. Try again later.", retryAfterSeconds: 2)
  }

  private func headers(of fault: RequestFault) -> HTTPFields {
    var fields = HTTPFields()
    switch fault {
    case .unauthenticated: fields[.wwwAuthenticate] = "Bearer realm=\"gatehouse\""
    case .rateExceeded(let seconds), .unavailable(_, let seconds): fields[.retryAfter] = "\(seconds)"
    case .methodNotAllowed(let known): fields[.allow] = known.map(\.rawValue).joined(separator: ", ")
    // The rest of the body is not wanted: the connection cannot be used again.
    case .tooLarge: fields[.connection] = "close"
    default: break
    }
    return fields
  }
}

extension SignInAnswer {
  /// Status and body, and Retry-After where waiting helps.
  func response() -> Response {
    var fields = HTTPFields()
    var status = HTTPResponse.Status.ok
    var json = CanonicalJSON()
    json.object { json in
      switch verdict {
      case .accepted(let person):
        json.member("method", method?.rawValue)
        json.member("realm", realm?.text)
        json.member("reference", reference.text)
        json.member("time", time.milliseconds)
        json.key("user")
        person.write(&json)
        json.member("verdict", "accepted")
      case .refused(let refusal):
        // Realm and method would tell names with a realm from names without one: a refusal carries neither.
        let code = refusal.reason.outerCode
        json.member("aadsts", Int64(code.aadsts))
        json.member("code", code.rawValue)
        json.member("message", code.message)
        json.member("reference", reference.text)
        json.member("time", time.milliseconds)
        json.member("verdict", "refused")
        if let retryAfter { fields[.retryAfter] = "\(max(1, retryAfter.components.seconds))" }
      case .unknown(let cause):
        status = .serviceUnavailable
        json.member("aadsts", Int64(cause.aadsts))
        json.member("code", "could_not_find_out")
        json.member("message", "Whether the password is right could not be found out. Try again.")
        json.member("reference", reference.text)
        json.member("time", time.milliseconds)
        json.member("verdict", "unknown")
        // Spread, so that many who were turned away together do not come back together.
        fields[.retryAfter] = "\(Int.random(in: 1...5))"
      }
    }
    fields[.contentType] = "application/json"
    return Response(status: status, headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: json.bytes)))
  }
}

extension AcceptedPerson {
  fileprivate func write(_ json: inout CanonicalJSON) {
    json.object { json in
      json.key("attributes")
      json.object { json in
        for (name, values) in attributes.sorted(by: { $0.key < $1.key }) {
          json.key(name)
          json.array(values) { $0.string($1) }
        }
      }
      if let groups {
        json.key("groups")
        json.array(groups) { $0.string($1) }
      }
      json.member("immutableId", immutableID)
      json.member("objectId", object.id.description)
      if let passwordExpires { json.member("passwordExpires", passwordExpires.milliseconds) }
      json.member("userPrincipalName", userPrincipalName)
    }
  }
}

extension PasswordChangeAnswer {
  /// Status and body, and Retry-After where waiting helps. A refusal looks like that of a sign-in.
  func response() -> Response {
    if let refusal = refusedSignIn { return refusal.response() }
    var fields = HTTPFields()
    var status = HTTPResponse.Status.ok
    var json = CanonicalJSON()
    json.object { json in
      switch outcome {
      case .changed(let person):
        json.member("method", method?.rawValue)
        json.member("realm", realm?.text)
        json.member("reference", reference.text)
        json.member("time", time.milliseconds)
        if let person {
          json.key("user")
          person.write(&json)
        }
        json.member("verdict", "changed")
      case .notTaken(let rules):
        json.member("code", "new_password_not_taken")
        json.member("message", rules.sentences.joined(separator: " "))
        json.member("reference", reference.text)
        json.key("rules")
        json.object { json in
          json.key("broken")
          json.array(rules.brokenInOrder) { $0.string($1.code) }
          if let from = rules.changeableFrom { json.member("changeableFrom", from.milliseconds) }
          if let complexity = rules.complexity { json.member("complexity", complexity) }
          if let length = rules.historyLength { json.member("historyLength", Int64(length)) }
          if let age = rules.minimumAgeSeconds { json.member("minimumAgeSeconds", age) }
          if let length = rules.minimumLength { json.member("minimumLength", Int64(length)) }
        }
        json.member("time", time.milliseconds)
        json.member("verdict", "not_taken")
      case .unknown(let cause):
        status = .serviceUnavailable
        json.member("aadsts", Int64(cause.aadsts))
        json.member("code", "could_not_find_out")
        json.member("message", PasswordChangeOutcome.unknownSentence)
        json.member("reference", reference.text)
        json.member("time", time.milliseconds)
        json.member("verdict", "unknown")
        fields[.retryAfter] = "\(Int.random(in: 1...5))"
      case .refused: break
      }
    }
    fields[.contentType] = "application/json"
    return Response(status: status, headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: json.bytes)))
  }
}

extension OuterCode {
  /// A text that may be shown to the person.
  var message: String {
    switch self {
    case .invalidCredentials: "The user name or password is incorrect."
    case .accountDisabled: "This account is disabled. Ask your administrator."
    case .accountExpired: "This account has expired. Ask your administrator."
    case .passwordExpired: "Your password has expired. Change it and sign in again."
    case .passwordChangeRequired: "You must change your password before you can sign in."
    case .notAllowedNow: "You may not sign in at this time."
    case .notAllowedHere: "You may not sign in from here."
    case .accountRestricted: "A restriction of this account does not allow the sign-in. Ask your administrator."
    case .temporarilyLocked: "Too many failed sign-ins. Wait a while and try again."
    }
  }
}

extension UnknownCause {
  /// Entra's pass-through error number for it.
  var aadsts: Int {
    switch self {
    case .noAgent, .agentLost, .overloaded, .triesUnderWay, .nameMoved: 80001
    case .deadlineExceeded: 80002
    case .agentAnswerInvalid, .unsupportedByAgent: 80003
    case .sealingBroken: 80010
    case .noDirectoryServer, .directoryUnreachable, .directoryBusy, .directoryError, .directoryTLS, .directoryChannelBinding, .directoryUnproven,
      .serviceCredentialRefused, .tooManyGroups:
      80007
    case .storeUnavailable, .internalError: 80005
    }
  }
}

/// An answer with a message of the agents' link.
func messageResponse(_ message: some WireMessage) -> Response {
  var fields = HTTPFields()
  fields[.contentType] = "application/json"
  return Response(status: .ok, headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: message.message)))
}

/// An answer with a JSON body.
func jsonResponse(_ body: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  var fields = headers
  fields[.contentType] = "application/json"
  guard let data = try? encoder.encode(body) else { return Response(status: .internalServerError) }
  return Response(status: status, headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: data)))
}
