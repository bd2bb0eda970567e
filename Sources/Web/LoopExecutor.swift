import NIOCore

/// Runs a task's work on the event loop of the connection that it serves, so that a request stays on one thread from its first byte to its answer.
///
/// Changing threads costs more than most of what a request does. What a request calls must therefore not block; that holds for all code of the house
/// (docs/architecture.md, law 7), which hands blocking work to threads of its own.
final class LoopExecutor: TaskExecutor {
  private let loop: any EventLoop

  init(_ loop: any EventLoop) { self.loop = loop }

  func enqueue(_ job: consuming ExecutorJob) {
    let unowned = UnownedJob(job)
    loop.execute { unowned.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
