import AsyncHTTPClient
import Bytes
import Cryptography
import Foundation
import Identity
import NIOCore
import NIOSSL
import PassThrough

/// The agent's half of enrolment: makes its keys, uses up a token, and gives the identity to keep.
package enum Enroller {
  /// Throws `GatewayFault` where the gateway says no, `AnswerUnusable` or `EnvelopeBroken` where somebody else answered, or what went wrong on
  /// the way.
  package static func enrol(
    token: EnrolmentToken, name: String, proxy: HTTPGatewayConnection.Proxy?, now: Instant
  ) async throws -> AgentIdentity {
    let keys = AgentKeys()
    let request = EnrolmentRequest(
      secret: token.secret.withBytes { $0.base64URL }, name: name, certificateRequest: try keys.request())
    let (envelope, channel) = try EnrolmentChannel.seal(request, gatewayKey: token.gatewayKey)
    var tls = TLSConfiguration.makeClientConfiguration()
    // The envelope is sealed to the key in the token and the answer is bound to it, so the listener's own certificate adds nothing here;
    // enrolment works before any CA has been distributed and behind a proxy that re-encrypts (docs/decisions).
    tls.certificateVerification = .none
    let client = HTTPClient(
      eventLoopGroupProvider: .singleton, configuration: HTTPGatewayConnection.clientConfiguration(tls: tls, proxy: proxy))
    do {
      let base = token.url.hasSuffix("/") ? String(token.url.dropLast()) : token.url
      let sealed: SealedEnvelope = try await postJSON(
        base + "/agent/v1/enrol", envelope, client: client, timeout: .seconds(15), limit: 64 * 1024)
      try await client.shutdown()
      return try keys.identity(from: try channel.open(sealed), token: token, digest: { Digests.sha256($0) }, now: now)
    } catch {
      try? await client.shutdown()
      throw error
    }
  }
}
