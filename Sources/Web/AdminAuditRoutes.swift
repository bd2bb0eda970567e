import Bytes
import Hummingbird
import Identity
import SignIn

/// The audit, for those who ask why.
struct AdminAuditRoutes: Sendable {
  let services: GatewayServices

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/trace/:reference") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      let text = try segment("reference", of: context)
      guard let reference = Reference(text) else {
        throw RequestFault.malformed("\"\(text.prefix(64))\" is no reference: it has 12 letters and digits, for instance 7G4K-9Q2M-XW3T.")
      }
      var query = AuditQuery()
      query.reference = reference
      let rows = try await services.audit.find(query)
      guard !rows.isEmpty else {
        throw RequestFault.notFound(
          "No audit row has the reference \(reference). It may be of another gateway, or pruned: look into the exported segments.")
      }
      return jsonResponse(rows.map(Explanation.init))
    }
    router.get("/admin/v1/audit") { request, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(try await services.audit.find(try query(request)))
    }
    router.get("/admin/v1/audit/rows") { request, context in
      _ = try services.adminRoles.actor(context, changing: false)
      let parameters = request.uri.queryParameters
      guard let chain = parameters["chain"].map(String.init), let after = parameters["after"].flatMap({ Int64($0) }) else {
        throw RequestFault.malformed("The query parameters \"chain\" and \"after\" are needed.")
      }
      return jsonResponse(try await services.audit.rows(chain: chain, after: after, limit: 1000))
    }
    router.post("/admin/v1/audit/:action") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let mark: AuditMark = try await decodeAdmin(request)
      func event(_ kind: AuditKind) -> AuditEvent {
        AuditEvent(
          time: services.now(), kind: kind, actor: actor, subject: mark.chain, outcome: "done", details: ["through": "\(mark.through)"])
      }
      switch try segment("action", of: context) {
      case "exported":
        try await services.audit.markExported(chain: mark.chain, through: mark.through, event: event(.auditExported))
        return jsonResponse(Done(done: true, message: "Chain \(mark.chain) is exported through row \(mark.through)."))
      case "prune":
        try await services.audit.prune(chain: mark.chain, through: mark.through, event: event(.auditPruned))
        return jsonResponse(
          Done(done: true, message: "Rows of chain \(mark.chain) through \(mark.through) were removed; the chain goes on from their last hash."))
      default: throw RequestFault.notFound("There is nothing under this path.")
      }
    }
  }

  private func query(_ request: Request) throws -> AuditQuery {
    var query = AuditQuery()
    for (key, value) in request.uri.queryParameters {
      switch key {
      case "subject": query.subject = String(value)
      case "actor": query.actor = String(value)
      case "agent":
        guard let agent = Identifier(String(value)) else { throw RequestFault.malformed("\"agent\" must be an agent's id.") }
        query.agent = agent
      case "kind":
        guard let kind = AuditKind(rawValue: String(value)) else {
          throw RequestFault.malformed(
            "There is no kind \"\(value.prefix(64))\". Known: \(AuditKind.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        query.kinds.append(kind)
      case "since", "until":
        guard let milliseconds = Int64(value) else { throw RequestFault.malformed("\"\(key)\" must be milliseconds since 1970.") }
        if key == "since" { query.since = Instant(milliseconds: milliseconds) } else { query.until = Instant(milliseconds: milliseconds) }
      case "limit":
        guard let limit = Int(value), (1...10_000).contains(limit) else { throw RequestFault.malformed("\"limit\" must be between 1 and 10000.") }
        query.limit = limit
      default: throw RequestFault.malformed("The query parameter \"\(key.prefix(64))\" is not known.")
      }
    }
    return query
  }
}
