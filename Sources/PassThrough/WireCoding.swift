import Bytes
import Foundation
import Identity

// The messages that every sign-in is part of, read and written without reflection. `Codable` says the same (a test holds the two together) and
// serves everything that travels seldom.

/// A message of the link that is read and written by hand.
package protocol WireMessage {
  /// Throws `WireFault`.
  init(_ json: JSONValue) throws(WireFault)
  func write(_ json: inout CanonicalJSON)
}

extension WireMessage {
  /// Batches of many verdicts have more names than other texts.
  package static var mostNames: Int { 20_000 }

  /// Throws `WireFault`.
  package init(message bytes: [UInt8]) throws(WireFault) {
    let text: JSONText
    do { text = try JSONText(object: bytes, mostNames: Self.mostNames) } catch {
      throw WireFault("The body is not the JSON that is expected: \(error).")
    }
    try self.init(text.root)
  }

  package var message: [UInt8] {
    var json = CanonicalJSON(capacity: 4096)
    write(&json)
    return json.bytes
  }
}

extension WorkRequest: WireMessage {
  package init(_ json: JSONValue) throws(WireFault) {
    guard let lane = LaneID(try json.text("lane")) else { throw .field("lane", "a lane id") }
    self.init(
      lane: lane, instance: try json.optionalIdentifier("instance"),
      understands: try json.optionalInteger("understands").map { Int(clamping: $0) })
  }

  package func write(_ json: inout CanonicalJSON) {
    json.object {
      $0.member("instance", instance?.description)
      $0.member("lane", lane.bytes.base64URL)
      if let understands { $0.member("understands", Int64(understands)) }
    }
  }
}

extension WorkResponse: WireMessage {
  package init(_ json: JSONValue) throws(WireFault) {
    self.init(
      encapsulatedKey: try json.optionalText("encapsulatedKey"),
      questions: try json.list("questions") { (element) throws(WireFault) in try QuestionFrame(element) })
  }

  package func write(_ json: inout CanonicalJSON) {
    json.object {
      $0.member("encapsulatedKey", encapsulatedKey)
      $0.key("questions")
      $0.array(questions) { $1.write(&$0) }
    }
  }
}

extension QuestionFrame: WireMessage {
  package init(_ json: JSONValue) throws(WireFault) {
    let wanting = try json.required("wanting")
    self.init(
      id: try json.identifier("id"), kind: try json.text("kind"), realm: try json.realm("realm"), userName: try json.text("userName"),
      wanting: AttributeRequest(attributes: try wanting.texts("attributes"), groups: try wanting.flag("groups")),
      remainingMilliseconds: try json.integer("remainingMilliseconds"), sealed: try json.text("sealed"))
    if let allowance = json["allowance"] { self.allowance = try TryAllowance(allowance) }
  }

  package func write(_ json: inout CanonicalJSON) {
    json.object { json in
      if let allowance {
        json.key("allowance")
        allowance.write(&json)
      }
      json.member("id", id.description)
      json.member("kind", kind)
      json.member("realm", realm.text)
      json.member("remainingMilliseconds", remainingMilliseconds)
      json.member("sealed", sealed)
      json.member("userName", userName)
      json.key("wanting")
      json.object { json in
        json.key("attributes")
        json.array(wanting.attributes) { $0.string($1) }
        json.member("groups", wanting.groups)
      }
    }
  }
}

extension TryAllowance {
  fileprivate init(_ json: JSONValue) throws(WireFault) {
    self.init(
      expected: try json.optionalIdentifier("expected"), undecided: Int(clamping: try json.integer("undecided")),
      charged: Int(clamping: try json.integer("charged")), isFamiliar: try json.flag("isFamiliar"),
      refusedAt: try json.optionalInteger("refusedAt"), counted: Int(clamping: try json.integer("counted")))
  }

  fileprivate func write(_ json: inout CanonicalJSON) {
    json.object {
      $0.member("charged", Int64(charged))
      $0.member("counted", Int64(counted))
      $0.member("expected", expected?.description)
      $0.member("isFamiliar", isFamiliar)
      if let refusedAt { $0.member("refusedAt", refusedAt) }
      $0.member("undecided", Int64(undecided))
    }
  }
}

