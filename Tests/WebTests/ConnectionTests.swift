import Bytes
import Crypto
import Foundation
import GatehouseTesting
import Identity
import NIOSSL
import SignIn
import Testing

@testable import Web

@Suite("Connections")
struct ConnectionTests {
  private let good = Array(#"{"userName":"alice@contoso.com","password":"right"}"#.utf8)

  @Test("Every answer forbids caching and guessing, those of the server itself included")
  func marks() async throws {
    try await withGateway { gateway async throws in
      gateway.script.answer("down@contoso.com", with: .unknown(.noAgent))
      let answers: [(Int, RawAnswer)] = try await [
        (200, gateway.signIn(good)), (400, gateway.signIn([0x7b])), (401, gateway.signIn(good, key: "x")),
        (413, gateway.signIn([UInt8](repeating: 0x20, count: 9000))),
        (503, gateway.signIn(Array(#"{"userName":"down@contoso.com","password":"x"}"#.utf8))), (404, gateway.ask(RawRequest("GET", "/"))),
        (405, gateway.ask(RawRequest("GET", "/v1/sign-in"))), (415, gateway.ask(RawRequest("POST", "/agent/v1/enrol", body: []))),
        (200, gateway.ask(RawRequest("GET", "/GetUserRealm.srf?login=a@b&xml=1"))),
        (400, gateway.ask(RawRequest("GET / HTTP/1.1\r\nbroken line\r\n\r\n"))),
        (200, gateway.openOperations().exchange(RawRequest("GET", "/metrics"))),
        (404, gateway.openOperations().exchange(RawRequest("GET", "/admin/v1/status"))),
      ]
      for (status, answer) in answers {
        #expect(answer.status == status)
        #expect(answer.values("cache-control") == ["no-store"])
        #expect(answer.values("x-content-type-options") == ["nosniff"])
        #expect(answer.value("server") == nil)
      }
    }
  }

  @Test("Many requests one after the other, and pipelined, are answered on one connection in their order")
  func pipelining() async throws {
    try await withGateway { gateway async throws in
      let connection = try await gateway.open()
      for _ in 0..<20 { #expect(try await connection.exchange(gateway.signInRequest(good)).status == 200) }
      let names = (0..<10).map { "a\($0)@x.example" }
      await connection.send(names.flatMap { RawRequest("GET", "/GetUserRealm.srf?login=\($0)").bytes })
      for name in names { #expect(try await connection.answer().text.contains("\"\(name)\"")) }
      #expect(!connection.isClosed)
    }
  }

  @Test(
    "Every method that a path does not know is refused with those that it does",
    arguments: ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"])
  func methods(method: String) async throws {
    try await withGateway { gateway async throws in
      let answer = try await gateway.ask(
        RawRequest(method, "/v1/sign-in", headers: [("Authorization", "Bearer \(gateway.apiKey)"), ("X-HTTP-Method-Override", "POST")]))
      #expect(answer.status == 405 && answer.value("allow") == "POST")
      if method != "HEAD" { #expect(try answer.decode(FaultBody.self).error.code == "method_not_allowed") }
      if method != "GET" && method != "HEAD" {
        let answer = try await gateway.ask(RawRequest(method, "/common/userrealm/a@b"))
        #expect(answer.status == 405 && answer.value("allow") == "GET, HEAD")
      }
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test("A method that nobody knows finds nothing, one that is no method is malformed")
  func strangeMethods() async throws {
    try await withGateway { gateway async throws in
      #expect(try await gateway.ask(RawRequest("PROPFIND", "/v1/sign-in")).status == 404)
      #expect(try await gateway.ask(RawRequest("post", "/v1/sign-in")).status == 400)
      #expect(try await gateway.ask(RawRequest("GE T", "/")).status == 400)
    }
  }

  @Test("HEAD is answered like GET, without the body")
  func head() async throws {
    try await withGateway { gateway async throws in
      let connection = try await gateway.open()
      let get = try await connection.exchange(RawRequest("GET", "/GetUserRealm.srf?login=a@contoso.com"))
      let head = try await connection.exchange(RawRequest("HEAD", "/GetUserRealm.srf?login=a@contoso.com"))
      #expect(head.status == 200 && head.value("content-length") == "\(get.body.count)" && head.body.isEmpty)
      #expect(try await connection.exchange(RawRequest("GET", "/GetUserRealm.srf?login=a@contoso.com")).body == get.body)
    }
  }

  @Test(
    "Paths that are none of ours find nothing",
    arguments: [
      "/", "/v1", "/v1/", "/v1/sign-in/x", "/v1/sign-in;x", "/V1/sign-in", "/v1/SIGN-IN", "/v1/sign%2din", "/%76%31/sign-in", "/%2e%2e/v1/sign-in",
      "/v1/./sign-in",
      "/v1/../v1/sign-in", "/x/../v1/sign-in", "/v1%2fsign-in", "/v1/sign-in%00", "/v1/sign-in%20", "/v1\\sign-in", "/.", "/..", "/admin",
      "/admin/v1/status", "//admin/v1/status",
      "/healthz", "/readyz", "/metrics", "/agent/v1/work", "/agent/v1/verdicts", "/agent/v1/heartbeat", "/agent/v1/renew", "/common/userrealm",
      "/common/userrealm/",
      "/common/userrealm/a/b", "/GetUserRealm.srf/x", "*", "http://localhost/admin/v1/status", "http://evil.example/x",
    ])
  func paths(target: String) async throws {
    try await withGateway { gateway async throws in
      for method in ["POST", "GET"] {
        let answer = try await gateway.ask(
          RawRequest(method, target, headers: [("Authorization", "Bearer \(gateway.apiKey)"), ("Content-Type", "application/json")], body: good))
        #expect(answer.status == 404, "\(method)")
        #expect(try answer.decode(FaultBody.self).error.code == "not_found")
      }
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test(
    "Other spellings of the path that the server resolves are no way around the key",
    arguments: ["//v1/sign-in", "/v1//sign-in", "/v1/sign-in/", "/v1/sign-in?x=y", "http://localhost/v1/sign-in", "https://evil.example/v1/sign-in"])
  func spellings(target: String) async throws {
    try await withGateway { gateway async throws in
      #expect(try await gateway.ask(RawRequest("POST", target, headers: [("Content-Type", "application/json")], body: good)).status == 401)
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test("The header block ends at 16 kB, a single field of it and the start line too, and at a hundred fields")
  func headerLimits() async throws {
    try await withGateway { gateway async throws in
      func fields(_ count: Int) -> [(String, String)] { (0..<count).map { ("X-\($0)", "y") } }
      #expect(try await gateway.signIn(good, headers: fields(90)).status == 200)
      #expect(try await gateway.signIn(good, headers: [("X-Big", String(repeating: "x", count: 15_000))]).status == 200)
      let hostile = [
        gateway.signInRequest(good, headers: fields(200)),
        gateway.signInRequest(good, headers: [("X-Big", String(repeating: "x", count: 17 * 1024))]),
        gateway.signInRequest(good, headers: (0..<90).map { ("X-\($0)", String(repeating: "x", count: 250)) }),
        RawRequest("GET", "/" + String(repeating: "x", count: 17 * 1024)),
        RawRequest("GET", "/GetUserRealm.srf?login=" + String(repeating: "x", count: 1 << 20)),
        gateway.signInRequest(good, headers: [(String(repeating: "x", count: 17 * 1024), "y")]),
      ]
      for request in hostile {
        let connection = try await gateway.open()
        let answer = try await connection.exchange(request)
        #expect(answer.status == 400 && answer.value("connection") == "close")
        #expect(try await connection.closes(within: .seconds(10)))
      }
    }
  }

  @Test("A head that arrives too slowly is cut off, however steadily it drips")
  func slowHead() async throws {
    var options = LiveGateway.Options()
    options.limits.readTimeout = .milliseconds(600)
    try await withGateway(options) { gateway async throws in
      let connection = try await gateway.open()
      let began = ContinuousClock.now
      for byte in RawRequest("GET", "/GetUserRealm.srf?login=a@b", headers: [("X-Slow", String(repeating: "x", count: 300))]).bytes
      where !connection.isClosed {
        await connection.send([byte])
        try await Task.sleep(for: .milliseconds(20))
      }
      #expect(try await connection.closes(within: .seconds(10)))
      #expect(connection.received.isEmpty && began.duration(to: .now) < .seconds(8))
    }
  }

  @Test("A connection on which nothing ever comes is cut off, also before TLS")
  func silent() async throws {
    var options = LiveGateway.Options()
    options.limits.readTimeout = .milliseconds(400)
    try await withGateway(options) { gateway async throws in
      let plain = try await RawConnection(port: gateway.publicPort, tls: nil)
      let encrypted = try await gateway.open()
      #expect(try await plain.closes(within: .seconds(10)))
      #expect(try await encrypted.closes(within: .seconds(10)))
    }
  }

  @Test("A body that arrives too slowly is cut off")
  func slowBody() async throws {
    var options = LiveGateway.Options()
    options.limits.readTimeout = .milliseconds(600)
    try await withGateway(options) { gateway async throws in
      let connection = try await gateway.open()
      let request = gateway.signInRequest(good).bytes
      await connection.send(Array(request.dropLast(30)))
      for byte in request.suffix(30) where !connection.isClosed {
        try await Task.sleep(for: .milliseconds(60))
        await connection.send([byte])
      }
      #expect(try await connection.closes(within: .seconds(10)))
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test("A second request's slow head does not hold a connection for longer than the idle time")
  func slowSecondHead() async throws {
    var options = LiveGateway.Options()
    options.limits.idleTimeout = .seconds(2)
    try await withGateway(options) { gateway async throws in
      let connection = try await gateway.open()
      #expect(try await connection.exchange(gateway.signInRequest(good)).status == 200)
      for byte in RawRequest("GET", "/" + String(repeating: "x", count: 300)).bytes where !connection.isClosed {
        await connection.send([byte])
        try await Task.sleep(for: .milliseconds(20))
      }
      #expect(try await connection.closes(within: .seconds(10)))
    }
  }

  @Test("A hundred megabytes in chunks are cut off early, after the refusal")
  func endlessBody() async throws {
    try await withGateway { gateway async throws in
      for key in [gateway.apiKey, "unknown"] {
        let connection = try await gateway.open()
        await connection.send(
          RawRequest(
            "POST", "/v1/sign-in",
            headers: [("Authorization", "Bearer \(key)"), ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
          ).bytes)
        let chunk = Array("10000\r\n".utf8) + [UInt8](repeating: 0x20, count: 65_536) + Array("\r\n".utf8)
        var sent = 0
        while sent < 1600, !connection.isClosed {
          await connection.send(chunk)
          sent += 1
        }
        #expect(try await connection.answer().status == (key == gateway.apiKey ? 413 : 401))
        #expect(sent < 200, "\(sent) chunks of 64 kB were taken")
      }
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test("A client that goes away in the middle of a body leaves nothing behind")
  func goneAway() async throws {
    try await withGateway { gateway async throws in
      for _ in 0..<5 {
        let connection = try await gateway.open()
        await connection.send(Array(gateway.signInRequest(good).bytes.dropLast(1)))
        connection.close()
      }
      #expect(try await gateway.signIn(good).status == 200)
      #expect(gateway.script.asked.count == 1)
    }
  }

  @Test("An address has its number of connections, and gets one back when one ends")
  func connectionsPerAddress() async throws {
    var options = LiveGateway.Options()
    options.limits.connectionsPerAddress = 4
    try await withGateway(options) { gateway async throws in
      // What the wait for the listener opened may take a moment to be counted out.
      try await Task.sleep(for: .milliseconds(300))
      var held: [RawConnection] = []
      for _ in 0..<4 {
        let connection = try await gateway.open()
        #expect(try await connection.exchange(gateway.signInRequest(good)).status == 200)
        held.append(connection)
      }
      let fifth = try await RawConnection(port: gateway.publicPort, tls: nil)
      #expect(try await fifth.closes(within: .seconds(10)))
      #expect(fifth.received.isEmpty)
      held.removeLast().close()
      try await Task.sleep(for: .milliseconds(300))
      #expect(try await gateway.open().exchange(gateway.signInRequest(good)).status == 200)
    }
  }

  @Test("While the process drains, readiness fails first, every answer says that the connection ends, and requests under way are answered")
  func draining() async throws {
    try await withGateway { gateway async throws in
      let connection = try await gateway.open()
      #expect(try await connection.exchange(gateway.signInRequest(good)).value("connection") == nil)
      gateway.drain.begin()
      let ready = try await gateway.openOperations().exchange(RawRequest("GET", "/readyz"))
      #expect(ready.status == 503 && ready.text.contains("draining"))
      let answer = try await connection.exchange(gateway.signInRequest(good))
      #expect(answer.status == 200 && answer.value("connection") == "close")
      #expect(try await connection.closes(within: .seconds(10)))
      let refused = try await gateway.signIn(good, key: "x")
      #expect(refused.status == 401 && refused.value("connection") == "close")
    }
  }
}

@Suite("TLS")
struct TLSTests {
  private let good = Array(#"{"userName":"alice@contoso.com","password":"right"}"#.utf8)

  @Test("TLS 1.2 and 1.3 are spoken, older versions are not", arguments: [TLSVersion.tlsv1, .tlsv11, .tlsv12, .tlsv13])
  func versions(version: TLSVersion) async throws {
    try await withGateway { gateway async throws in
      var tls = TLSConfiguration.unverified
      tls.minimumTLSVersion = version
      tls.maximumTLSVersion = version
      let connection = try await gateway.open(tls)
      if version == .tlsv12 || version == .tlsv13 {
        #expect(try await connection.exchange(gateway.signInRequest(good)).status == 200)
      } else {
        await #expect(throws: RawConnection.Failure.self) { try await connection.exchange(gateway.signInRequest(good)) }
      }
    }
  }

  @Test(
    "Suites without forward secrecy or without authenticated encryption are not spoken",
    arguments: ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "AES256-SHA"])
  func suites(suite: String) async throws {
    try await withGateway { gateway async throws in
      var tls = TLSConfiguration.unverified
      tls.maximumTLSVersion = .tlsv12
      tls.cipherSuites = suite
      let connection = try await gateway.open(tls)
      await #expect(throws: RawConnection.Failure.self) { try await connection.exchange(gateway.signInRequest(good)) }
    }
  }

  @Test(
    "Plain HTTP and garbage on the TLS ports are cut off without an answer",
    arguments: ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\u{0}\u{0}\u{0}\u{0}", "\u{16}\u{3}\u{1}\u{2}\u{0}garbage"])
  func plain(bytes: String) async throws {
    try await withGateway { gateway async throws in
      for port in [gateway.publicPort, gateway.mutualPort] {
        let connection = try await RawConnection(port: port, tls: nil)
        await connection.send(bytes)
        _ = try await connection.closes(within: .seconds(1))
        #expect(!connection.received.contains("HTTP"))
      }
    }
  }

  @Test("The mutual-TLS listener lets in a front-end's certificate, which is its key there")
  func frontEndCertificate() async throws {
    try await withGateway { gateway async throws in
      let issued = gateway.frontEndCertificate
      let connection = try await gateway.openMutual(try issued.der, key: Array(issued.privateKey.derRepresentation))
      let request = RawRequest("POST", "/v1/sign-in", headers: [("Content-Type", "application/json")], body: good)
      #expect(try await connection.exchange(request).status == 200)
      #expect(await gateway.store.events.last?.actor == "portal")
      // A wrong key is not made good by the certificate.
      #expect(try await connection.exchange(gateway.signInRequest(good, key: "x")).status == 401)
      // Revoked while the connection is open: the next request is refused.
      try await gateway.store.remove(frontEnd: gateway.frontEnd.id, audit: [])
      try await gateway.desk.refresh()
      #expect(try await connection.exchange(request).status == 401)
    }
  }

  @Test("The mutual-TLS listener refuses no certificate, an unknown one, and one of the right CA that nobody registered")
  func refusedCertificates() async throws {
    try await withGateway { gateway async throws in
      let request = RawRequest(
        "POST", "/v1/sign-in", headers: [("Content-Type", "application/json"), ("Authorization", "Bearer \(gateway.apiKey)")], body: good)
      let stranger = try gateway.pki.issue(.client)
      let foreign = try TestPKI(commonName: "somebody else").issue(.client)
      let connections = try await [
        RawConnection(port: gateway.mutualPort, tls: .unverified),
        gateway.openMutual(stranger.der, key: Array(stranger.privateKey.derRepresentation)),
        gateway.openMutual(foreign.der, key: Array(foreign.privateKey.derRepresentation)),
      ]
      for connection in connections {
        await #expect(throws: RawConnection.Failure.self) { try await connection.exchange(request) }
      }
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test("A certificate of ours without its key is refused")
  func stolenCertificate() async throws {
    try await withGateway { gateway async throws in
      // Whoever has only seen the certificate cannot even build the handshake with it: the library refuses the pair.
      let other = try gateway.pki.issue(.client)
      await #expect(throws: (any Error).self) {
        let connection = try await gateway.openMutual(try gateway.frontEndCertificate.der, key: Array(other.privateKey.derRepresentation))
        _ = try await connection.exchange(RawRequest("GET", "/"))
      }
    }
  }
}

@Suite("The PROXY header of a listener")
struct ProxyListenerTests {
  private let request = RawRequest(
    "POST", "/agent/v1/enrol", headers: [("Content-Type", "application/json")], body: Array(#"{"ciphertext":""}"#.utf8))
  private let header = Array("PROXY TCP4 203.0.113.5 127.0.0.1 40000 443\r\n".utf8)

  private func options(_ proxies: [String]) -> LiveGateway.Options {
    var options = LiveGateway.Options()
    options.proxyProtocol = true
    options.trustedProxies = proxies
    options.limits.readTimeout = .seconds(20)
    return options
  }

  /// The address under which a refused enrolment was recorded.
  private func recorded(_ gateway: LiveGateway) async -> String? { await gateway.store.events.last { $0.kind == .enrolmentRefused }?.actor }

  @Test("from a trusted proxy names the client, whatever X-Forwarded-For says")
  func trusted() async throws {
    try await withGateway(options(["127.0.0.0/8"])) { gateway async throws in
      #expect(try await gateway.open(preface: header).exchange(request).status == 403)
      #expect(await recorded(gateway) == "203.0.113.5")
      let spoofed = RawRequest(
        "POST", "/agent/v1/enrol", headers: [("Content-Type", "application/json"), ("X-Forwarded-For", "198.51.100.1")],
        body: Array(#"{"ciphertext":""}"#.utf8))
      #expect(try await gateway.open(preface: header).exchange(spoofed).status == 403)
      #expect(await recorded(gateway) == "203.0.113.5")
    }
  }

  @Test("may come byte by byte")
  func dripping() async throws {
    try await withGateway(options(["127.0.0.0/8"])) { gateway async throws in
      // A plain connection shows that the header is taken and TLS is waited for: garbage behind it ends the connection.
      let connection = try await RawConnection(port: gateway.publicPort, tls: nil)
      for byte in header {
        await connection.send([byte])
        try await Task.sleep(for: .milliseconds(2))
      }
      #expect(!connection.isClosed)
      await connection.send("not a handshake at all")
      #expect(try await connection.closes(within: .seconds(10)))
    }
  }

  @Test(
    "missing or broken from a trusted proxy ends the connection",
    arguments: ["PROXY TCP4 x\r\n", "GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 203.0.113.5 127.0.0.1 40000 443\n"])
  func broken(bytes: String) async throws {
    try await withGateway(options(["127.0.0.0/8"])) { gateway async throws in
      let connection = try await RawConnection(port: gateway.publicPort, tls: nil)
      await connection.send(bytes)
      #expect(try await connection.closes(within: .seconds(10)))
      #expect(connection.received.isEmpty)
      // Neither does TLS begin without one.
      let direct = try await gateway.open()
      await #expect(throws: RawConnection.Failure.self) { try await direct.exchange(request) }
    }
  }

  @Test("from anybody else is refused: their own address counts")
  func untrusted() async throws {
    try await withGateway(options(["192.0.2.0/24"])) { gateway async throws in
      let connection = try await gateway.open(preface: header)
      await #expect(throws: RawConnection.Failure.self) { try await connection.exchange(request) }
      #expect(try await gateway.open().exchange(request).status == 403)
      #expect(await recorded(gateway) == "127.0.0.1")
    }
  }

  @Test("is not looked for where X-Forwarded-For is used; that counts from a trusted proxy only")
  func forwarded() async throws {
    let spoofed = RawRequest(
      "POST", "/agent/v1/enrol", headers: [("Content-Type", "application/json"), ("X-Forwarded-For", "198.51.100.1, 203.0.113.5")],
      body: Array(#"{"ciphertext":""}"#.utf8))
    for (proxies, expected) in [(["127.0.0.1"], "203.0.113.5"), ([], "127.0.0.1")] {
      var options = LiveGateway.Options()
      options.trustedProxies = proxies
      try await withGateway(options) { gateway async throws in
        #expect(try await gateway.ask(spoofed).status == 403)
        #expect(await recorded(gateway) == expected)
      }
    }
  }
}
