import Synchronization

/// The threads on which connections are opened: name, TCP, TLS handshake and Kerberos steps block in C, for as long as a server or a KDC likes.
///
/// A thread each for as many as are being opened, which the connection pools bound for each server by itself: a server that hangs holds up nobody
/// but those who want a connection to it. The thread that was given back last is lent first, and a few are kept.
enum OpeningThreads {
  private static let kept = 4
  private static let idle = Mutex<[ThreadExecutor]>([])

  /// Runs `body` where it may block.
  static func run<Value: Sendable>(_ body: @Sendable () throws(LDAPFault) -> Value) async throws(LDAPFault) -> Value {
    let thread = idle.withLock { $0.popLast() } ?? ThreadExecutor(name: "directory-open")
    let result: Result<Value, LDAPFault> = await withTaskExecutorPreference(thread) {
      do throws(LDAPFault) { return .success(try body()) } catch { return .failure(error) }
    }
    let isKept = idle.withLock { idle in
      guard idle.count < OpeningThreads.kept else { return false }
      idle.append(thread)
      return true
    }
    if !isKept { thread.stop() }
    return try result.get()
  }
}
