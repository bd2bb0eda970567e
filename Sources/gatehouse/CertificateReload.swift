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
/// A pair that a start would refuse (unreadable, expired, of two halves that do not belong together) leaves the old one in use and raises an alarm:
/// an old certificate that is good for some days more serves better than a new one that nobody accepts.
final class CertificateReload: Service, AlarmSource {
  private struct State {
    var seen: [String]
    var alarm: Alarm?
    /// When the certificate in use ends.
    var ends: Instant?
  }

  /// Certificates for 90 days are renewed a month before their end; who has not done it by now has forgotten it.
  private static let notice = Duration.seconds(14 * 86_400)

  private let listener: PublicListenerConfiguration
  private let identity: TLSIdentity
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let state: Mutex<State>

  init(_ listener: PublicListenerConfiguration, identity: TLSIdentity, now: @escaping @Sendable () -> Instant, logger: Logger) {
    self.listener = listener
    self.identity = identity
    self.now = now
    self.logger = logger
    let seen = [CertificateReload.mark(listener.certificateFile), CertificateReload.mark(listener.keyFile)]
    state = Mutex(State(seen: seen, ends: listener.certificateEnds()))
  }

  func run() async throws {
    let signals = await UnixSignalsSequence(trapping: .sighup)
    for await _ in signals.cancelOnGracefulShutdown() { reload() }
  }

  func alarms() async -> [Alarm] {
    let (failed, ends) = state.withLock { ($0.alarm, $0.ends) }
    return [failed, ends.flatMap(ending)].compactMap(\.self)
  }

  private func ending(_ ends: Instant) -> Alarm? {
    let begins = ends.adding(.zero - CertificateReload.notice)
    guard now() >= begins else { return nil }
    return Alarm(
      .certificateExpiring, subject: listener.certificateFile,
      message: "The certificate of the public listener \(ends <= now() ? "has ended" : "ends") on \(ends); from then on no front-end connects.",
      remedy: "Put a new one and its key into \(listener.certificateFile) and \(listener.keyFile); they are read within five seconds.",
      since: begins)
  }

  /// Reloads where a file has changed since the last look.
  func look() async {
    let marks = [CertificateReload.mark(listener.certificateFile), CertificateReload.mark(listener.keyFile)]
    let changed = state.withLock { state in
      defer { state.seen = marks }
      return state.seen != marks
    }
    // Both files are rarely written in one instant: a pair that does not fit yet is looked at again with the next change or signal.
    if changed { reload() }
  }

  private func reload() {
    let (certificateFile, keyFile) = (listener.certificateFile, listener.keyFile)
    do {
      let problems = listener.problemsOfFiles(now: now())
      guard problems.isEmpty else { throw ConfigurationError(file: certificateFile, problems: problems) }
      try identity.replace(certificateFile: certificateFile, keyFile: keyFile)
      let ends = listener.certificateEnds()
      state.withLock { ($0.alarm, $0.ends) = (nil, ends) }
      logger.notice("the public listener's certificate was reloaded", metadata: ["file": "\(certificateFile)"])
    } catch {
      let words = (error as? ConfigurationError)?.problems.map(\.description).joined(separator: " ") ?? "\(error)"
      logger.error("the public listener's certificate could not be reloaded; the old one stays", metadata: ["error": "\(words)"])
      let alarm = Alarm(
        .certificateReloadFailed, subject: certificateFile, message: words,
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
