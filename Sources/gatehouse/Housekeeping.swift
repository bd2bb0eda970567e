import Bytes
import Foundation
import Identity
import Logging
import ServiceLifecycle

/// Something that has to be done again and again while the process runs.
struct Housekeeping: Service {
  struct Chore: Sendable {
    var name: String
    var interval: Duration
    /// Is told how late it begins: everything that runs in the process waits about as long for its turn.
    var work: @Sendable (_ late: Duration) async throws -> Void

    init(_ name: String, every interval: Duration, _ work: @escaping @Sendable () async throws -> Void) {
      self.init(name, every: interval) { _ in try await work() }
    }

    init(_ name: String, every interval: Duration, _ work: @escaping @Sendable (_ late: Duration) async throws -> Void) {
      self.name = name
      self.interval = interval
      self.work = work
    }
  }

  let chores: [Chore]
  let logger: Logger

  func run() async throws {
    await withTaskGroup(of: Void.self) { group in
      for chore in chores { group.addTask { await keepDoing(chore) } }
    }
  }

  private func keepDoing(_ chore: Chore) async {
    while !Task.isCancelled {
      let due = ContinuousClock.now.advanced(by: chore.interval)
      do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: chore.interval) } } catch { return }
      do { try await chore.work(max(.zero, due.duration(to: .now))) } catch {
        logger.warning("a chore failed; it is tried again", metadata: ["chore": "\(chore.name)", "error": "\(error)"])
      }
    }
  }
}

/// Does something when the shutdown reaches its place in the order of services, and then lets it go on.
struct ShutdownStep: Service {
  let name: String
  let logger: Logger
  let step: @Sendable () async -> Void

  func run() async throws {
    try? await gracefulShutdown()
    logger.info("shutting down", metadata: ["step": "\(name)"])
    await step()
  }
}
