import Cryptography
import HTTPTypes
import Hummingbird
import Identity
import Logging
import NIOCore
import SignIn
import Testing

@testable import PassThrough
@testable import Web

@Suite("What went wrong becomes what the caller sees")
struct FaultTranslationTests {
  private struct Internal: Error { var detail = "SELECT secret FROM /var/lib/gatehouse" }

  private struct Context: RequestContext {
    var coreContext: CoreRequestContextStorage
    init(source: Source) { coreContext = .init(source: source) }
    struct Source: RequestContextSource {
      var logger = Logger(label: "test") { _ in QuietLog() }
      init() { logger[metadataKey: "hb.request.id"] = "r1" }
    }
  }

  private func answer(to error: any Error) async throws -> (status: Int, headers: HTTPFields, error: FaultBody.Detail) {
    let request = Request(head: HTTPRequest(method: .get, scheme: nil, authority: nil, path: "/"), body: .init(buffer: ByteBuffer()))
    let response = try await FaultTranslation<Context>().handle(request, context: Context(source: .init())) { _, _ in throw error }
    let text = Text()
    try await response.body.write(text)
    let body = RawAnswer(status: response.status.code, headers: [], body: text.bytes.value)
    return (response.status.code, response.headers, try body.decode(FaultBody.self).error)
  }

  private struct Text: ResponseBodyWriter {
    let bytes = Shared<[UInt8]>([])
    mutating func write(_ buffer: ByteBuffer) async throws { bytes.set(bytes.value + Array(buffer.readableBytesView)) }
    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
  }

  @Test("Faults of the request keep their own words")
  func requestFaults() async throws {
    let table: [(RequestFault, Int, String)] = [
      (.malformed("words"), 400, "malformed_request"), (.tooLarge(limit: 7), 413, "request_too_large"),
      (.unsupportedMediaType, 415, "unsupported_media_type"),
      (.unauthenticated, 401, "unauthenticated"), (.forbidden("words"), 403, "forbidden"), (.notFound("words"), 404, "not_found"),
      (.methodNotAllowed([.get, .head]), 405, "method_not_allowed"), (.conflict("words"), 409, "conflict"),
      (.rateExceeded(retryAfterSeconds: 3), 429, "rate_exceeded"),
      (.unavailable("words", retryAfterSeconds: 4), 503, "unavailable"),
    ]
    for (fault, status, code) in table {
      let answer = try await answer(to: fault)
      #expect(answer.status == status && answer.error.code == code && answer.error.message == fault.message && answer.error.requestId == "r1")
      #expect(answer.headers[.contentType] == "application/json")
      #expect(answer.headers[.retryAfter] == (status == 429 ? "3" : status == 503 ? "4" : nil))
      #expect(answer.headers[.allow] == (status == 405 ? "GET, HEAD" : nil))
      #expect((answer.headers[.wwwAuthenticate] != nil) == (status == 401))
      #expect(answer.headers[.connection] == (status == 413 ? "close" : nil))
    }
  }

  @Test("Faults of the store have the right status, and an unavailable one tells nothing of itself")
  func storeFaults() async throws {
    let conflict = try await answer(to: StoreError.conflict("the name is taken"))
    #expect(conflict.status == 409 && conflict.error.message == "the name is taken")
    let missing = try await answer(to: StoreError.notFound("there is no realm x"))
    #expect(missing.status == 404 && missing.error.message == "there is no realm x")
    let down = try await answer(to: StoreError.unavailable("disk full at /var/lib/gatehouse/store.db"))
    #expect(down.status == 503 && !down.error.message.contains("/var") && down.headers[.retryAfter] == "2")
  }

  @Test("A token with the signing keys that is away is 503, and tells nothing of itself")
  func tokenAway() async throws {
    let away = try await answer(to: CryptographyFault.tokenAway("the module /usr/lib/hsm.so cannot be used"))
    #expect(away.status == 503 && !away.error.message.contains("/usr") && away.headers[.retryAfter] == "5")
  }

  @Test("Refusals of an enrolment are 403 in words for the administrator", arguments: AgentEnrolment.Refusal.allCases)
  func enrolment(refusal: AgentEnrolment.Refusal) async throws {
    let answer = try await answer(to: refusal)
    #expect(answer.status == 403 && answer.error.code == "forbidden" && answer.error.message == refusal.message)
  }

  @Test("A lane that was superseded, or one too many, is 409")
  func lanes() async throws {
    #expect(try await answer(to: AgentHub.LaneSuperseded()).status == 409)
    #expect(try await answer(to: AgentHub.TooManyLanes()).status == 409)
  }

  @Test("A body that did not arrive whole is the sender's fault")
  func brokenBody() async throws {
    #expect(try await answer(to: ChannelError.inputClosed).status == 400)
    #expect(try await answer(to: HTTPError(.notFound)).status == 404)
  }

  @Test("Whatever else goes wrong is 503 and says nothing")
  func internals() async throws {
    for error in [Internal() as any Error, HTTPError(.internalServerError, message: "secret"), CancellationError()] {
      let answer = try await answer(to: error)
      #expect(answer.status == 503 && answer.error.code == "unavailable")
      #expect(answer.error.message == "The gateway cannot do this now. Try again later." && answer.headers[.retryAfter] == "2")
    }
  }

  @Test("Every cause of not finding out has one of Entra's numbers", arguments: UnknownCause.allCases)
  func numbers(cause: UnknownCause) { #expect((80_000...80_020).contains(cause.aadsts)) }
}
