import Bytes
import Hummingbird
import Identity
import Logging
import NIOCore

/// A request's context: its number in all logs, and what is known of its connection.
struct GatewayRequestContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let facts: ConnectionFacts

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    facts = ConnectionFacts.current ?? ConnectionFacts(socketAddress: source.channel.remoteAddress)
  }
}

extension Request {
  /// Reads the whole body, at most `limit` bytes. Throws `RequestFault.tooLarge`.
  mutating func readBody(limit: Int) async throws -> [UInt8] {
    if let declared = headers[.contentLength].flatMap({ Int($0) }), declared > limit { throw RequestFault.tooLarge(limit: limit) }
    do {
      let buffer = try await body.collect(upTo: limit)
      return Array(buffer.readableBytesView)
    } catch is NIOTooManyBytesError {
      throw RequestFault.tooLarge(limit: limit)
    }
  }
}
