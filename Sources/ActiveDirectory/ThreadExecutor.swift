import Foundation

/// An executor with a thread of its own, for what blocks: a connection that is being opened, a credential's file on a slow disk.
///
/// On the cooperative pool a few servers that hang would stop every task of the process, and on the directory loop every question; here they stop
/// their own thread only. The thread ends when the owner calls `stop`.
///
/// `@unchecked Sendable`: `jobs` and `stopped` are touched only between `condition.lock()` and `condition.unlock()`, in this file.
final class ThreadExecutor: SerialExecutor, TaskExecutor, @unchecked Sendable {
  private let condition = NSCondition()
  private var jobs: [UnownedJob] = []
  private var stopped = false

  /// - Parameter name: shown by debuggers; the kernel keeps 15 bytes of it.
  init(name: String) {
    let thread = Thread { [self] in work() }
    thread.name = name
    thread.stackSize = 1 << 20  // GnuTLS and libkrb5 need little; many connections need many stacks
    thread.start()
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let unowned = UnownedJob(job)
    condition.lock()
    jobs.append(unowned)
    condition.signal()
    condition.unlock()
  }

  /// Lets the thread end once it has nothing left to do. Called by the owner's deinit, after which no job can come.
  func stop() {
    condition.lock()
    stopped = true
    condition.signal()
    condition.unlock()
  }

  private func work() {
    while true {
      condition.lock()
      while jobs.isEmpty, !stopped { condition.wait() }
      let batch = jobs
      jobs.removeAll(keepingCapacity: true)
      condition.unlock()
      if batch.isEmpty { return }
      for job in batch { job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor()) }
    }
  }
}
