import Foundation
import NIOCore
import NIOPosix
import NIOSSL

/// The wire side of `ScriptedLDAPServer`: just enough BER to read requests and write answers.
final class ScriptedLDAPHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let fault: ScriptedLDAPServer.Fault
  private let log: OperationLog
  private let tls: NIOSSLContext?
  private var pending: [UInt8] = []
  private var isService = false
  private var session: [UInt8]?

  init(fault: ScriptedLDAPServer.Fault, log: OperationLog, context: NIOSSLContext?) {
    self.fault = fault
    self.log = log
    tls = context
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    pending += Array(unwrapInboundIn(data).readableBytesView)
    while let message = BER.take(&pending) { handle(message, context) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func send(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(bytes: bytes)), promise: nil)
  }

  private func answer(_ id: Int, _ tag: UInt8, _ code: Int, _ text: String = "", referral: String? = nil, extra: [UInt8] = []) -> [UInt8] {
    var body = BER.enumerated(code) + BER.octets(Array("".utf8)) + BER.octets(Array(text.utf8))
    if let referral { body += BER.element(0xa3, BER.octets(Array(referral.utf8))) }
    return BER.element(0x30, BER.integer(id) + BER.element(tag, body + extra))
  }

  private func handle(_ message: [UInt8], _ context: ChannelHandlerContext) {
    var rest = message
    guard let id = BER.read(&rest, 0x02).map({ $0.reduce(0) { $0 << 8 | Int($1) } }), let tag = rest.first, var body = BER.read(&rest, tag) else {
      context.close(promise: nil)
      return
    }
    switch tag {
    case 0x60: bind(id, &body, context)
    case 0x63: search(id, &body, context)
    case 0x77: extended(id, &body, context)
    default: context.close(promise: nil)  // unbind, abandon
    }
  }

  private func bind(_ id: Int, _ body: inout [UInt8], _ context: ChannelHandlerContext) {
    _ = BER.read(&body, 0x02)
    let name = String(decoding: BER.read(&body, 0x04) ?? [], as: UTF8.self)
    let password = BER.read(&body, 0x80) ?? []
    log.add(.bind(name: name, passwordBytes: password.count))
    if name == "service" {
      isService = true
      session = ScriptedLDAPServer.personSID
      send(answer(id, 0x61, 0), context)
      return
    }
    let isPerson = name == ScriptedLDAPServer.person
    let isRight = isPerson && password == Array("right".utf8)
    session = isRight ? ScriptedLDAPServer.personSID : nil
    switch fault {
    case .bindResult(let code, let text): send(answer(id, 0x61, code, text), context)
    case .successForEverybody:
      session = isPerson ? ScriptedLDAPServer.personSID : nil
      send(answer(id, 0x61, 0), context)
    case .successForEverybodyAnonymously:
      session = nil
      send(answer(id, 0x61, 0), context)
    case .bindReferral(let url): send(answer(id, 0x61, 10, referral: url), context)
    case .bindWithWrongMessageID: send(answer(id + 1000, 0x61, 0), context)
    case .bindAnsweredBySearchResult: send(answer(id, 0x65, 0), context)
    case .silentAfterBind: break
    case .closeAfterBind: context.close(promise: nil)
    case .resetAfterSuccess:
      send(answer(id, 0x61, 0), context)
      // With a linger time of zero, close(2) sends RST in place of FIN; TLS would say goodbye first.
      let channel = context.channel
      (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in
        channel.close(promise: nil)
      }
    case .dripAfterBind: drip(answer(id, 0x61, 0)[...], context)
    case .chatterAfterBind: chatter(answer(id + 1000, 0x61, 0), context)
    case .hugeMessage: send([0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01, 0x01], context)
    case .indefiniteLength: send([0x30, 0x80, 0x02, 0x01, UInt8(truncatingIfNeeded: id), 0x61, 0x80, 0x0a, 0x01, 0x00], context)
    default:
      let text = "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1"
      send(isRight ? answer(id, 0x61, 0) : answer(id, 0x61, 49, text), context)
    }
  }

  /// One byte each 100 ms.
  private func drip(_ bytes: ArraySlice<UInt8>, _ context: ChannelHandlerContext) {
    guard let first = bytes.first, context.channel.isActive else { return }
    send([first], context)
    let loop = context.eventLoop
    let bound = NIOLoopBound((self, context), eventLoop: loop)
    loop.scheduleTask(in: .milliseconds(100)) { bound.value.0.drip(bytes.dropFirst(), bound.value.1) }
  }

  /// The same message again and again, so many at once that there is always one more to read.
  private func chatter(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
    guard context.channel.isActive else { return }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(bytes: Array(repeatElement(bytes, count: 20_000).joined()))))
      .whenSuccess { bound.value.0.chatter(bytes, bound.value.1) }
  }

  private func search(_ id: Int, _ body: inout [UInt8], _ context: ChannelHandlerContext) {
    let base = String(decoding: BER.read(&body, 0x04) ?? [], as: UTF8.self)
    for tag: UInt8 in [0x0a, 0x0a, 0x02, 0x02, 0x01] { _ = BER.read(&body, tag) }
    if let filter = body.first { _ = BER.read(&body, filter) }
    var list = BER.read(&body, 0x30) ?? []
    var attributes: [String] = []
    while let name = BER.read(&list, 0x04) { attributes.append(String(decoding: name, as: UTF8.self)) }
    log.add(.search(base: base, attributes: attributes))
    if base.isEmpty {
      if let session { send(entry(id, "", [("tokenGroups", [session])]), context) }
      send(answer(id, 0x65, 0), context)
      return
    }
    switch fault {
    case .searchResult(let code):
      send(answer(id, 0x65, code), context)
      return
    case .searchReferral(let url):
      send(answer(id, 0x65, 10, referral: url), context)
      return
    case .searchReferenceBesideEntry(let url):
      send(BER.element(0x30, BER.integer(id) + BER.element(0x73, BER.octets(Array(url.utf8)))), context)
    case .endlessEntries:
      for number in 0..<5000 { send(entry(id, "CN=Person \(number),DC=scripted,DC=test", person()), context) }
      return
    default: break
    }
    if case .rangedMembers(let count) = fault, let range = attributes.first(where: { $0.hasPrefix("member;range=") }) {
      let start = Int(range.dropFirst("member;range=".count).prefix { $0 != "-" }) ?? 0
      let end = min(start + 100, count)
      let name = end == count ? "member;range=\(start)-*" : "member;range=\(start)-\(end - 1)"
      send(entry(id, base, [(name, (start..<end).map { Array("CN=\($0)".utf8) })]), context)
    } else {
      send(entry(id, ScriptedLDAPServer.person, person()), context)
    }
    send(answer(id, 0x65, 0), context)
  }

  private func person() -> [(String, [[UInt8]])] {
    var attributes: [(String, [[UInt8]])] = [
      ("objectGUID", [Array(0..<16)]), ("userPrincipalName", [Array("person@scripted.test".utf8)]), ("sAMAccountName", [Array("person".utf8)]),
      ("mS-DS-ConsistencyGuid", [Array(16..<32)]),
    ]
    if fault != .noObjectSID { attributes.append(("objectSid", [ScriptedLDAPServer.personSID])) }
    if case .rangedMembers = fault { attributes.append(("member;range=0-99", (0..<100).map { Array("CN=\($0)".utf8) })) }
    return attributes
  }

  private func entry(_ id: Int, _ name: String, _ attributes: [(String, [[UInt8]])]) -> [UInt8] {
    let list = attributes.flatMap { key, values in
      BER.element(0x30, BER.octets(Array(key.utf8)) + BER.element(0x31, values.flatMap { BER.octets($0) }))
    }
    return BER.element(0x30, BER.integer(id) + BER.element(0x64, BER.octets(Array(name.utf8)) + BER.element(0x30, list)))
  }

  private func extended(_ id: Int, _ body: inout [UInt8], _ context: ChannelHandlerContext) {
    let name = String(decoding: BER.read(&body, 0x80) ?? [], as: UTF8.self)
    log.add(.extended(name))
    guard name == "1.3.6.1.4.1.1466.20037", let tls else {
      send(answer(id, 0x78, 2, "unknown operation"), context)
      return
    }
    switch fault {
    case .startTLSRefused: send(answer(id, 0x78, 52, "no TLS today"), context)
    case .startTLSWithInjectedBindResponse: send(answer(id, 0x78, 0) + answer(id + 1, 0x61, 0), context)
    default:
      send(answer(id, 0x78, 0), context)
      try? context.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls), position: .first)
    }
  }
}

