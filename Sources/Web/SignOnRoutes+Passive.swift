import Bytes
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import SAML
import SignIn
import WSFederation

/// WS-Federation by browser, at the same address as SAML.
extension SignOnRoutes {
  func receivePassive(_ fields: FormFields, _ visit: Visit) async throws -> Response {
    let request: PassiveRequest
    do { request = try PassiveRequest(fields) } catch { return try await show(await services.signOn.refuse(error), visit) }
    let session = try await session(visit)
    switch request.action {
    case .signIn:
      return try await show(
        await services.signOn.receive(request, session: session, browser: visit.cookies.browserDigest, visit: visit.facts(now: now())), visit)
    case .signOut, .signOutCleanup:
      if let session { services.sessions.forget(session) }
      return try await show(await services.logout.receive(request, session: session), visit)
    }
  }
}
