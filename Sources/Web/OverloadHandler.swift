import Bytes
import HTTPTypes
import NIOCore
import NIOHTTPTypes
import SignIn

/// Turns sign-ins away on the event loop while the gate is shut, before a task, a body or a password is held for them: what a refusal costs
/// decides how much of a flood a gateway survives.
///
/// Only sign-ins that begin while nothing else is under way on their connection; what was pipelined behind another goes to the gate itself.
final class OverloadHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  static let path = "/v1/sign-in"

  private let gate: AdmissionGate
  private let facts: ConnectionFacts
  /// Requests whose answer has not ended.
  private var underWay = 0
  /// Whether the request that is arriving is answered here.
  private var isRefusing = false
  private var closes = false

  init(gate: AdmissionGate, facts: ConnectionFacts) {
    self.gate = gate
    self.facts = facts
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      facts.requestBegan()
      guard gate.isShut, underWay == 0, head.path == OverloadHandler.path, head.method == .post,
        head.headerFields[.expect] == nil
      else {
        underWay += 1
        isRefusing = false
        break
      }
      isRefusing = true
      closes = head.headerFields[.connection]?.lowercased() == "close"
      gate.turnAway()
      return
    case .body where isRefusing: return
    case .end where isRefusing:
      isRefusing = false
      return refuse(context)
    default: break
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data) { underWay -= 1 }
    context.write(data, promise: promise)
  }

  /// After the whole request, so that the connection can be used again.
  private func refuse(_ context: ChannelHandlerContext) {
    var (head, body) = overloadAnswer()
    if closes { head.headerFields[.connection] = "close" }
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.write(wrapOutboundOut(.body(body)), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }
}
