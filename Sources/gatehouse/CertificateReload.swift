import Bytes
import Foundation
import Identity
import Logging
import ServiceLifecycle
import Synchronization
import UnixSignals
import Web

/// Takes up a new certificate of the public listener without a restart: when the files change (looked at every five seconds) and on SIGHUP.
///
/// A pair that cannot be used leaves the old one in use and raises an alarm.
final class CertificateReload: Service, AlarmSource {
  private struct State {
    var seen: [String]
    var alarm: Alarm?
  }

  private let certificateFile: String
  private let keyFile: String
  private let identity: TLSIdentity
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let state: Mutex<State>

  init(_ listener: PublicListenerConfiguration, identity: TLSIdentity, now: @escaping @Sendable () -> Instant, logger: Logger) {
    certificateFile = listener.certificateFile
    keyFile = listener.keyFile
    self.identity = identity
    self.now = now
    self.logger = logger
    state = Mutex(State(seen: [CertificateReload.mark(listener.certificateFile), CertificateReload.mark(listener.keyFile)]))
  }

  func run() async throws {
    let signals = await UnixSignalsSequence(trapping: .sighup)
    for await _ in signals.cancelOnGracefulShutdown() { reload() }
  }

  func alarms() async -> [Alarm] { state.withLock { $0.alarm.map { [$0] } ?? [] } }

  /// Reloads where a file has changed since the last look.
  func look() async {
    let marks = [CertificateReload.mark(certificateFile), CertificateReload.mark(keyFile)]
    let changed = state.withLock { state in
      defer { state.seen = marks }
      return state.seen != marks
    }
    // Both files are rarely written in one instant: a pair that does not fit yet is looked at again with the next change or signal.
    if changed { reload() }
  }

  private func reload() {
    do {
      try identity.replace(certificateFile: certificateFile, keyFile: keyFile)
      state.withLock { $0.alarm = nil }
      logger.notice("the public listener's certificate was reloaded", metadata: ["file": "\(certificateFile)"])
    } catch {
      logger.error("the public listener's certificate could not be reloaded; the old one stays", metadata: ["error": "\(error)"])
      let alarm = Alarm(
        .certificateReloadFailed, subject: certificateFile, message: "\(error)",
        remedy: "Put a certificate and its key into \(certificateFile) and \(keyFile); they are read within five seconds, or at once on SIGHUP.",
        since: now())
      state.withLock { $0.alarm = alarm }
    }
  }

  /// Changes whenever the file is replaced or written.
  private static func mark(_ path: String) -> String {
    guard let facts = try? FileManager.default.attributesOfItem(atPath: path) else { return "none" }
    let changed = (facts[.modificationDate] as? Date).map { Instant($0).milliseconds } ?? 0
    return "\(facts[.systemFileNumber] ?? 0) \(facts[.size] ?? 0) \(changed)"
  }
}
