import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// A DNS server (RFC 1035) over UDP that knows what it is told: addresses and SRV records. It can fall silent.
final class ScriptedDNSServer: Sendable {
  struct Service: Sendable {
    var priority: UInt16 = 0
    var weight: UInt16 = 100
    var target: String
  }

  struct Zone: Sendable {
    /// IPv4 addresses by name, lower case.
    var addresses: [String: String] = [:]
    var services: [String: [Service]] = [:]
    var isSilent = false
  }

  let host: String
  private let zone: Mutex<Zone>
  private let asked = Mutex<[String]>([])
  private let channel: any Channel

  /// The names that were asked for, in order.
  var questions: [String] { asked.withLock { $0 } }

  private init(host: String, zone: Zone, channel: any Channel) {
    self.host = host
    self.zone = Mutex(zone)
    self.channel = channel
  }

  /// Listens on port 53 of a loopback address of its own: the C library's resolver knows no other port.
  static func start(_ zone: Zone) async throws -> ScriptedDNSServer {
    let process = ProcessInfo.processInfo.processIdentifier
    let host = "127.53.\(process / 200 % 200 + 1).\(process % 200 + 1)"
    let door = Door()
    let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelInitializer { $0.pipeline.addHandler(door) }.bind(host: host, port: 53).get()
    let server = ScriptedDNSServer(host: host, zone: zone, channel: channel)
    door.server.withLock { $0 = server }
    return server
  }

  func change(_ change: (inout Zone) -> Void) { zone.withLock { change(&$0) } }

  func stop() async { try? await channel.close() }

  /// A resolv.conf that leads here, with little patience.
  func resolver(in folder: String) throws -> String {
    let path = folder + "/resolv.conf"
    try "nameserver \(host)\noptions timeout:1 attempts:1\n".write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  /// Nil where nothing is to be said.
  private func answer(_ query: [UInt8]) -> [UInt8]? {
    guard query.count > 16 else { return nil }
    var labels: [String] = []
    var position = 12
    while position < query.count, query[position] != 0 {
      let length = Int(query[position])
      guard length < 64, position + 1 + length < query.count else { return nil }
      labels.append(String(decoding: query[position + 1...position + length], as: UTF8.self))
      position += 1 + length
    }
    guard position + 4 < query.count else { return nil }
    let question = query[12..<position + 5]
    let kind = UInt16(query[position + 1]) << 8 | UInt16(query[position + 2])
    let name = labels.joined(separator: ".").lowercased()
    asked.withLock { $0.append(name) }
    let zone = zone.withLock { $0 }
    if zone.isSilent { return nil }
    var records: [[UInt8]] = []
    switch kind {
    case 1: if let bytes = zone.addresses[name]?.split(separator: ".").compactMap({ UInt8($0) }), bytes.count == 4 { records = [bytes] }
    case 33:
      records = (zone.services[name] ?? []).map { service in
        [service.priority, service.weight, 389].flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] } + ScriptedDNSServer.encoded(service.target)
      }
    default: break
    }
    let isKnown = zone.addresses[name] != nil || zone.services[name] != nil
    // QR, AA, RD, RA; NXDOMAIN (3) for what is not in the zone.
    let head = Array(query[0..<2]) + [0x85, isKnown ? 0x80 : 0x83, 0, 1, 0, UInt8(records.count), 0, 0, 0, 0]
    // The name as a pointer to the question, class IN, one second to live.
    let answers = records.flatMap { [0xc0, 12, UInt8(kind >> 8), UInt8(kind & 255), 0, 1, 0, 0, 0, 1, 0, UInt8($0.count)] + $0 }
    return head + question + answers
  }

  private static func encoded(_ name: String) -> [UInt8] {
    name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }

  private final class Door: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>
    let server = Mutex<ScriptedDNSServer?>(nil)

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let envelope = unwrapInboundIn(data)
      guard let answer = server.withLock({ $0 })?.answer(Array(envelope.data.readableBytesView)) else { return }
      context.writeAndFlush(wrapOutboundOut(AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: answer))), promise: nil)
    }
  }
}