extension LockoutFacts {
  fileprivate init(_ json: JSONValue) throws(WireFault) {
    self.init(
      count: try json.optionalInteger("count").map { Int(clamping: $0) },
      lastWrongMillisecondsAgo: try json.optionalInteger("lastWrongMillisecondsAgo"), passwordSet: try json.optionalInteger("passwordSet"),
      bindSent: try json.flag("bindSent"))
    if let policy = json["policy"] {
      self.policy = DirectoryLockoutPolicy(
        threshold: Int(clamping: try policy.integer("threshold")), window: .milliseconds(try policy.integer("windowMilliseconds")),
        lock: try policy.optionalInteger("lockMilliseconds").map { .milliseconds($0) })
    }
  }

  fileprivate func write(_ json: inout CanonicalJSON) {
    json.object { json in
      json.member("bindSent", bindSent)
      if let count { json.member("count", Int64(count)) }
      if let lastWrongMillisecondsAgo { json.member("lastWrongMillisecondsAgo", lastWrongMillisecondsAgo) }
      if let passwordSet { json.member("passwordSet", passwordSet) }
      if let policy {
        json.key("policy")
        json.object {
          if let lock = policy.lockMilliseconds { $0.member("lockMilliseconds", lock) }
          $0.member("threshold", Int64(policy.threshold))
          $0.member("windowMilliseconds", policy.windowMilliseconds)
        }
      }
    }
  }
}

extension VerdictsRequest: WireMessage {
  package init(_ json: JSONValue) throws(WireFault) {
    self.init(
      verdicts: try json.list("verdicts") { (element) throws(WireFault) in try VerdictFrame(element) },
      stages: try json.list("stages") { (element) throws(WireFault) in
        StageReport(question: try element.identifier("question"), stage: try element.word("stage", StageReport.Stage.self))
      }, signature: try json.optionalText("signature"))
  }

  package func write(_ json: inout CanonicalJSON) {
    json.object {
      $0.member("signature", signature)
      $0.key("stages")
      $0.array(stages) { json, stage in
        json.object {
          $0.member("question", stage.question.description)
          $0.member("stage", stage.stage.rawValue)
        }
      }
      $0.key("verdicts")
      $0.array(verdicts) { $1.write(&$0) }
    }
  }
}

extension VerdictFrame: WireMessage {
  package init(_ json: JSONValue) throws(WireFault) {
    self.init(
      question: try json.identifier("question"), body: try json.text("body"), signature: try json.text("signature"),
      digest: try json.optionalText("digest"))
  }

  package func write(_ json: inout CanonicalJSON) {
    json.object {
      $0.member("body", body)
      $0.member("digest", digest)
      $0.member("question", question.description)
      $0.member("signature", signature)
    }
  }
}

extension VerdictBody: WireMessage {
  package init(_ json: JSONValue) throws(WireFault) {
    kind = try json.word("kind", Kind.self)
    at = Instant(milliseconds: try json.integer("at"))
    trace = try json.list("trace") { (element) throws(WireFault) in try TraceNote(element) }
    if let person = json["person"] { self.person = try AcceptedPerson(person) }
    if let refusal = json["refusal"] { self.refusal = try Refusal(refusal) }
    if json["cause"] != nil { cause = try json.word("cause", UnknownCause.self) }
    uncertainTries = try json.optionalInteger("uncertainTries").map { Int(clamping: $0) }
    if let facts = json["facts"] { self.facts = try LockoutFacts(facts) }
    object = try json.optionalIdentifier("object")
    if let rules = json["rules"] { self.rules = try PasswordRules(rules) }
  }

  package func write(_ json: inout CanonicalJSON) {
    json.object { json in
      json.member("at", at.milliseconds)
      json.member("cause", cause?.rawValue)
      if let facts {
        json.key("facts")
        facts.write(&json)
      }
      json.member("kind", kind.rawValue)
      json.member("object", object?.description)
      if let person {
        json.key("person")
        person.write(&json)
      }
      if let refusal {
        json.key("refusal")
        refusal.write(&json)
      }
      if let rules {
        json.key("rules")
        rules.write(&json)
      }
      json.key("trace")
      json.array(trace) { $1.write(&$0) }
      if let uncertainTries { json.member("uncertainTries", Int64(uncertainTries)) }
    }
  }
}

