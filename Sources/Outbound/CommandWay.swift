import Bytes
import Foundation
import Health
import Identity
import Synchronization

/// Tells of alarms by running a program: without a shell, the notice as JSON on its standard input and as environment variables. Exit status 0 means that
/// it was told.
package struct CommandWay: AlarmWay {
  package let name = "command"
  private let path: String
  private let limit: Duration

  /// - Parameters:
  ///   - path: absolute, of a program that this user may run.
  ///   - limit: how long it may take; then it is killed with everything that it has started.
  package init(path: String, limit: Duration = .seconds(20)) {
    self.path = path
    self.limit = limit
  }

  package func send(_ notice: AlarmNotice) async -> AlarmDelivery {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let body = try? encoder.encode(notice) else { return .failed("the notice cannot be written as JSON", mayHaveArrived: false) }
    let isCancelled = Mutex(false)
    let (path, deadline) = (path, ContinuousClock.now.advanced(by: limit))
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        // A thread of its own for as long as the program runs: waiting for a child blocks. There is one at a time, and one more for a test.
        Thread.detachNewThread {
          continuation.resume(
            returning: CommandWay.run(
              path, environment: CommandWay.environment(notice), input: Array(body) + [0x0a],
              mustEnd: { ContinuousClock.now >= deadline || isCancelled.withLock { $0 } }))
        }
      }
    } onCancel: {
      isCancelled.withLock { $0 = true }
    }
  }

  /// Values come from outside too (agents, relying parties): a script must take them for data, never for words of a command.
  package static func environment(_ notice: AlarmNotice) -> [String: String] {
    let values = [
      "KIND": notice.kind.rawValue, "CODE": notice.code, "SUBJECT": notice.subject, "SEVERITY": notice.severity.rawValue, "MESSAGE": notice.message,
      "REMEDY": notice.remedy, "NODE": notice.node, "ID": notice.id, "SINCE": notice.since.description, "TEXT": notice.text,
    ]
    var result = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"]
    for (key, value) in values {
      result["GATEHOUSE_ALARM_\(key)"] = String(String.UnicodeScalarView(value.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? " " : $0 }))
    }
    return result
  }

  private static func run(_ path: String, environment: [String: String], input: [UInt8], mustEnd: () -> Bool) -> AlarmDelivery {
    guard let standardInput = Conduit(), let output = Conduit() else { return .failed("no pipe: \(lastError())", mayHaveArrived: false) }
    guard let pid = spawn(path, environment: environment, input: standardInput.reading, output: output.writing) else {
      return .failed("\(path) cannot be started: \(lastError())", mayHaveArrived: false)
    }
    close(standardInput.takeReading())
    close(output.takeWriting())
    // A notice is shorter than a pipe holds, so this does not wait. A program that reads nothing is no error: the signal for it waits on this thread, which
    // is the notice's own, and ends with it.
    var broken = sigset_t()
    sigemptyset(&broken)
    sigaddset(&broken, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &broken, nil)
    let writing = standardInput.takeWriting()
    _ = write(writing, input, min(input.count, 60_000))
    close(writing)
    var said: [UInt8] = []
    var status: Int32 = 0
    while true {
      said = Array((said + output.read(waiting: 50)).suffix(2048))
      let ended = waitpid(pid, &status, WNOHANG)
      if ended == pid { break }
      if ended < 0, errno != EINTR { return .failed("what became of \(path) is not known: \(lastError())", mayHaveArrived: true) }
      if mustEnd() {
        // The group that it leads: with everything that it has started.
        kill(-pid, SIGKILL)
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return .failed("\(path) took too long and was killed", mayHaveArrived: true)
      }
    }
    said += output.read(waiting: 0)
    let signal = status & 0x7f
    let code = (status >> 8) & 0xff
    if signal == 0, code == 0 { return .delivered }
    let words = String(decoding: said.suffix(300).map { $0 < 0x20 ? 0x20 : $0 }, as: UTF8.self).trimmingCharacters(in: .whitespaces)
    return .failed(
      "\(path) ended with \(signal == 0 ? "status \(code)" : "signal \(signal)")\(words.isEmpty ? "" : ": \(words)")", mayHaveArrived: true)
  }

  private static func spawn(_ path: String, environment: [String: String], input: Int32, output: Int32) -> pid_t? {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, output, 2)
    // Nothing of the gateway's own goes along: sockets of the event loops are not close-on-exec, and the store's file must not be held open.
    let open = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.compactMap { Int32($0) }.max() ?? 1024
    for descriptor in 3..<open + 64 { posix_spawn_file_actions_addclose(&actions, descriptor) }
    // Threads of this process block most signals, and the gateway ignores SIGPIPE: the program begins as any other does, in a group of its own.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    var standard = sigset_t()
    sigemptyset(&standard)
    for signal in [SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGCHLD] { sigaddset(&standard, signal) }
    posix_spawnattr_setsigdefault(&attributes, &standard)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
    var words: [UnsafeMutablePointer<CChar>?] = [strdup(path), nil]
    var variables: [UnsafeMutablePointer<CChar>?] = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for word in words + variables { free(word) } }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, path, &actions, &attributes, &words, &variables)
    errno = result
    return result == 0 ? pid : nil
  }

  private static func lastError() -> String { String(cString: strerror(errno)) }
}

/// A pipe whose two ends are closed with it, unless somebody took them.
private final class Conduit {
  private(set) var reading: Int32
  private(set) var writing: Int32

  init?() {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return nil }
    (reading, writing) = (ends[0], ends[1])
    _ = fcntl(reading, F_SETFD, FD_CLOEXEC)
    _ = fcntl(writing, F_SETFD, FD_CLOEXEC)
  }

  deinit {
    if reading >= 0 { close(reading) }
    if writing >= 0 { close(writing) }
  }

  func takeReading() -> Int32 {
    defer { reading = -1 }
    return reading
  }

  func takeWriting() -> Int32 {
    defer { writing = -1 }
    return writing
  }

  /// What is there to be read within so many milliseconds; empty at the end and where nothing comes.
  func read(waiting milliseconds: Int32) -> [UInt8] {
    var event = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
    guard poll(&event, 1, milliseconds) > 0 else { return [] }
    guard event.revents & Int16(POLLIN) != 0 else {
      // The program closed its output and runs on.
      if milliseconds > 0 { usleep(useconds_t(milliseconds) * 1000) }
      return []
    }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = Glibc.read(reading, &buffer, buffer.count)
    return count > 0 ? Array(buffer.prefix(count)) : []
  }
}
