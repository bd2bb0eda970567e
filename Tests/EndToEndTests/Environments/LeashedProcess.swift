import Foundation

/// A helper process that cannot outlive the tests.
///
/// Its standard input is connected to the test process only, and the command ends itself when that input ends: at the end of the
/// run, after a crash, after Ctrl-C, after `kill -9`. No teardown has to run for that.
struct LeashedProcess: Sendable {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  private let leash: Int32

  /// Starts `script` with `/bin/bash` and answers what it printed up to and including `lastLine`.
  ///
  /// The ends are close-on-exec, so that no other child keeps the leash alive.
  static func start(_ script: String, arguments: [String], until lastLine: String, within limit: Duration) async throws -> (LeashedProcess, String) {
    var input: [Int32] = [0, 0]
    var output: [Int32] = [0, 0]
    // Socket pairs, since Swift does not see pipe2: like it, they are close-on-exec from the first moment on.
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, kind, 0, &input) == 0, socketpair(AF_UNIX, kind, 0, &output) == 0 else { throw Failure(description: "no socket pair") }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, input[0], 0)
    posix_spawn_file_actions_adddup2(&actions, output[1], 1)
    posix_spawn_file_actions_adddup2(&actions, output[1], 2)
    closeInherited(&actions)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    // The calling thread blocks nearly all signals, SIGTERM too, and children inherit that: they could not be asked to end.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    // POSIX_SPAWN_SETSID (0x80, which Swift does not see): Ctrl-C is for the tests; the leash does the rest.
    posix_spawnattr_setflags(&attributes, Int16(0x80) | Int16(POSIX_SPAWN_SETSIGMASK))
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    var words = (["/bin/bash", "-c", script, "leashed"] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var pid: pid_t = 0
    guard posix_spawn(&pid, "/bin/bash", &actions, &attributes, words, environ) == 0 else { throw Failure(description: "bash cannot be started") }
    close(input[0])
    close(output[1])
    let reading = output[0]
    let child = pid
    let deadline = ContinuousClock.now.advanced(by: limit)
    let text: String = await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        var gathered: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !String(decoding: gathered, as: UTF8.self).contains(lastLine), ContinuousClock.now < deadline {
          var event = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
          guard poll(&event, 1, 200) > 0 else { continue }
          let count = read(reading, &buffer, buffer.count)
          guard count > 0 else { break }
          gathered += buffer.prefix(count)
        }
        continuation.resume(returning: String(decoding: gathered, as: UTF8.self))
        // What it says later is read and dropped, so that it never waits for a full pipe.
        while read(reading, &buffer, buffer.count) > 0 {}
        close(reading)
        var status: Int32 = 0
        waitpid(child, &status, 0)
      }
    }
    let process = LeashedProcess(leash: input[1])
    guard text.contains(lastLine) else {
      process.stop()
      throw Failure(description: "did not get ready within \(limit): \(text)")
    }
    return (process, text)
  }

  /// Ends it now. Call at most once; the end of the tests does the same.
  func stop() { close(leash) }

  /// Runs a command to its end and answers its output; throws where it fails.
  @discardableResult
  static func run(_ program: String, _ arguments: [String], environment: [String: String] = [:]) async throws -> String {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        do {
          try process.run()
          let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
          process.waitUntilExit()
          guard process.terminationStatus == 0 else {
            throw Failure(description: "\(program) \(arguments.joined(separator: " ")) ended with \(process.terminationStatus): \(output)")
          }
          continuation.resume(returning: output)
        } catch {
          continuation.resume(throwing: error)
        }
      }
    }
  }
}