extension PasswordRules {
  fileprivate init(_ json: JSONValue) throws(WireFault) {
    let broken = try json.list("broken") { (element) throws(WireFault) -> PasswordRule in
      // A rule that a newer agent knows is one of which nothing more is known here.
      guard let word = element.string else { throw .field("broken", "an array of strings") }
      return PasswordRule(rawValue: word) ?? .other
    }
    self.init(
      broken: Set(broken), minimumLength: try json.optionalInteger("minimumLength").map { Int(clamping: $0) },
      historyLength: try json.optionalInteger("historyLength").map { Int(clamping: $0) },
      minimumAgeSeconds: try json.optionalInteger("minimumAgeSeconds"),
      complexity: json["complexity"] == nil ? nil : try json.flag("complexity"),
      changeableFrom: try json.optionalInteger("changeableFrom").map { Instant(milliseconds: $0) })
  }

  fileprivate func write(_ json: inout CanonicalJSON) {
    json.object { json in
      json.key("broken")
      json.array(brokenInOrder) { $0.string($1.rawValue) }
      if let changeableFrom { json.member("changeableFrom", changeableFrom.milliseconds) }
      if let complexity { json.member("complexity", complexity) }
      if let historyLength { json.member("historyLength", Int64(historyLength)) }
      if let minimumAgeSeconds { json.member("minimumAgeSeconds", minimumAgeSeconds) }
      if let minimumLength { json.member("minimumLength", Int64(minimumLength)) }
    }
  }
}

extension TraceNote {
  fileprivate init(_ json: JSONValue) throws(WireFault) {
    self.init(try json.word("step", TraceStep.self), try json.text("detail"))
    if let milliseconds = json["milliseconds"] {
      guard let number = milliseconds.double else { throw .field("milliseconds", "a number") }
      self.milliseconds = number
    }
  }

  fileprivate func write(_ json: inout CanonicalJSON) {
    json.object {
      $0.member("detail", detail)
      $0.member("milliseconds", milliseconds)
      $0.member("step", step.rawValue)
    }
  }
}

extension DirectoryObject {
  fileprivate init(_ json: JSONValue) throws(WireFault) { self.init(realm: try json.realm("realm"), id: try json.identifier("id")) }

  fileprivate func write(_ json: inout CanonicalJSON) {
    json.object {
      $0.member("id", id.description)
      $0.member("realm", realm.text)
    }
  }
}

extension Refusal {
  fileprivate init(_ json: JSONValue) throws(WireFault) {
    self.init(try json.word("reason", RefusalReason.self), subCode: try json.optionalText("subCode"))
    if let object = json["object"] { self.object = try DirectoryObject(object) }
  }

  fileprivate func write(_ json: inout CanonicalJSON) {
    json.object { json in
      if let object {
        json.key("object")
        object.write(&json)
      }
      json.member("reason", reason.rawValue)
      json.member("subCode", subCode)
    }
  }
}

extension AcceptedPerson {
  fileprivate init(_ json: JSONValue) throws(WireFault) {
    guard let members = try json.required("attributes").members else { throw .field("attributes", "an object") }
    var attributes: [String: [String]] = [:]
    for (name, value) in members {
      guard let elements = value.elements else { throw .field("attributes", "an object of arrays of strings") }
      var values: [String] = []
      for element in elements {
        guard let text = element.string else { throw .field("attributes", "an object of arrays of strings") }
        values.append(text)
      }
      attributes[name] = values
    }
    self.init(
      object: try DirectoryObject(json.required("object")), immutableID: try json.text("immutableID"),
      userPrincipalName: try json.text("userPrincipalName"), attributes: attributes,
      groups: json["groups"] == nil ? nil : try json.texts("groups"),
      passwordExpires: json["passwordExpires"] == nil ? nil : Instant(milliseconds: try json.integer("passwordExpires")))
  }

  fileprivate func write(_ json: inout CanonicalJSON) {
    json.object { json in
      json.key("attributes")
      json.object { json in
        for (name, values) in attributes {
          json.key(name)
          json.array(values) { $0.string($1) }
        }
      }
      if let groups {
        json.key("groups")
        json.array(groups) { $0.string($1) }
      }
      json.member("immutableID", immutableID)
      json.key("object")
      object.write(&json)
      if let passwordExpires { json.member("passwordExpires", passwordExpires.milliseconds) }
      json.member("userPrincipalName", userPrincipalName)
    }
  }
}
