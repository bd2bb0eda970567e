import Identity
import NIOCore
import Synchronization

/// The threads on which questions are put before directories: each serves one question at a time, from the search to the proof.
///
/// A question that keeps its thread, with the connections that live on it, changes threads twice in all instead of twice for each message. The
/// thread that was given back last is lent first, so that a light load uses few threads and few connections.
final class DirectoryThreads: Sendable {
  /// The thread of the question that is being judged; nil outside of `lend`.
  @TaskLocal static var current: DirectoryThread?

  /// A thread costs little, but many of them at once cost more than they bring.
  private static let most = 64

  private let turnstile: Turnstile
  private let idle = Mutex<[DirectoryThread]>([])

  /// - Parameters:
  ///   - binds: how many binds all servers together take at once. Twice as many questions are on their way, since each is a search first;
  ///     further ones wait in order, before they have cost anything.
  ///   - maximumWaiting: how many may wait.
  init(binds: Int, maximumWaiting: Int, timers: any EventLoop) {
    turnstile = Turnstile(limit: max(2, min(DirectoryThreads.most, binds * 2)), maximumWaiting: maximumWaiting, timers: timers)
  }

  /// Who has waited for so long before anything was done is one of too many: behind them others wait who could still be answered in time.
  private static let patience = Duration.seconds(1)

  /// Runs `body` on a thread that is nobody else's for that long. Throws `.noTime` or `.overloaded` where none was free in time.
  func lend<Value: Sendable>(deadline: Deadline, _ body: () async throws(LDAPFault) -> Value) async throws(LDAPFault) -> Value {
    do throws(LDAPFault) {
      try await turnstile.enter(deadline: min(deadline, Deadline(after: DirectoryThreads.patience)))
    } catch {
      throw error == .noTime && !deadline.hasPassed ? .overloaded : error
    }
    defer { turnstile.leave() }
    let thread = idle.withLock { $0.popLast() } ?? DirectoryThread()
    defer { idle.withLock { $0.append(thread) } }
    return try await withTaskExecutorPreference(thread.executor) { () async throws(LDAPFault) -> Value in
      // A task-local value passes errors through untyped.
      let result: Result<Value, LDAPFault> = await DirectoryThreads.$current.withValue(thread) {
        do throws(LDAPFault) { return .success(try await body()) } catch { return .failure(error) }
      }
      return try result.get()
    }
  }
}

/// One of them. It ends when neither the threads' owner nor a connection holds it any more.
final class DirectoryThread: Sendable {
  let executor = ThreadExecutor(name: "directory")

  deinit { executor.stop() }
}
