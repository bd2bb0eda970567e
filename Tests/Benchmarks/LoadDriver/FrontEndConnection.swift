import Foundation
import NIOCore
import NIOSSL
import NIOTLS

/// One kept TLS connection of a front-end: one request at a time, bytes in and bytes out. Lives on its engine's event loop.
final class FrontEndConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let engine: SignInEngine
  private var context: ChannelHandlerContext?
  private var received = ByteBuffer()
  /// What an answer is awaited for, and by when it must be here.
  private(set) var pending: SignInEngine.Pending?
  private(set) var deadline: UInt64 = 0
  var idleSince: UInt64 = 0
  private(set) var isOpen = false

  init(engine: SignInEngine) { self.engine = engine }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    context.eventLoop.scheduleTask(in: .seconds(5)) { if !bound.value.isOpen { bound.value.close() } }
  }

  func send(_ request: ByteBuffer, for pending: SignInEngine.Pending, deadline: UInt64) {
    self.pending = pending
    self.deadline = deadline
    context?.writeAndFlush(wrapOutboundOut(request), promise: nil)
  }

  func close() { context?.close(promise: nil) }

  /// Gives up waiting: an answer that comes later would be taken for the next one's, so the connection ends, too.
  func abandon() -> SignInEngine.Pending? {
    defer { pending = nil }
    close()
    return pending
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted? = event as? TLSUserEvent {
      isOpen = true
      engine.opened(self)
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var piece = unwrapInboundIn(data)
    received.writeBuffer(&piece)
    guard let message = received.withUnsafeReadableBytes({ Message($0) }) else { return }
    received.moveReaderIndex(forwardBy: message.length)
    if received.readableBytes == 0 { received.clear() }
    let answered = pending
    pending = nil
    if message.closes || answered == nil { context.close(promise: nil) }
    engine.answered(self, answered, message.answer, staysOpen: !message.closes)
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.context = nil
    isOpen = false
    let lost = pending
    pending = nil
    engine.ended(self, lost)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    engine.failed(error)
    context.close(promise: nil)
  }
}

extension FrontEndConnection {
  /// An HTTP/1.1 answer with Content-Length, read as far as the driver needs it.
  struct Message {
    var length: Int
    var closes: Bool
    var answer: Answer

    /// Nil where it has not arrived whole.
    init?(_ bytes: UnsafeRawBufferPointer) {
      guard let headEnd = Bytes.end(of: "\r\n\r\n", in: bytes), bytes.count > 12 else { return nil }
      var bodyLength: Int?
      var retryAfter = false
      closes = false
      var begin = bytes.firstIndex(of: 0x0a).map { $0 + 1 } ?? headEnd
      while begin < headEnd, let end = bytes[begin..<headEnd].firstIndex(of: 0x0d), end > begin {
        let line = bytes[begin..<end]
        if let value = Message.value(of: "content-length:", line) { bodyLength = Int(String(decoding: value, as: UTF8.self)) }
        if Message.value(of: "retry-after:", line) != nil { retryAfter = true }
        if let value = Message.value(of: "connection:", line) { closes = value.elementsEqual("close".utf8) }
        begin = end + 2
      }
      let status = bytes[9..<12].reduce(0) { $0 * 10 + Int($1) - 48 }
      guard let bodyLength, bodyLength >= 0 else {
        length = bytes.count
        closes = true
        answer = .unexpected("status \(status) without Content-Length")
        return
      }
      guard bytes.count >= headEnd + bodyLength else { return nil }
      length = headEnd + bodyLength
      answer = Message.answer(status, retryAfter, UnsafeRawBufferPointer(rebasing: bytes[headEnd..<length]))
    }

    private static func answer(_ status: Int, _ retryAfter: Bool, _ body: UnsafeRawBufferPointer) -> Answer {
      if body.first == UInt8(ascii: "<"), let answer = Answer.ofTrust(status, body) { return answer }
      switch status {
      case 200:
        // A verdict without a reference could not be found in the audit: no verdict.
        guard let reference = Bytes.value(behind: #""reference":""#, in: body).flatMap({ Reference.bits($0) }) else { break }
        let verdict = Bytes.value(behind: #""verdict":""#, in: body)
        if verdict?.elementsEqual("accepted".utf8) == true { return .accepted(reference: reference) }
        if verdict?.elementsEqual("refused".utf8) == true, let code = Bytes.value(behind: #""code":""#, in: body) {
          return .refused(code: String(decoding: code, as: UTF8.self), reference: reference)
        }
      case 503: return .unavailable(retryAfter: retryAfter)
      case 429: return .limited
      default: break
      }
      return .unexpected("status \(status): \(String(decoding: body.prefix(200), as: UTF8.self))")
    }

    /// What stands behind a field's name, without the blanks around it.
    private static func value(of name: StaticString, _ line: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer>? {
      guard line.count >= name.utf8CodeUnitCount else { return nil }
      for index in 0..<name.utf8CodeUnitCount where line[line.startIndex + index] | 0x20 != name.utf8Start[index] | 0x20 { return nil }
      var begin = line.startIndex + name.utf8CodeUnitCount
      var end = line.endIndex
      while begin < end, line[begin] == 0x20 { begin += 1 }
      while end > begin, line[end - 1] == 0x20 { end -= 1 }
      return line[begin..<end]
    }
  }
}