/// Just enough BER (X.690) for test messages; definite lengths only.
enum BER {
  static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
    switch content.count {
    case 0..<128: [tag, UInt8(content.count)] + content
    case 128..<256: [tag, 0x81, UInt8(content.count)] + content
    case 256..<65536: [tag, 0x82, UInt8(content.count >> 8), UInt8(content.count & 255)] + content
    default: [tag, 0x83, UInt8(content.count >> 16 & 255), UInt8(content.count >> 8 & 255), UInt8(content.count & 255)] + content
    }
  }

  static func octets(_ bytes: [UInt8]) -> [UInt8] { element(0x04, bytes) }
  static func enumerated(_ value: Int) -> [UInt8] { element(0x0a, [UInt8(truncatingIfNeeded: value)]) }
  static func integer(_ value: Int) -> [UInt8] {
    element(0x02, [UInt8(value >> 24 & 255), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)])
  }

  /// The content of the next element if it has this tag; consumes it.
  static func read(_ bytes: inout [UInt8], _ tag: UInt8) -> [UInt8]? {
    guard bytes.first == tag, let (header, length) = header(bytes), bytes.count >= header + length else { return nil }
    defer { bytes.removeFirst(header + length) }
    return Array(bytes[header..<header + length])
  }

  /// The content of the next whole message; consumes it.
  static func take(_ bytes: inout [UInt8]) -> [UInt8]? { read(&bytes, 0x30) }

  private static func header(_ bytes: [UInt8]) -> (Int, Int)? {
    guard bytes.count >= 2 else { return nil }
    let first = bytes[1]
    if first < 0x80 { return (2, Int(first)) }
    let count = Int(first & 0x7f)
    guard (1...3).contains(count), bytes.count >= 2 + count else { return nil }
    return (2 + count, bytes[2..<2 + count].reduce(0) { $0 << 8 | Int($1) })
  }
}
