import Bytes
import Foundation
import Hummingbird
import Identity
import PassThrough
import SignIn

/// The canary account of each realm.
struct AdminCanaryRoutes: Sendable {
  let services: GatewayServices

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/realms/:name/canary") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      let realm = try realm(context)
      return jsonResponse(CanaryMessage(realm: realm.text, userName: services.canaries.canary(of: realm)?.userName.text))
    }
    router.post("/admin/v1/realms/:name/canary") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let realm = try realm(context)
      let change: CanaryChange = try await decodeAdmin(request)
      guard let userName = UserName(change.userName) else { throw RequestFault.malformed("The canary's user name is malformed.") }
      guard services.realms.realm(of: userName)?.name == realm else {
        throw RequestFault.malformed("The name \(userName.text.prefix(64)) does not lead to realm \(realm). Give it with the realm's suffix.")
      }
      guard change.password.utf8.count >= Canary.leastPasswordBytes, let password = Password(Secret(change.password.utf8)) else {
        throw RequestFault.malformed("The canary's password must have \(Canary.leastPasswordBytes) characters or more, and none that AD refuses.")
      }
      var details = ["user": userName.text]
      switch await services.lockoutThreshold(realm, userName) {
      case .none: details["lockout"] = "none, as the directory says"
      case .after(let count):
        throw RequestFault.conflict(
          "\(userName.text.prefix(64)) is locked after \(count) wrong passwords, and a canary is asked with wrong ones all day. Put it under a policy "
            + "without lockout (a PSO with msDS-LockoutThreshold 0), and set it again.")
      case .unknown(let reason):
        guard change.isWithoutLockout == true else {
          throw RequestFault.conflict(
            "Whether \(userName.text.prefix(64)) is under a lockout policy could not be found out: \(reason). If you have made sure that it is not, "
              + "say so with --without-lockout.")
        }
        details["lockout"] = "none, as the administrator says"
      }
      let event = AuditEvent(
        time: services.now(), kind: .canarySet, actor: actor, realm: realm, subject: realm.text, outcome: "done", details: details)
      try await services.canaries.set(Canary(realm: realm, userName: userName, password: password), audit: [event])
      services.hub.guardRealms(services.canaries.realms)
      return jsonResponse(
        Done(
          done: true, message: "\(userName.text) is the canary of realm \(realm): agents get questions about the realm once they have answered it."))
    }
    router.delete("/admin/v1/realms/:name/canary") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let realm = try realm(context)
      let event = AuditEvent(time: services.now(), kind: .canaryRemoved, actor: actor, realm: realm, subject: realm.text, outcome: "done")
      guard try await services.canaries.remove(realm: realm, audit: [event]) else {
        throw RequestFault.notFound("Realm \(realm) has no canary.")
      }
      return jsonResponse(Done(done: true, message: "The canary of realm \(realm) was removed: an agent that lies is not noticed any more."))
    }
  }

  private func realm(_ context: GatewayRequestContext) throws -> RealmName {
    let name = try realmName(try segment("name", of: context))
    guard services.realms.realm(named: name) != nil else {
      throw RequestFault.notFound("There is no realm \(name). See `gatehouse realms list`.")
    }
    return name
  }
}
