import Foundation

/// An IP address and port as the socket calls take it.
struct NetworkAddress: Sendable, Hashable, CustomStringConvertible {
  /// A `sockaddr_in` or `sockaddr_in6`.
  let socketAddress: [UInt8]
  /// 4 or 16 bytes, for comparing with a certificate's address.
  let ipBytes: [UInt8]
  let description: String

  /// Nil where `text` is no IP address. Never asks DNS.
  static func literal(_ text: String, port: Int) -> NetworkAddress? {
    let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
    return lookUp(bare, port: port, flags: AI_NUMERICHOST | AI_NUMERICSERV).first
  }

  /// The addresses of a name, IPv4 and IPv6 in the system's order. **Blocks** for as long as DNS takes.
  static func resolve(_ host: String, port: Int) -> [NetworkAddress] {
    lookUp(host, port: port, flags: AI_NUMERICSERV)
  }

  private static func lookUp(_ host: String, port: Int, flags: Int32) -> [NetworkAddress] {
    guard (0...65535).contains(port), !host.isEmpty, !host.utf8.contains(0) else { return [] }
    var hints = addrinfo()
    hints.ai_flags = flags
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return [] }
    defer { freeaddrinfo(list) }
    var found: [NetworkAddress] = []
    var next = list
    while let entry = next?.pointee, found.count < 16 {
      next = entry.ai_next
      guard let pointer = entry.ai_addr else { continue }
      let bytes = Array(UnsafeRawBufferPointer(start: pointer, count: Int(entry.ai_addrlen)))
      // The kernel's layout (netinet/in.h): family, port, then the address at 4 (IPv4) or, after the flow label, at 8 (IPv6).
      let ip: ArraySlice<UInt8>
      switch entry.ai_family {
      case AF_INET where bytes.count >= 8: ip = bytes[4..<8]
      case AF_INET6 where bytes.count >= 24: ip = bytes[8..<24]
      default: continue
      }
      var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
      guard getnameinfo(pointer, entry.ai_addrlen, &name, socklen_t(name.count), nil, 0, NI_NUMERICHOST) == 0 else { continue }
      let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      let written = entry.ai_family == AF_INET6 ? "[\(text)]:\(port)" : "\(text):\(port)"
      found.append(NetworkAddress(socketAddress: bytes, ipBytes: Array(ip), description: written))
    }
    return found
  }

  /// Opens a TCP connection and answers its descriptor, non-blocking and close-on-exec. **Blocks** up to `timeout`.
  func connect(timeout: Duration) throws(LDAPFault) -> Int32 {
    let family = socketAddress.count == MemoryLayout<sockaddr_in6>.size ? AF_INET6 : AF_INET
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    let descriptor = socket(family, kind, 0)
    guard descriptor >= 0 else { throw .unreachable("no socket: \(NetworkAddress.error(errno))") }
    do throws(LDAPFault) {
      try finishConnecting(descriptor, timeout: timeout)
    } catch {
      close(descriptor)
      throw error
    }
    var on: Int32 = 1
    let size = socklen_t(MemoryLayout<Int32>.size)
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, size)
    setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, size)
    return descriptor
  }

  private func finishConnecting(_ descriptor: Int32, timeout: Duration) throws(LDAPFault) {
    let started = socketAddress.withUnsafeBytes { raw in
      raw.withMemoryRebound(to: sockaddr.self) { Foundation.connect(descriptor, $0.baseAddress, socklen_t(raw.count)) }
    }
    if started == 0 { return }
    guard errno == EINPROGRESS else { throw .unreachable("\(description): \(NetworkAddress.error(errno))") }
    let deadline = ContinuousClock.now.advanced(by: timeout)
    while true {
      var event = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      let left = max(.zero, ContinuousClock.now.duration(to: deadline)).pollMilliseconds
      let ready = poll(&event, 1, left)
      if ready < 0, errno == EINTR { continue }
      guard ready > 0 else { throw .unreachable("\(description): no connection within \(timeout)") }
      break
    }
    var failure: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &size) == 0, failure == 0 else {
      throw .unreachable("\(description): \(NetworkAddress.error(failure))")
    }
  }

  private static func error(_ number: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 128)
    guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

extension Duration {
  /// For poll(2): rounded up, so that a wait is never a busy loop; at most 24 days.
  var pollMilliseconds: Int32 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    guard seconds < 2_000_000 else { return 2_000_000_000 }
    return Int32(seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
  }

  /// For libldap; negative durations become zero.
  var timeval: Foundation.timeval {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return Foundation.timeval(tv_sec: 0, tv_usec: 0) }
    return Foundation.timeval(tv_sec: Int(min(seconds, 1_000_000)), tv_usec: Int(attoseconds / 1_000_000_000_000))
  }

  /// For traces.
  var fractionalMilliseconds: Double {
    let (seconds, attoseconds) = components
    return (Double(seconds) * 1e5 + (Double(attoseconds) / 1e13).rounded()) / 100
  }
}
