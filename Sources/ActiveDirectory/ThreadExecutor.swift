import Foundation

/// An executor with a thread of its own: for actors that call blocking C, and for the tasks that call such actors.
///
/// libldap blocks in `poll` for as long as a directory takes to answer. On the cooperative pool a few slow directories would stop every
/// task of the process; here they stop their own thread only. A task that runs here (`withTaskExecutorPreference`) calls the actors that live
/// here without a change of threads, which would cost more than a directory takes to answer. The thread ends when the owner calls `stop`.
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
