import Foundation
import Synchronization

/// Processes of which each gets a part of a processor: by the kernel's quota for a control group where this machine has one to give,
/// else by stopping them for the rest of the time.
enum Starvation {
  /// - Parameter share: of each 100 ms, how many they may run.
  static func with(_ processes: [ServerProcess], share: Int = 10, _ body: () async throws -> Void) async throws {
    let groups = processes.map { ControlGroup(starving: $0.pid, milliseconds: share) }
    let duty = Duty(processes: zip(processes, groups).filter { $0.1 == nil }.map(\.0), milliseconds: share)
    let result: Result<Void, any Error>
    do { result = .success(try await body()) } catch { result = .failure(error) }
    duty.end()
    for group in groups { group?.end() }
    try result.get()
  }

  /// A group of one process with a quota (cgroups(7), the first version's `cpu` controller or the second version).
  private struct ControlGroup {
    let folder: String
    let parent: String
    let pid: pid_t

    init?(starving pid: pid_t, milliseconds: Int) {
      let name = "gatehouse-tests-\(pid)"
      for (root, file, quota) in [
        ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "\(milliseconds * 1000)"), ("/sys/fs/cgroup", "cpu.max", "\(milliseconds * 1000) 100000"),
      ] {
        let folder = root + "/" + name
        guard mkdir(folder, 0o755) == 0 else { continue }
        // A folder in which the quota's file does not appear is no control group, or none with this controller.
        if ControlGroup.write(quota, to: folder + "/" + file), ControlGroup.write("\(pid)", to: folder + "/cgroup.procs") {
          (self.folder, self.parent, self.pid) = (folder, root, pid)
          return
        }
        rmdir(folder)
      }
      return nil
    }

    func end() {
      // A process that has ended has left by itself.
      _ = ControlGroup.write("\(pid)", to: parent + "/cgroup.procs")
      rmdir(folder)
    }

    private static func write(_ text: String, to path: String) -> Bool {
      let file = open(path, O_WRONLY)
      guard file >= 0 else { return false }
      defer { close(file) }
      return Glibc.write(file, text, text.utf8.count) == text.utf8.count
    }
  }

  /// Stops processes for the rest of each tenth of a second.
  private final class Duty: Sendable {
    private let isOver = Mutex(false)

    init(processes: [ServerProcess], milliseconds: Int) {
      guard !processes.isEmpty else { return }
      Thread.detachNewThread { [self] in
        while !isOver.withLock({ $0 }) {
          for process in processes { process.signal(SIGSTOP) }
          usleep(UInt32(100 - milliseconds) * 1000)
          for process in processes { process.signal(SIGCONT) }
          usleep(UInt32(milliseconds) * 1000)
        }
      }
    }

    /// Afterwards they run: the last thing that the thread sends is SIGCONT.
    func end() { isOver.withLock { $0 = true } }
  }
}
