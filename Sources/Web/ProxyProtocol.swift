import Bytes
import NIOCore

/// What a PROXY protocol header (versions 1 and 2, haproxy.org/download/2.8/doc/proxy-protocol.txt) says at the head of a connection.
enum ProxyHeader: Equatable, Sendable {
  /// The client's address.
  case client(String)
  /// The proxy speaks for itself (health checks): the socket's address stands.
  case local

  enum Parse: Equatable, Sendable {
    case incomplete
    /// The header and how many bytes it took.
    case header(ProxyHeader, length: Int)
    /// No PROXY header, or a broken one: the connection is closed.
    case malformed
  }

  private static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
  /// The longest version 1 header, §2.1.
  private static let longestLine = 107
  /// The version 2 address block and TLVs that are accepted; the format allows 65,535.
  private static let longestBlock = 2048

  static func parse(_ bytes: [UInt8]) -> Parse {
    let head = Array(bytes.prefix(signature.count))
    if head == signature { return parseBinary(bytes) }
    if signature.starts(with: head) { return .incomplete }
    return parseLine(bytes)
  }

  private static func parseLine(_ bytes: [UInt8]) -> Parse {
    let start = Array("PROXY ".utf8)
    let head = Array(bytes.prefix(start.count))
    guard start.starts(with: head) else { return .malformed }
    guard let end = bytes.firstIndex(of: 0x0a) else { return bytes.count >= longestLine ? .malformed : .incomplete }
    guard end < longestLine, end > 0, bytes[end - 1] == 0x0d else { return .malformed }
    guard let line = String(validating: bytes[..<(end - 1)], as: UTF8.self) else { return .malformed }
    let fields = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
    if fields.count >= 2, fields[1] == "UNKNOWN" { return .header(.local, length: end + 1) }
    func isPort(_ text: String) -> Bool { text.utf8.allSatisfy { (0x30...0x39).contains($0) } && UInt16(text) != nil }
    guard fields.count == 6, fields[1] == "TCP4" || fields[1] == "TCP6", let source = IPAddress(fields[2]),
      fields[2].utf8.contains(UInt8(ascii: ":")) == (fields[1] == "TCP6"), isPort(fields[4]), isPort(fields[5])
    else { return .malformed }
    return .header(.client(source.description), length: end + 1)
  }

  private static func parseBinary(_ bytes: [UInt8]) -> Parse {
    guard bytes.count >= 16 else { return .incomplete }
    let length = Int(bytes[14]) << 8 | Int(bytes[15])
    guard bytes[12] >> 4 == 2, length <= longestBlock else { return .malformed }
    guard bytes.count >= 16 + length else { return .incomplete }
    let block = Array(bytes[16..<(16 + length)])
    switch (bytes[12] & 0x0f, bytes[13]) {
    case (0, _): return .header(.local, length: 16 + length)
    case (1, 0x11):
      guard block.count >= 12, let source = IPAddress(bytes: Array(block[0..<4])) else { return .malformed }
      return .header(.client(source.description), length: 16 + length)
    case (1, 0x21):
      guard block.count >= 36, let source = IPAddress(bytes: Array(block[0..<16])) else { return .malformed }
      return .header(.client(source.description), length: 16 + length)
    default: return .malformed
    }
  }
}

/// Takes the PROXY header off the head of a connection, tells its address to the facts, and leaves the pipeline.
///
/// Only put into the pipeline of connections from configured proxies; from anybody else such a header is what it looks like: not TLS.
final class ProxyProtocolHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let facts: ConnectionFacts
  private var collected = ByteBuffer()

  init(facts: ConnectionFacts) { self.facts = facts }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var buffer = unwrapInboundIn(data)
    collected.writeBuffer(&buffer)
    switch ProxyHeader.parse(Array(collected.readableBytesView.prefix(4096))) {
    case .incomplete: return
    case .malformed: context.close(promise: nil)
    case .header(let header, let length):
      if case .client(let address) = header { facts.setAddress(address) }
      collected.moveReaderIndex(forwardBy: length)
      let rest = collected
      if rest.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(rest)) }
      context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
  }
}
