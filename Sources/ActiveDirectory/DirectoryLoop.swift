import Foundation
import Identity
import Synchronization

/// The thread on which an agent asks its directories: it runs whatever is ready, and sleeps until a directory answers, a time is over, or work comes.
///
/// ```
/// work ready ──► run it ──► ask the kernel which answers have come ──► what waits for them is ready ──┐
///     ▲                     (sleeping, where nothing is ready)                                        │
///     └───────────────────────────────────────────────────────────────────────────────────────────────┘
/// ```
/// One thread, because handing a question from one to another costs more than a directory takes to answer it, and because what comes while the thread
/// is busy is then dealt with together. It follows that nothing may block here: connections are opened on threads aside (`OpeningThreads`), and
/// from then on libldap is only asked for what has arrived.
///
/// `@unchecked Sendable`: `state` is touched only between `lock.lock()` and `lock.unlock()`, in this file; the rest never changes.
package final class DirectoryLoop: SerialExecutor, TaskExecutor, @unchecked Sendable {
  private struct Timer {
    var at: ContinuousClock.Instant
    var action: @Sendable () -> Void
  }

  private struct Reader {
    var until: ContinuousClock.Instant
    var continuation: CheckedContinuation<Bool, Never>
  }

  private struct State {
    var jobs: [UnownedJob] = []
    var timers: [UInt64: Timer] = [:]
    var nextTimer: UInt64 = 0
    /// Those who wait for something to read, by descriptor: one each.
    var readers: [Int32: Reader] = [:]
    /// Not later than the first time at which something is over.
    var nextTime: ContinuousClock.Instant?
    /// Whether the thread sleeps, or is about to, and must be woken.
    var isAsleep = false
    var isStopped = false
  }

  private let lock = NSLock()
  private var state = State()
  private let wakeReader: Int32
  private let wakeWriter: Int32

  /// - Parameter name: shown by debuggers; the kernel keeps 15 bytes of it.
  package init(name: String = "directory") throws {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EMFILE) }
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    (wakeReader, wakeWriter) = (ends[0], ends[1])
    let thread = Thread { [self] in work() }
    thread.name = name
    thread.start()
  }

  // MARK: Work

  package func enqueue(_ job: consuming ExecutorJob) {
    let unowned = UnownedJob(job)
    wake { $0.jobs.append(unowned) }
  }

  /// Lets the thread end once it has nothing left to do. No work may come afterwards.
  package func stop() { wake { $0.isStopped = true } }

  // MARK: Waiting

  /// Waits until there is something to read on `descriptor`, or its other end has closed. False: nothing came until then.
  ///
  /// One at a time for each descriptor, which must stay open for so long.
  func readable(_ descriptor: Int32, until: ContinuousClock.Instant) async -> Bool {
    await withCheckedContinuation { continuation in
      wake { state in
        state.readers[descriptor] = Reader(until: until, continuation: continuation)
        state.nextTime = min(state.nextTime ?? until, until)
      }
    }
  }

  /// A timer that was set.
  struct TimerID: Sendable { fileprivate var number: UInt64 }

  /// Calls `action` on the loop's thread at `time` or soon after, if it was not cancelled before. It must not block.
  func schedule(at time: ContinuousClock.Instant, _ action: @escaping @Sendable () -> Void) -> TimerID {
    wake { state in
      state.nextTimer += 1
      state.timers[state.nextTimer] = Timer(at: time, action: action)
      state.nextTime = min(state.nextTime ?? time, time)
      return TimerID(number: state.nextTimer)
    }
  }

  func cancel(_ timer: TimerID) {
    lock.lock()
    state.timers[timer.number] = nil
    lock.unlock()
  }

  /// Changes what there is to do, and wakes the thread where it sleeps.
  private func wake<Value>(_ change: (inout State) -> Value) -> Value {
    lock.lock()
    let value = change(&state)
    let sleeps = state.isAsleep
    state.isAsleep = false
    lock.unlock()
    if sleeps {
      var byte: UInt8 = 1
      _ = write(wakeWriter, &byte, 1)
    }
    return value
  }

  // MARK: The thread

  private func work() {
    var jobs: [UnownedJob] = []
    var events: [pollfd] = []
    while true {
      lock.lock()
      swap(&jobs, &state.jobs)
      lock.unlock()
      for job in jobs { job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor()) }
      let isIdle = jobs.isEmpty
      jobs.removeAll(keepingCapacity: true)

      lock.lock()
      let sleeps = isIdle && state.jobs.isEmpty
      if sleeps, state.isStopped {
        lock.unlock()
        close(wakeReader)
        close(wakeWriter)
        return
      }
      state.isAsleep = sleeps
      events.removeAll(keepingCapacity: true)
      events.append(pollfd(fd: wakeReader, events: Int16(POLLIN), revents: 0))
      for descriptor in state.readers.keys { events.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)) }
      let nextTime = state.nextTime
      lock.unlock()

      // Nobody waits, and there is more to run: the kernel need not be asked.
      if !sleeps, events.count == 1, nextTime == nil { continue }
      let patience: Int32 = sleeps ? nextTime.map { max(.zero, ContinuousClock.now.duration(to: $0)).pollMilliseconds } ?? -1 : 0
      let ready = poll(&events, nfds_t(events.count), patience)
      resume(ready > 0 ? events : [])
    }
  }

  /// Resumes those whose answer has come, and those whose time is over.
  private func resume(_ events: [pollfd]) {
    if let first = events.first, first.revents != 0 {
      var bytes: (UInt64, UInt64) = (0, 0)
      _ = read(wakeReader, &bytes, 16)
    }
    var resumed: [(CheckedContinuation<Bool, Never>, Bool)] = []
    var due: [@Sendable () -> Void] = []
    lock.lock()
    state.isAsleep = false
    for event in events.dropFirst() where event.revents != 0 {
      if let reader = state.readers.removeValue(forKey: event.fd) { resumed.append((reader.continuation, true)) }
    }
    if let nextTime = state.nextTime {
      let now = ContinuousClock.now
      if now >= nextTime {
        for (descriptor, reader) in state.readers where reader.until <= now {
          state.readers[descriptor] = nil
          resumed.append((reader.continuation, false))
        }
        for (number, timer) in state.timers where timer.at <= now {
          state.timers[number] = nil
          due.append(timer.action)
        }
        let times = state.readers.values.lazy.map(\.until)
        state.nextTime = [times.min(), state.timers.values.lazy.map(\.at).min()].compactMap { $0 }.min()
      }
    }
    lock.unlock()
    for (continuation, isReadable) in resumed { continuation.resume(returning: isReadable) }
    for action in due { action() }
  }
}
