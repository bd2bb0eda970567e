import Bytes
import Foundation
import GatehouseTesting
import Identity
import SignIn
import Testing

@testable import Web

/// What an error answers, field by field.
private struct Fault: Equatable {
  var status: Int
  var code: String
  init(_ status: Int, _ code: String) {
    self.status = status
    self.code = code
  }
  init(_ answer: RawAnswer) throws {
    status = answer.status
    code = try answer.decode(FaultBody.self).error.code
  }
}

@Suite("POST /v1/sign-in")
struct SignInRouteTests {
  private let good = #"{"userName":"alice@contoso.com","password":"right"}"#

  @Test("answers the right password with the person, and only then with realm and method")
  func accepted() async throws {
    try await withGateway { gateway async throws in
      let answer = try await gateway.signIn(
        #"{"userName":"alice@contoso.com","password":"right","clientAddress":"203.0.113.5","application":"portal","correlationId":"c1","attributes":["mail"],"groups":true,"deadlineMilliseconds":1000}"#
      )
      #expect(answer.status == 200)
      #expect(answer.value("content-type") == "application/json")
      let body = try answer.decode(SignInBody.self)
      #expect(body.verdict == "accepted" && body.method == "pass-through" && body.realm == "contoso.com" && body.code == nil)
      #expect(body.time == gateway.time.now.milliseconds)
      let user = try #require(body.user)
      #expect(user.immutableId == "AQIDBAUGBwgJCgsMDQ4PEA==" && user.userPrincipalName == "alice@contoso.com")
      #expect(user.objectId == "01020304-0506-0708-090a-0b0c0d0e0f10")
      #expect(
        user.attributes == ["mail": ["alice@contoso.com"]] && user.groups == ["CN=Staff,DC=contoso,DC=com"]
          && user.passwordExpires == 1_900_000_000_000)
      #expect(gateway.script.asked.first?.wanting == AttributeRequest(attributes: ["mail"], groups: true))
      let event = try #require(await gateway.store.events.last)
      #expect(event.kind == .signIn && event.reference?.text == body.reference && event.actor == "portal" && event.outcome == "accepted")
      #expect(event.details["address"] == "203.0.113.5" && event.details["application"] == "portal" && event.details["correlation"] == "c1")
    }
  }

  @Test("answers a wrong password, an unknown name, AD's lock, a foreign and a forbidden realm alike, but for reference and time")
  func refusalsAreAlike() async throws {
    try await withGateway { gateway async throws in
      gateway.script.answer("nobody@contoso.com", with: .refused(Refusal(.userNotFound, subCode: "525")))
      gateway.script.answer("locked@contoso.com", with: .refused(Refusal(.directoryLocked, subCode: "775")))
      gateway.script.answer("twice@contoso.com", with: .refused(Refusal(.ambiguousName)))
      let names = [
        "alice@contoso.com", "nobody@contoso.com", "locked@contoso.com", "twice@contoso.com", "eve@evilcontoso.com", "bob@fabrikam.com", "x",
        "ev\u{202e}il",
      ]
      var seen: Set<String> = []
      for user in names {
        let answer = try await gateway.signIn("{\"userName\":\"\(user)\",\"password\":\"wrong\"}")
        var body = try answer.decode(SignInBody.self)
        #expect(body.reference.utf8.count >= 8)
        body.reference = "R"
        body.time = 0
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let headers = answer.headers.filter { $0.name.lowercased() != "date" }.map { "\($0.name.lowercased()): \($0.value)" }.sorted()
        // The lengths of the bodies are compared by their Content-Length.
        seen.insert("\(answer.status) \(headers) \(String(decoding: try encoder.encode(body), as: UTF8.self))")
      }
      #expect(seen.count == 1)
      let one = try #require(seen.first)
      #expect(one.contains(#""aadsts":50126"#) && one.contains(#""code":"invalid_credentials""#) && one.contains(#""verdict":"refused""#))
      #expect(!one.contains("realm") && !one.contains("method"))
    }
  }

  @Test("answers each inner reason with its outer code, number and text", arguments: RefusalReason.allCases)
  func reasons(reason: RefusalReason) async throws {
    try await withGateway { gateway async throws in
      gateway.script.answer("alice@contoso.com", with: .refused(Refusal(reason, subCode: "subcode")))
      let answer = try await gateway.signIn(good)
      let body = try answer.decode(SignInBody.self)
      #expect(answer.status == 200 && body.verdict == "refused" && body.code == reason.outerCode.rawValue && body.aadsts == reason.outerCode.aadsts)
      #expect(body.message == reason.outerCode.message && body.user == nil)
      #expect(!answer.text.contains(reason.rawValue) && !answer.text.contains("subcode"))
    }
  }

  @Test("answers 503 with Retry-After where nobody could find out, whatever the cause, and names none", arguments: UnknownCause.allCases)
  func unknown(cause: UnknownCause) async throws {
    try await withGateway { gateway async throws in
      gateway.script.answer("alice@contoso.com", with: .unknown(cause))
      let answer = try await gateway.signIn(good)
      let body = try answer.decode(SignInBody.self)
      #expect(answer.status == 503 && body.verdict == "unknown" && body.code == "could_not_find_out" && body.aadsts == cause.aadsts)
      #expect(body.user == nil && body.realm == nil && body.method == nil && !answer.text.contains(cause.rawValue))
      let wait = try #require(answer.value("retry-after").flatMap { Int($0) })
      #expect((1...5).contains(wait))
    }
  }

  @Test("answers 503 where the verdict cannot be recorded: no yes without its row")
  func storeDown() async throws {
    try await withGateway { gateway async throws in
      await gateway.store.fail(with: .unavailable("disk full at /var/lib"))
      let answer = try await gateway.signIn(good)
      let body = try answer.decode(SignInBody.self)
      #expect(answer.status == 503 && body.verdict == "unknown" && body.aadsts == 80005 && !answer.text.contains("disk"))
      await gateway.store.fail(with: nil)
      #expect(try await gateway.signIn(good).decode(SignInBody.self).verdict == "accepted")
    }
  }

  @Test("locks after ten wrong passwords, known name or not, and says how long")
  func lockout() async throws {
    try await withGateway { gateway async throws in
      for user in ["alice@contoso.com", "nobody@contoso.com"] {
        for _ in 0..<10 {
          #expect(try await gateway.signIn("{\"userName\":\"\(user)\",\"password\":\"no\"}").decode(SignInBody.self).aadsts == 50126)
        }
        let answer = try await gateway.signIn("{\"userName\":\"\(user)\",\"password\":\"right\"}")
        let body = try answer.decode(SignInBody.self)
        #expect(answer.status == 200 && body.code == "temporarily_locked" && body.aadsts == 50053)
        #expect(answer.value("retry-after") == "60")
      }
    }
  }

  @Test("hands names and passwords to the validator byte by byte as they were typed")
  func unchanged() async throws {
    try await withGateway { gateway async throws in
      let names = [
        "*)(objectClass=*@contoso.com", "a\\,b=c+d\"<>;#@contoso.com", "CONTOSO\\alice", "e\u{301}@contoso.com", "\u{e9}@contoso.com",
        " spaced @contoso.com",
        "a@b@contoso.com", "ſtraße@contoso.com", "') OR 1=1 --@contoso.com", "${jndi:ldap://x}@contoso.com", "😀@contoso.com",
      ]
      let passwords = [
        "*", " leading and trailing ", "p\u{e4}ss", "pa\u{308}ss", "😀🏳️‍🌈", "\t\n\r", "\"\\/", "\u{feff}", String(repeating: "x", count: 256), "\u{1}",
        "'; DROP TABLE", "(&(a=b))",
      ]
      for index in 0..<max(names.count, passwords.count) {
        let (user, password) = (names[index % names.count], passwords[index % passwords.count])
        let body = try JSONEncoder().encode(["userName": user, "password": password])
        #expect(try await gateway.signIn(Array(body)).status == 200)
        let asked = try #require(gateway.script.asked.last)
        #expect(asked.userName == Array(user.utf8))
        #expect(asked.password == Array(password.utf8))
      }
      #expect(gateway.script.asked.count == max(names.count, passwords.count))
    }
  }

  @Test(
    "refuses what no directory must see, like a wrong password and without asking anybody",
    arguments: [
      ("alice@contoso.com", ""), ("alice@contoso.com", "a\\u0000b"), ("alice@contoso.com", "\\u0000"),
      ("alice@contoso.com", String(repeating: "x", count: 257)),
      ("alice@contoso.com", String(repeating: "😀", count: 129)), ("", "right"), (" ", "right"), ("alice\\u0000@contoso.com", "right"),
      ("a\\nb@contoso.com", "right"),
      (String(repeating: "a", count: 309) + "@contoso.com", "right"), ("a\\u200bb@contoso.com", "right"), ("\\u202ealice@contoso.com", "right"),
      ("\\ufeffalice@contoso.com", "right"), ("\\ufffd@contoso.com", "right"),
    ])
  func neverAsked(user: String, password: String) async throws {
    try await withGateway { gateway async throws in
      let answer = try await gateway.signIn("{\"userName\":\"\(user)\",\"password\":\"\(password)\"}")
      let body = try answer.decode(SignInBody.self)
      #expect(answer.status == 200 && body.verdict == "refused" && body.code == "invalid_credentials" && body.aadsts == 50126)
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test(
    "refuses every body that is not what it should be, and says which field",
    arguments: [
      ("", "The body is not the JSON that is expected: a JSON object must begin at byte 0."), ("{}", "The field \"userName\" is missing."),
      ("[]", "The body is not the JSON that is expected: a JSON object must begin at byte 0."), ("null", "a JSON object must begin"),
      ("\"x\"", "a JSON object must begin"),
      (#"{"userName":"a"}"#, "The field \"password\" is missing."), (#"{"password":"a"}"#, "The field \"userName\" is missing."),
      (#"{"userName":null,"password":"a"}"#, "The field \"userName\" must be a string."),
      (#"{"userName":1,"password":"a"}"#, "The field \"userName\" must be a string."),
      (#"{"userName":["a"],"password":"a"}"#, "The field \"userName\" must be a string."),
      (#"{"userName":{"a":1},"password":"a"}"#, "The field \"userName\" must be a string."),
      (#"{"userName":"a","password":true}"#, "The field \"password\" must be a string."),
      (#"{"userName":"a","password":null}"#, "The field \"password\" must be a string."),
      (#"{"userName":"a","password":"b","groups":"yes"}"#, "The field \"groups\" must be true or false."),
      (#"{"userName":"a","password":"b","groups":1}"#, "The field \"groups\" must be true or false."),
      (#"{"userName":"a","password":"b","deadlineMilliseconds":"5"}"#, "The field \"deadlineMilliseconds\" must be a whole number."),
      (#"{"userName":"a","password":"b","deadlineMilliseconds":0}"#, "must be between 1 and 60000"),
      (#"{"userName":"a","password":"b","deadlineMilliseconds":-1}"#, "must be between 1 and 60000"),
      (#"{"userName":"a","password":"b","deadlineMilliseconds":60001}"#, "must be between 1 and 60000"),
      (#"{"userName":"a","password":"b","deadlineMilliseconds":1.5}"#, "must be a whole number"),
      (#"{"userName":"a","password":"b","deadlineMilliseconds":1e999999}"#, "a number is too large"),
      (#"{"userName":"a","password":"b","deadlineMilliseconds":99999999999999999999}"#, "must be a whole number"),
      (#"{"userName":"a","password":"b","attributes":"mail"}"#, "The field \"attributes\""),
      (#"{"userName":"a","password":"b","attributes":[1]}"#, "must be an array of strings"),
      (#"{"userName":"a","password":"b","attributes":[null]}"#, "must be an array of strings"),
      (#"{"userName":"a","password":"b","attributes":["a*"]}"#, "no LDAP attribute name"),
      (#"{"userName":"a","password":"b","attributes":[""]}"#, "no LDAP attribute name"),
      (#"{"userName":"a","password":"b","attributes":["ma\u0000il"]}"#, "no LDAP attribute name"),
      (#"{"userName":"a","password":"b","clientAddress":"localhost"}"#, "IPv4 or IPv6"),
      (#"{"userName":"a","password":"b","clientAddress":"1.2.3.4:80"}"#, "IPv4 or IPv6"),
      (#"{"userName":"a","password":"b","clientAddress":"fe80::1%lo"}"#, "IPv4 or IPv6"),
      (#"{"userName":"a","password":"b","clientAddress":""}"#, "IPv4 or IPv6"),
      (#"{"userName":"a","password":"b","clientAddress":"1.2.3.4\u0000"}"#, "IPv4 or IPv6"),
      (#"{"userName":"a","password":"b","username":"c"}"#, "The field \"username\" is not known."),
      (#"{"userName":"a","password":"b","":1}"#, "The field \"\" is not known."),
      (#"{"userName":"a","password":"b","userName":"c"}"#, "stands twice"), (#"{"userName":"a","password":"b","user\u004eame":"c"}"#, "stands twice"),
      (#"{"userName":"a","password":"b"} "#, nil), (#"{"userName":"a","password":"b"}x"#, "something follows the end of the object"),
      (#"{"userName":"a","password":"b"}{}"#, "something follows"), (#"{"userName":"\ud800","password":"b"}"#, "surrogate"),
      ("\u{feff}{}", "must begin"),
      ("{\"userName\":\"a\nb\",\"password\":\"b\"}", "a control character"), (#"{"userName":"a","password":"b""#, "ends too early"),
      ("userName=a&password=b", "must begin"), ("<a/>", "must begin"),
    ] as [(String, String?)])
  func malformed(body: String, complaint: String?) async throws {
    try await withGateway { gateway async throws in
      let answer = try await gateway.signIn(body)
      guard let complaint else {
        #expect(answer.status == 200)
        return
      }
      #expect(answer.status == 400)
      let fault = try answer.decode(FaultBody.self).error
      #expect(fault.code == "malformed_request" && fault.message.contains(complaint) && fault.requestId?.isEmpty == false)
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test("refuses too many, too long and too deep things")
  func bounds() async throws {
    try await withGateway { gateway async throws in
      let fields = [
        "\"application\":\"\(String(repeating: "x", count: 257))\"", "\"correlationId\":\"\(String(repeating: "x", count: 129))\"",
        "\"attributes\":[\(Array(repeating: "\"a\"", count: 65).joined(separator: ","))]",
        "\"attributes\":[\"\(String(repeating: "x", count: 65))\"]",
        "\"x\":" + String(repeating: "[", count: 32) + String(repeating: "]", count: 32), "\"x\":" + String(repeating: "[", count: 7000),
      ]
      for field in fields {
        let answer = try await gateway.signIn("{\"userName\":\"a\",\"password\":\"b\",\(field)}")
        #expect(try Fault(answer) == Fault(400, "malformed_request"), "\(field.prefix(80))")
      }
    }
  }

  @Test("refuses bytes that are not UTF-8")
  func invalidUTF8() async throws {
    try await withGateway { gateway async throws in
      for bytes in [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80]] as [[UInt8]] {
        let body = Array("{\"userName\":\"a".utf8) + bytes + Array("\",\"password\":\"b\"}".utf8)
        #expect(try await Fault(gateway.signIn(body)) == Fault(400, "malformed_request"))
      }
    }
  }

  @Test("takes 8 kB and not a byte more, however it is sent")
  func size() async throws {
    try await withGateway { gateway async throws in
      func body(_ count: Int) -> [UInt8] { Array(good.utf8) + [UInt8](repeating: 0x20, count: count - good.utf8.count) }
      #expect(try await gateway.signIn(body(8192)).status == 200)
      let refused = try await gateway.signIn(body(8193))
      #expect(try Fault(refused) == Fault(413, "request_too_large"))
      #expect(refused.value("connection") == "close" && refused.text.contains("8192"))
      #expect(try await Fault(gateway.signIn(body(1 << 20))) == Fault(413, "request_too_large"))
      let chunked = RawRequest(
        "POST", "/v1/sign-in",
        headers: [("Authorization", "Bearer \(gateway.apiKey)"), ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")],
        body: Array("2001\r\n".utf8) + body(8193) + Array("\r\n0\r\n\r\n".utf8))
      #expect(try await Fault(gateway.ask(chunked)) == Fault(413, "request_too_large"))
    }
  }

  @Test("takes chunked bodies")
  func chunked() async throws {
    try await withGateway { gateway async throws in
      let text = good.utf8.map { "1;x=y\r\n\(Character(UnicodeScalar($0)))\r\n" }.joined() + "0\r\nTrailer: ignored\r\n\r\n"
      let request = RawRequest(
        "POST", "/v1/sign-in",
        headers: [("Authorization", "Bearer \(gateway.apiKey)"), ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")],
        body: Array(text.utf8))
      #expect(try await gateway.ask(request).status == 200)
    }
  }

  @Test("takes JSON and nothing else")
  func contentType() async throws {
    try await withGateway { gateway async throws in
      func status(_ type: String?) async throws -> Int {
        let headers = [("Authorization", "Bearer \(gateway.apiKey)")] + (type.map { [("Content-Type", $0)] } ?? [])
        return try await gateway.ask(RawRequest("POST", "/v1/sign-in", headers: headers, body: Array(good.utf8))).status
      }
      for type in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", " application/json ;x=y"] {
        #expect(try await status(type) == 200)
      }
      for type in [
        nil, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json+x", "text/json", "multipart/form-data",
        "application/json, text/plain",
      ] {
        #expect(try await status(type) == 415)
      }
      let fault = try await gateway.ask(
        RawRequest("POST", "/v1/sign-in", headers: [("Authorization", "Bearer \(gateway.apiKey)")], body: Array(good.utf8)))
      #expect(try Fault(fault) == Fault(415, "unsupported_media_type"))
    }
  }

  @Test("wants a key that is known, not disabled and not over")
  func authentication() async throws {
    try await withGateway { gateway async throws in
      func ask(_ headers: [(String, String)]) async throws -> RawAnswer {
        try await gateway.ask(RawRequest("POST", "/v1/sign-in", headers: headers + [("Content-Type", "application/json")], body: Array(good.utf8)))
      }
      let (foreign, _) = FrontEndDesk.makeKey(now: gateway.time.now)
      let wrong: [[(String, String)]] = [
        [], [("Authorization", "")], [("Authorization", "Bearer")], [("Authorization", "Bearer ")], [("Authorization", "Bearer x")],
        [("Authorization", foreign)],
        [("Authorization", "Bearer \(foreign)")], [("Authorization", "Basic \(gateway.apiKey)")], [("Authorization", "Bearer \(gateway.apiKey)x")],
        [("Authorization", "Bearer \(gateway.apiKey.dropLast())")], [("Authorization", "Bearer \(gateway.apiKey.uppercased())")],
        [("Authorization", "Bearer " + String(repeating: "x", count: 4000))],
        [("Authorization", "Bearer \(gateway.apiKey)"), ("Authorization", "Bearer x")],
        [("Authorization", "Bearer \(gateway.apiKey), Bearer x")], [("X-API-Key", gateway.apiKey)], [("Cookie", "Authorization=\(gateway.apiKey)")],
      ]
      for headers in wrong {
        let answer = try await ask(headers)
        #expect(try Fault(answer) == Fault(401, "unauthenticated"), "\(headers)")
        #expect(answer.value("www-authenticate") == "Bearer realm=\"gatehouse\"")
      }
      for scheme in ["Bearer", "bearer", "BEARER"] { #expect(try await ask([("Authorization", "\(scheme) \(gateway.apiKey)")]).status == 200) }
      // The key before lives until its overlap is over.
      #expect(try await ask([("Authorization", "Bearer \(gateway.previousKey)")]).status == 200)
      gateway.time.advance(by: .seconds(60))
      #expect(try await Fault(ask([("Authorization", "Bearer \(gateway.previousKey)")])) == Fault(401, "unauthenticated"))
      #expect(try await ask([("Authorization", "Bearer \(gateway.apiKey)")]).status == 200)
      var frontEnd = try #require(try await gateway.store.frontEnds().first)
      frontEnd.disabled = true
      try await gateway.store.update(frontEnd, audit: [])
      try await gateway.desk.refresh()
      #expect(try await Fault(ask([("Authorization", "Bearer \(gateway.apiKey)")])) == Fault(401, "unauthenticated"))
      try await gateway.store.remove(frontEnd: frontEnd.id, audit: [])
      try await gateway.desk.refresh()
      #expect(try await Fault(ask([("Authorization", "Bearer \(gateway.apiKey)")])) == Fault(401, "unauthenticated"))
    }
  }

  @Test("holds a front-end to its rate with 429 and Retry-After, on a connection that stays good")
  func rate() async throws {
    try await withGateway(.init(ratePerSecond: 1)) { gateway async throws in
      let connection = try await gateway.open()
      let request = gateway.signInRequest(Array(good.utf8))
      // Two at once, then one a second: on a slow machine tokens come back while the test still asks.
      var refused = try await connection.exchange(request)
      #expect(refused.status == 200)
      for _ in 0..<50 where refused.status == 200 { refused = try await connection.exchange(request) }
      #expect(try Fault(refused) == Fault(429, "rate_exceeded"))
      #expect(refused.value("retry-after") == "1" && refused.value("connection") == nil)
      try await Task.sleep(for: .milliseconds(1100))
      #expect(try await connection.exchange(request).status == 200)
    }
  }
}
