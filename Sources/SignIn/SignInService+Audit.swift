import Bytes
import Identity

// The rows of sign-ins and of changes of a password.

extension SignInService {
  private func details(_ request: SignInRequest, realm: Realm?) -> [String: String] {
    var details: [String: String] = [:]
    details["address"] = request.address?.description
    details["application"] = request.application.map { cut($0, 256) }
    details["correlation"] = request.correlation.map { cut($0, 128) }
    details["method"] = realm?.method.rawValue
    return details
  }

  /// That a password is about to be changed. The reference is the outcome's; here it is a detail, so that it leads to one row.
  func tried(
    _ request: SignInRequest, _ frontEnd: FrontEnd, _ reference: Reference, realm: Realm, object: Identifier?
  ) -> AuditEvent {
    var details = details(request, realm: realm)
    details["reference"] = reference.text
    return AuditEvent(
      time: now(), kind: .passwordChangeTried, actor: frontEnd.name, realm: realm.name, subject: cut(request.userName, 512), object: object,
      outcome: "tried", details: details)
  }

  func event(
    _ judgement: Judgement, _ request: SignInRequest, _ frontEnd: FrontEnd, _ reference: Reference, realm: Realm?, _ trace: [TraceNote],
    time: Instant, agent: Identifier? = nil, isChange: Bool
  ) -> AuditEvent {
    var details = details(request, realm: realm)
    details["agent"] = agent?.description
    let outcome: String
    var object: Identifier?
    switch (judgement.verdict, isChange ? judgement.changeOutcome : nil) {
    case (_, .changed(let person)?):
      outcome = "changed"
      object = person?.object.id
      details["signedIn"] = "\(person != nil)"
    case (_, .notTaken(let rules)?):
      let broken = rules.brokenInOrder.map(\.rawValue).joined(separator: ",")
      outcome = broken.isEmpty ? "not-taken" : "not-taken:\(broken)"
    case (_, .unknown(let cause)?): outcome = "unknown:\(cause.rawValue)"
    case (.accepted(let person), _):
      outcome = "accepted"
      object = person.object.id
      details["upn"] = cut(person.userPrincipalName, 320)
    case (.refused(let refusal), _):
      outcome = "refused:\(refusal.reason.rawValue)"
      object = refusal.object?.id
      details["subCode"] = refusal.subCode.map { cut($0, 16) }
      details["outerCode"] = refusal.reason.outerCode.rawValue
    case (.unknown(let cause), _): outcome = "unknown:\(cause.rawValue)"
    }
    return AuditEvent(
      time: time, kind: isChange ? .passwordChange : .signIn, reference: reference, actor: frontEnd.name, realm: realm?.name,
      subject: cut(request.userName, 512),
      object: object, outcome: outcome, details: details, trace: trace)
  }
}

/// The first `limit` bytes of `text`, cut at a whole character of UTF-8.
func cut(_ text: String, _ limit: Int) -> String {
  guard text.utf8.count > limit else { return text }
  var end = text.utf8.index(text.utf8.startIndex, offsetBy: limit)
  while end > text.startIndex, String.Index(end, within: text.unicodeScalars) == nil { end = text.utf8.index(before: end) }
  return String(text[..<end])
}
