import Bytes
import Foundation
import Identity
import Synchronization

/// A file that holds some space back, so that a full disk is found out before it is too late.
///
/// While the disk has room, the file lies there, preallocated. When it becomes full, the file is given up: the store can go on for a while, tell
/// so in the audit and by an alarm, and the operator can free space. When that is used up too, writes fail, and with them every sign-in
/// (fail closed). As soon as there is room again, the file is made anew and the alarm ends.
package final class DiskReserve: AlarmSource {
  private struct State: Sendable {
    var held = false
    var alarm: Alarm?
    var nextCheck: ContinuousClock.Instant?
  }

  private let path: String
  private let bytes: Int64
  private let now: @Sendable () -> Instant
  private let state = Mutex(State())

  /// - Parameters:
  ///   - path: the file to make, on the same disk as the store: beside it, as `<store>.reserve`.
  ///   - bytes: how much to hold back; an audit row takes about 1 kB.
  ///   - now: the wall clock, for the time in the alarm.
  package init(path: String, bytes: Int64 = 64 << 20, now: @escaping @Sendable () -> Instant) {
    self.path = path
    self.bytes = max(1 << 20, bytes)
    self.now = now
  }

  /// Looks at the disk and makes the file where it is missing and there is room for it and as much again; raises or ends the alarm.
  /// To be called at start and every few seconds.
  package func refresh() {
    state.withLock { state in
      state.nextCheck = .now.advanced(by: .seconds(5))
      state.held = holdsFile()
      if !state.held, let free = freeBytes(), free >= bytes * 2 { state.held = makeFile() }
      guard !state.held || (freeBytes() ?? 0) < bytes else {
        state.alarm = nil
        return
      }
      raise(&state)
    }
  }

  /// `refresh`, at most every five seconds.
  func refreshIfDue() {
    let due = state.withLock { state in state.nextCheck.map { $0 <= .now } ?? true }
    if due { refresh() }
  }

  /// Gives the file up. False where it had been given up before.
  func release() -> Bool {
    state.withLock { state in
      raise(&state)
      state.held = false
      return unlink(path) == 0
    }
  }

  package func alarms() async -> [Alarm] {
    state.withLock { state in state.alarm.map { [$0] } ?? [] }
  }

  private func raise(_ state: inout State) {
    let message =
      state.held
      ? "The disk of the store has less than \(bytes >> 20) MB left beside the reserve."
      : "The disk of the store is full or nearly so; the reserve of \(bytes >> 20) MB was given up or could not be made."
    state.alarm = Alarm(
      .auditDiskLow, subject: path, message: message,
      remedy:
        "Free space on this disk, or export and prune the audit (gatehouse audit export, gatehouse audit prune). No sign-in can be answered once it is full.",
      since: state.alarm?.since ?? now())
  }

  private func holdsFile() -> Bool {
    var status = stat()
    // Preallocated: a file whose blocks are not there (copied as a sparse one) holds nothing back.
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && Int64(status.st_blocks) * 512 >= bytes
  }

  private func makeFile() -> Bool {
    _ = unlink(path)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    guard posix_fallocate(descriptor, 0, off_t(bytes)) == 0, fsync(descriptor) == 0 else {
      _ = unlink(path)
      return false
    }
    return true
  }

  private func freeBytes() -> Int64? {
    var status = statvfs()
    let directory = (path as NSString).deletingLastPathComponent
    guard statvfs(directory.isEmpty ? "." : directory, &status) == 0 else { return nil }
    return Int64(clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue)
  }
}
