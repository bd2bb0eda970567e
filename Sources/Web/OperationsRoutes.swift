import HTTPTypes
import Hummingbird
import NIOCore

/// Whether the node lives, whether it should get traffic, and its numbers. On a listener of its own, loopback by default.
struct OperationsRoutes: Sendable {
  let drain: DrainSignal
  /// Why the node should get no traffic now; empty when it should.
  let obstacles: @Sendable () async -> [String]
  /// The metrics in the text format of Prometheus.
  let metrics: @Sendable () -> String

  private struct Health: Encodable {
    var status: String
    var reasons: [String]
  }

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/healthz") { _, _ in jsonResponse(Health(status: "alive", reasons: [])) }
    router.get("/readyz") { _, _ in
      if drain.isDraining { return jsonResponse(Health(status: "draining", reasons: ["the gateway is shutting down"]), status: .serviceUnavailable) }
      let reasons = await obstacles()
      return jsonResponse(
        Health(status: reasons.isEmpty ? "ready" : "not ready", reasons: reasons), status: reasons.isEmpty ? .ok : .serviceUnavailable)
    }
    router.get("/metrics") { _, _ in
      Response(
        status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
        body: .init(byteBuffer: ByteBuffer(string: metrics())))
    }
  }
}
