import AsyncHTTPClient
import Bytes
import Cryptography
import Foundation
import Health
import Identity
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Tells of alarms by a POST of JSON to an https URL.
///
/// With a secret every request bears `Gatehouse-Signature: t=<seconds since 1970>,v1=<hex>`, where hex is HMAC-SHA256 over the seconds, a full stop and
/// the body: the receiver knows who sent it, and when.
package struct WebhookWay: AlarmWay {
  package static let timeout = Duration.seconds(10)
  private static let longestSecret = 4096

  package let name = "webhook"
  private let url: String
  private let secretFile: String?
  private let outbound: OutboundClient
  private let now: @Sendable () -> Instant

  /// - Parameters:
  ///   - url: https, or http to this host itself.
  ///   - secretFile: the file whose first line is the secret; read for every notice, so that it may be replaced at any time.
  package init(url: String, secretFile: String?, outbound: OutboundClient, now: @escaping @Sendable () -> Instant) {
    self.url = url
    self.secretFile = secretFile
    self.outbound = outbound
    self.now = now
  }

  package func send(_ notice: AlarmNotice) async -> AlarmDelivery {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let body = try? encoder.encode(notice) else { return .failed("the notice cannot be written as JSON", mayHaveArrived: false) }
    var headers = [("content-type", "application/json"), ("gatehouse-notice", notice.id)]
    if let secretFile {
      guard let secret = WebhookWay.secret(in: secretFile) else {
        return .failed("the first line of \(secretFile) is no secret of 16 to \(WebhookWay.longestSecret) bytes", mayHaveArrived: false)
      }
      headers.append(("gatehouse-signature", WebhookWay.signature(of: Array(body), at: now(), secret: secret)))
    }
    return await outbound.post(json: Array(body), headers: headers, to: url, timeout: WebhookWay.timeout)
  }

  /// The value of the header `Gatehouse-Signature`.
  package static func signature(of body: [UInt8], at time: Instant, secret: Secret) -> String {
    let seconds = time.milliseconds / 1000
    return "t=\(seconds),v1=\(Digests.hmacSHA256(Array("\(seconds).".utf8) + body, key: secret).hexadecimal)"
  }

  /// The first line of the file; nil where it cannot be read or is too short to be one.
  package static func secret(in file: String) -> Secret? {
    guard let data = FileManager.default.contents(atPath: file) else { return nil }
    let line = data.prefix { $0 != 0x0a && $0 != 0x0d }
    return (16...longestSecret).contains(line.count) ? Secret(line) : nil
  }
}

extension OutboundClient {
  /// Posts a JSON document; any 2xx is taken for "got it", whatever the answer says. Redirects are not followed: whoever moves says so in the configuration.
  func post(json body: [UInt8], headers: [(String, String)], to url: String, timeout: Duration) async -> AlarmDelivery {
    do { try OutboundClient.check(url) } catch { return .failed("\(error)", mayHaveArrived: false) }
    var request = HTTPClientRequest(url: url)
    request.method = .POST
    request.headers = HTTPHeaders([("user-agent", "gatehouse")] + headers)
    request.body = .bytes(ByteBuffer(bytes: body))
    do {
      let response = try await client.execute(request, timeout: .nanoseconds(timeout.components.seconds * 1_000_000_000))
      // The connection is given back whole where the answer is short; a long one is cut off.
      _ = try? await response.body.collect(upTo: 16 << 10)
      guard (200..<300).contains(Int(response.status.code)) else {
        return .failed("the receiver answers \(response.status.code)", mayHaveArrived: true)
      }
      return .delivered
    } catch let error as HTTPClientError where error == .connectTimeout || error == .getConnectionFromPoolTimeout {
      return .failed("no connection within the time", mayHaveArrived: false)
    } catch let error as NIOConnectionError {
      let reason = error.connectionErrors.first.map { "\($0.error)" } ?? "its name is not found"
      return .failed("no connection to \(error.host):\(error.port): \(reason)", mayHaveArrived: false)
    } catch let error as NIOSSLError {
      return .failed("no TLS with the receiver: \(error)", mayHaveArrived: false)
    } catch {
      return .failed("no answer: \(error)", mayHaveArrived: true)
    }
  }
}
