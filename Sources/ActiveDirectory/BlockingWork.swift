import Identity
import NIOCore
import NIOPosix
import Synchronization

/// Runs C calls that block without a time-out of their own (DNS, a Kerberos KDC) on two threads aside.
///
/// Whoever asked stops waiting at the deadline; the call goes on by itself and its result is dropped.
final class BlockingWork: Sendable {
  /// Blocked calls must not gather without end.
  private static let maximumRunning = 64

  private let threads: NIOThreadPool
  private let timers: any EventLoop
  private let running = Mutex(0)

  init(timers: any EventLoop) {
    self.timers = timers
    threads = NIOThreadPool(numberOfThreads: 2)
    threads.start()
  }

  deinit { threads.shutdownGracefully { _ in } }

  /// What `work` answers; nil at the deadline, or where too much is blocked already.
  func run<Value: Sendable>(deadline: Deadline, _ work: @escaping @Sendable () -> Value) async -> Value? {
    guard let answer = begin(work) else { return nil }
    return await wait(for: answer, deadline: deadline)
  }

  /// Begins `work`, whose answer anybody may wait for; nil where too much is blocked already. The answer never fails.
  func begin<Value: Sendable>(_ work: @escaping @Sendable () -> Value) -> EventLoopFuture<Value>? {
    let isAdmitted = running.withLock { running in
      guard running < BlockingWork.maximumRunning else { return false }
      running += 1
      return true
    }
    guard isAdmitted else { return nil }
    let promise = timers.makePromise(of: Value.self)
    threads.submit { [self] _ in
      let value = work()
      running.withLock { $0 -= 1 }
      promise.succeed(value)
    }
    return promise.futureResult
  }

  /// The answer, or nil at the deadline.
  func wait<Value: Sendable>(for answer: EventLoopFuture<Value>, deadline: Deadline) async -> Value? {
    let promise = timers.makePromise(of: Value?.self)
    // Whichever comes second finds the promise kept already, which NIO ignores.
    let timer = timers.scheduleTask(in: .nanoseconds(deadline.remaining().nanosecondsClamped)) { promise.succeed(nil) }
    answer.whenComplete { promise.succeed(try? $0.get()) }
    defer { timer.cancel() }
    return (try? await promise.futureResult.get()) ?? nil
  }
}
