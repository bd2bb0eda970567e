import Foundation
import Testing

@testable import Web

/// Requests about whose end two servers could disagree (threats: CL.TE, TE.CL, TE.TE, CL.0, chunk sizes that are no numbers), and heads that split.
///
/// Behind each stands a second request. It must never be answered as one.
@Suite("Request smuggling")
struct RequestSmugglingTests {
  private static let next = "GET /GetUserRealm.srf?login=smuggled@x.example HTTP/1.1\r\nHost: localhost\r\n\r\n"

  @Test(
    "A request that can be read in two ways is refused, the connection ends, and what stood behind it is not served",
    arguments: [
      // Two lengths.
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
      "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
      "Content-Length: 5, 5\r\n\r\nhello",
      "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
      // Lengths that are no numbers.
      "Content-Length: +5\r\n\r\nhello", "Content-Length: -1\r\n\r\nhello", "Content-Length: 0x5\r\n\r\nhello", "Content-Length: 5 5\r\n\r\nhello",
      "Content-Length: \r\n\r\n", "Content-Length: 99999999999999999999999999\r\n\r\n", "Content-Length: 5a\r\n\r\nhello",
      "Content-Length: ٥\r\n\r\nhello",
      // Encodings other than chunked.
      "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: identity\r\n\r\nhello", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n",
      // Fields that are none.
      "X: y\r\n folded\r\n\r\n", "Content-Length : 5\r\n\r\nhello", " Content-Length: 5\r\n\r\nhello", "X\u{0}: y\r\n\r\n", "X: y\u{0}z\r\n\r\n",
      ": y\r\n\r\n", "no colon\r\n\r\n",
      "X y: z\r\n\r\n", "X: a\rb\r\n\r\n", "(x): y\r\n\r\n",
      // Chunks whose size is none.
      "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\n\n",
      "Transfer-Encoding: chunked\r\n\r\n5;\u{0}\r\nhello\r\n0\r\n\r\n",
    ])
  func ambiguous(rest: String) async throws {
    try await withGateway { gateway async throws in
      let connection = try await gateway.open()
      await connection.send(
        "POST /v1/sign-in HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(gateway.apiKey)\r\nContent-Type: application/json\r\n" + rest
          + Self.next)
      let answer = try await connection.answer()
      #expect(answer.status == 400)
      #expect(try await connection.closes(within: .seconds(6)))
      #expect(!connection.received.contains("smuggled"), "\(connection.received)")
    }
  }

  @Test(
    "A start line that is none is refused",
    arguments: [
      "GET / HTTP/1.1 x", "GET /", "GET", "", "GET / HTTP/2.0", "GET / HTTP/1.10", "GET / http/1.1", "GET / HTTP/1", "GET / FTP/1.1",
      "GET /a b HTTP/1.1",
      "GET /\u{0} HTTP/1.1", "GET /\u{1} HTTP/1.1", "GET /\r HTTP/1.1", "GET /%0d%0aX:y\rHTTP/1.1", "PRI * HTTP/2.0", "GET HTTP/1.1",
      " GET / HTTP/1.1",
      "GET\t/\tHTTP/1.1",
    ])
  func startLines(line: String) async throws {
    try await withGateway { gateway async throws in
      let connection = try await gateway.open()
      await connection.send(line + "\r\nHost: localhost\r\n\r\n" + Self.next)
      // An empty line before the start line may be skipped (RFC 9112 §2.2); then the next one is no start line.
      #expect(try await connection.answer().status == 400)
      #expect(try await connection.closes(within: .seconds(6)))
      #expect(!connection.received.contains("smuggled"), "\(connection.received)")
    }
  }

  @Test("Lines that end without CR do not end a head or begin another field")
  func bareLineFeeds() async throws {
    try await withGateway { gateway async throws in
      for request in ["GET /GetUserRealm.srf?login=a@b HTTP/1.1\nHost: x\n\n", "GET /GetUserRealm.srf?login=a@b HTTP/1.1\r\nHost: x\nX: y\r\n\r\n"] {
        let connection = try await gateway.open()
        await connection.send(request + Self.next)
        #expect(try await connection.answer().status == 400)
        #expect(try await connection.closes(within: .seconds(6)))
        #expect(!connection.received.contains("smuggled"))
      }
    }
  }

  @Test("A body with a GET belongs to it")
  func bodyOfGET() async throws {
    try await withGateway { gateway async throws in
      let connection = try await gateway.open()
      let smuggled = "GET /GetUserRealm.srf?login=smuggled@x.example HTTP/1.1\r\nHost: localhost\r\n\r\n"
      await connection.send(RawRequest("GET", "/GetUserRealm.srf?login=first@x.example", body: Array(smuggled.utf8)).bytes)
      #expect(try await connection.answer().text.contains("first@x.example"))
      await connection.send(RawRequest("GET", "/GetUserRealm.srf?login=second@x.example").bytes)
      #expect(try await connection.answer().text.contains("second@x.example"))
    }
  }

  @Test("What a client writes into its user name does not become a header of the answer")
  func responseSplitting() async throws {
    try await withGateway { gateway async throws in
      for target in ["/common/userrealm/a%0d%0aX-Evil:%20y", "/GetUserRealm.srf?login=a%0d%0aX-Evil:%20y", "/%0d%0aX-Evil:%20y"] {
        let answer = try await gateway.ask(RawRequest("GET", target))
        #expect(answer.status == 400 || answer.status == 404)
        #expect(answer.value("x-evil") == nil)
      }
    }
  }
}
