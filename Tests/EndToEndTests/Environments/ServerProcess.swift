import Foundation
import Synchronization

/// A server under test: started with its own log file, stopped at the latest when the test process dies.
///
/// `setpriv --pdeathsig` ties it to the *thread* that started it (prctl(2), PR_SET_PDEATHSIG), so that one thread starts it and then waits for
/// its end. The same thread is the only one that reaps it, so that the process id is this server's for as long as `isRunning` says so.
final class ServerProcess: Sendable {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  /// How a process ended: its exit status, or 128 and the signal that ended it.
  typealias ExitStatus = Int32

  let log: String
  let pid: pid_t
  private let ending = Mutex<ExitStatus?>(nil)

  private init(log: String, pid: pid_t) {
    self.log = log
    self.pid = pid
  }

  /// Starts `program`; what it prints is appended to `log`.
  static func start(_ program: String, _ arguments: [String], log: String, environment: [String: String] = [:]) async throws -> ServerProcess {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        guard let pid = spawn(["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", program] + arguments, log: log, environment: environment) else {
          continuation.resume(throwing: Failure(description: "\(program) cannot be started"))
          return
        }
        let process = ServerProcess(log: log, pid: pid)
        continuation.resume(returning: process)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7f
        process.ending.withLock { $0 = signal == 0 ? (status >> 8) & 0xff : 128 + signal }
      }
    }
  }

  var isRunning: Bool { ending.withLock { $0 == nil } }

  /// Nil while it runs.
  var exitStatus: ExitStatus? { ending.withLock { $0 } }

  func signal(_ number: Int32) {
    ending.withLock { ending in
      if ending == nil { kill(pid, number) }
    }
  }

  /// Waits for the end; nil where it does not come in time.
  func ended(within limit: Duration) async -> ExitStatus? {
    await eventually(within: limit, every: .milliseconds(10)) { self.exitStatus != nil } ? exitStatus : nil
  }

  /// Asks it to end and insists after `patience`.
  func stop(patience: Duration = .seconds(10)) async {
    signal(SIGTERM)
    if await ended(within: patience) == nil { await crash() }
  }

  /// `kill -9`, and no waiting for anything but the kernel.
  func crash() async {
    signal(SIGKILL)
    _ = await ended(within: .seconds(5))
  }

  /// What it has logged so far.
  var logText: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

  private static func spawn(_ words: [String], log: String, environment: [String: String]) -> pid_t? {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    closeInherited(&actions)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    posix_spawnattr_setflags(&attributes, Int16(0x80))  // POSIX_SPAWN_SETSID: Ctrl-C is for the tests
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    let variables = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(environment) { $1 }
    var arguments = words.map { strdup($0) } + [nil]
    var settings = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for word in arguments + settings { free(word) } }
    var pid: pid_t = 0
    return posix_spawn(&pid, words[0], &actions, &attributes, &arguments, &settings) == 0 ? pid : nil
  }
}

/// Has the child close whatever is open here. NIO's sockets are not close-on-exec: a child with a listener of the tests would keep the port open when
/// the tests have closed it.
///
/// Swift does not see `posix_spawn_file_actions_addclosefrom_np`. Closing what is not open is no error (glibc), so some more are named than there are.
func closeInherited(_ actions: inout posix_spawn_file_actions_t) {
  let open = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.compactMap { Int32($0) }.max() ?? 256
  for descriptor in 3..<open + 64 { posix_spawn_file_actions_addclose(&actions, descriptor) }
}

/// Asks again and again until `condition` holds; false where it does not within `limit`.
func eventually(within limit: Duration, every pause: Duration = .milliseconds(50), _ condition: () async throws -> Bool) async rethrows -> Bool {
  let deadline = ContinuousClock.now.advanced(by: limit)
  while true {
    if try await condition() { return true }
    guard ContinuousClock.now < deadline else { return false }
    try? await Task.sleep(for: pause)
  }
}
