import Foundation
import NIOCore
import Synchronization

/// Ends a blocking call on a socket at a deadline, by shutting the socket down under it.
///
/// Debian's libldap does its TLS handshake without any time-out (LDAP_OPT_NETWORK_TIMEOUT covers only the TCP connection), and spins where the
/// socket does not block. A server that accepts and then says nothing would hold a thread for ever.
final class SocketWatchdog: Sendable {
  /// Nil once nobody may touch the socket any more: it may be closed and its number given to another.
  private let descriptor: Mutex<Int32?>

  private init(_ descriptor: Int32) { self.descriptor = Mutex(descriptor) }

  /// Runs `body`, which may block in calls on `descriptor`, for `limit` at most. **Blocks** as `body` does.
  static func guarding<Value>(
    _ descriptor: Int32, for limit: Duration, timers: any EventLoop, _ body: () throws(LDAPFault) -> Value
  ) throws(LDAPFault) -> Value {
    let watchdog = SocketWatchdog(descriptor)
    let timer = timers.scheduleTask(in: .nanoseconds(limit.nanosecondsClamped)) {
      watchdog.descriptor.withLock { descriptor in
        if let descriptor { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }
      }
    }
    defer {
      watchdog.descriptor.withLock { $0 = nil }
      timer.cancel()
    }
    return try body()
  }
}
