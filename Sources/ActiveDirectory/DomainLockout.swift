import Bytes
import Foundation
import Identity
import Synchronization

/// By which lockout one domain goes, which of its servers is the PDC emulator, and what each server's clock says. From memory, read anew each minute.
///
/// AD forwards wrong passwords to the PDC emulator, so that its count is the best total (badPwdCount and badPasswordTime are not replicated: MS-ADA1
/// 2.83). A directory that does not forward them is covered by reading the server that is bound to as well, and taking the larger.
final class DomainLockout: Sendable {
  /// Where a person's count stands, as one server tells it.
  struct Standing: Sendable, Equatable {
    /// Zero where the observation window has passed; nil where badPwdCount cannot be read, or is not there since nothing was ever counted.
    var count: Int?
    /// nil: no wrong password ever, or not readable.
    var lastWrongMillisecondsAgo: Int64?
    var passwordSet: Int64?
    /// Whether lockoutTime says that the account is locked, for at least ten more seconds.
    var isLocked: Bool
  }

  /// What a server says of itself.
  private struct Server: Sendable {
    /// The distinguished name of its nTDSDSA object, normalized.
    var service: String?
    /// Its clock, less ours.
    var ahead: Duration
    var at: ContinuousClock.Instant
  }

  private struct Domain: Sendable {
    /// nil where the domain's root does not show it.
    var policy: DirectoryLockoutPolicy?
    /// nil where it is not among the servers that may be asked.
    var primary: DirectoryServer?
    /// Why the PDC emulator is not asked, for the trace.
    var why: String
    var at: ContinuousClock.Instant
  }

  private struct State: Sendable {
    var servers: [DirectoryServer: Server] = [:]
    var domain: Domain?
    var settings: [String: (policy: DirectoryLockoutPolicy?, at: ContinuousClock.Instant)] = [:]
  }

  /// What every search of a person asks for.
  static let attributes = ["badPwdCount", "badPasswordTime", "lockoutTime", "pwdLastSet", "msDS-ResultantPSO"]
  /// A person whose policy cannot be read is taken for one who is locked as early as this.
  static let conservative = DirectoryLockoutPolicy(threshold: 3, window: .seconds(30 * 60), lock: nil)
  private static let freshness = Duration.seconds(60)
  private static let maximumSettings = 1000
  /// Added to the observation window: clocks are read to the second, and the question takes a while to become a bind.
  static let margin = Duration.seconds(5)

  private let domain: DirectoryDomain
  private let partition: DirectoryPartition
  private let alarms: DirectoryAlarms
  private let now: @Sendable () -> Instant
  private let state = Mutex(State())

  init(domain: DirectoryDomain, partition: DirectoryPartition, alarms: DirectoryAlarms, now: @escaping @Sendable () -> Instant) {
    self.domain = domain
    self.partition = partition
    self.alarms = alarms
    self.now = now
  }

  /// The domain's policy as last read; nil where it could not be.
  var policy: DirectoryLockoutPolicy? { state.withLock { $0.domain?.policy } }

  // MARK: What changes seldom

  /// Reads policy, PDC emulator and clocks anew, where they are older than half a minute.
  func refresh(deadline: Deadline) async {
    guard state.withLock({ $0.domain.map { $0.at.duration(to: .now) > DomainLockout.freshness / 2 } ?? true }) else { return }
    _ = try? await read(deadline: deadline, trace: TraceRecorder())
  }

  private func current(deadline: Deadline, trace: TraceRecorder) async throws(LDAPFault) -> Domain {
    // The background refresh keeps this fresh; a question reads only where that has not happened yet, or fails.
    if let known = state.withLock({ $0.domain }), known.at.duration(to: .now) < DomainLockout.freshness * 2 { return known }
    return try await read(deadline: deadline, trace: trace)
  }

  @discardableResult
  private func read(deadline: Deadline, trace: TraceRecorder) async throws(LDAPFault) -> Domain {
    let root = try await partition.search(
      LDAPSearch(
        base: domain.distinguishedName, scope: .base, filter: .present("objectClass"),
        attributes: ["lockoutThreshold", "lockOutObservationWindow", "lockoutDuration", "fSMORoleOwner"], limit: 1),
      deadline: deadline, trace: trace
    ).entries.first
    let policy = root.flatMap {
      DirectoryLockoutPolicy($0, threshold: "lockoutThreshold", window: "lockOutObservationWindow", lock: "lockoutDuration")
    }
    if policy == nil {
      raise("the lockout policy of the domain \(domain.dnsName) cannot be read", grant: "RP", on: domain.distinguishedName)
    } else {
      alarms.clear(.lockoutUnreadable, subject: domain.dnsName)
    }
    let (primary, why) = await findPrimary(owner: root?.text("fSMORoleOwner"), deadline: deadline, trace: trace)
    let fresh = Domain(policy: policy, primary: primary, why: why, at: .now)
    state.withLock { $0.domain = fresh }
    return fresh
  }

  /// The PDC emulator: the server whose nTDSDSA object the domain's fSMORoleOwner names (MS-ADTS 3.1.1.5.5.1.8).
  private func findPrimary(owner: String?, deadline: Deadline, trace: TraceRecorder) async -> (DirectoryServer?, why: String) {
    guard let owner, let wanted = DistinguishedName.normalized(owner) else { return (nil, "the domain's fSMORoleOwner cannot be read") }
    let candidates = (try? await partition.locator.servers(for: .search, deadline: deadline).servers) ?? []
    for server in candidates where await facts(of: server, deadline: deadline, trace: trace)?.service == wanted { return (server, "") }
    guard case .serviceRecords = domain.servers, let comma = owner.utf8.firstIndex(of: UInt8(ascii: ",")) else {
      return (nil, "the PDC emulator (\(owner)) is none of the configured servers that answer")
    }
    // Not among the published servers of the site: by the name that its server object, the parent of nTDSDSA, has.
    let object = try? await partition.search(
      LDAPSearch(
        base: String(owner[owner.utf8.index(after: comma)...]), scope: .base, filter: .present("objectClass"), attributes: ["dNSHostName"], limit: 1),
      deadline: deadline, trace: trace
    ).entries.first
    guard let host = object?.text("dNSHostName") else { return (nil, "the PDC emulator's host name cannot be read") }
    let server = DirectoryServer(host: host)
    guard await facts(of: server, deadline: deadline, trace: trace)?.service == wanted else {
      return (nil, "the PDC emulator \(host) does not answer")
    }
    return (server, "")
  }

  private func facts(of server: DirectoryServer, deadline: Deadline, trace: TraceRecorder) async -> Server? {
    if let known = state.withLock({ $0.servers[server] }), known.at.duration(to: .now) < DomainLockout.freshness { return known }
    let query = LDAPSearch(base: "", scope: .base, filter: .present("objectClass"), attributes: ["dsServiceName", "currentTime"], limit: 1)
    guard let root = try? await partition.search(query, only: server, deadline: deadline, trace: trace).entries.first else { return nil }
    let clock = root.text("currentTime").flatMap(GeneralizedTime.instant)
    let made = Server(
      service: root.text("dsServiceName").flatMap(DistinguishedName.normalized), ahead: clock.map { $0.since(now()) } ?? .zero, at: .now)
    state.withLock { state in
      if state.servers.count > 256 { state.servers.removeAll() }
      state.servers[server] = made
    }
    return made
  }

  // MARK: A person

  /// How a person stands at the server that is about to be bound to and, where that is another one, at the PDC emulator: the larger count.
  ///
  /// - Parameters:
  ///   - entry: the person as `searched` told it; nil where somebody else (a global catalog) did.
  func weigh(
    _ distinguishedName: String, entry: LDAPEntry?, searched: DirectoryServer?, binding server: DirectoryServer, deadline: Deadline,
    trace: TraceRecorder
  ) async throws(LDAPFault) -> (standing: Standing, policy: DirectoryLockoutPolicy) {
    let domain = try await current(deadline: deadline, trace: trace)
    let own: LDAPEntry
    if let entry, searched == server {
      own = entry
    } else {
      guard let read = try await person(distinguishedName, at: server, deadline: deadline, trace: trace) else {
        throw .protocolViolation("\(server) does not have the person that another server has")
      }
      own = read
    }
    let policy = try await self.policy(of: own, in: domain, deadline: deadline, trace: trace)
    var standing = await self.standing(own, at: server, policy: policy, deadline: deadline, trace: trace)
    let locked = standing.isLocked
    guard policy.locks else { return (standing, policy) }
    if let primary = domain.primary, primary != server {
      do throws(LDAPFault) {
        guard let there = try await person(distinguishedName, at: primary, deadline: deadline, trace: trace) else {
          throw .protocolViolation("the PDC emulator \(primary) does not have the person")
        }
        let second = await self.standing(there, at: primary, policy: policy, deadline: deadline, trace: trace)
        standing.count = [standing.count, second.count].compactMap { $0 }.max()
        standing.lastWrongMillisecondsAgo = [standing.lastWrongMillisecondsAgo, second.lastWrongMillisecondsAgo].compactMap { $0 }.min()
        standing.passwordSet = second.passwordSet ?? standing.passwordSet
        if second.isLocked, !locked { standing.count = max(standing.count ?? 0, policy.threshold) }
      } catch {
        trace.add(.lockout, "the PDC emulator was not asked (\(error.summary)): only what \(server) counted is known")
      }
    } else if domain.primary == nil {
      trace.add(.lockout, "\(domain.why): only what \(server) counted is known")
    }
    // A domain controller at which nobody ever mistyped has no badPwdCount of the person, so its absence alone says nothing about rights.
    if standing.count == nil, standing.passwordSet == nil {
      raise("badPwdCount and pwdLastSet of people in \(self.domain.dnsName) cannot be read", grant: "RP", on: self.domain.distinguishedName)
    }
    return (standing, policy)
  }

  /// The second half of what a person who exists would cost, for names that nobody has.
  func weighNobody(binding server: DirectoryServer, deadline: Deadline, trace: TraceRecorder) async {
    guard let domain = try? await current(deadline: deadline, trace: trace), let primary = domain.primary, primary != server,
      domain.policy?.locks ?? true
    else { return }
    _ = try? await person(self.domain.distinguishedName, at: primary, deadline: deadline, trace: trace)
  }

  private func person(
    _ distinguishedName: String, at server: DirectoryServer, deadline: Deadline, trace: TraceRecorder
  ) async throws(LDAPFault) -> LDAPEntry? {
    let query = LDAPSearch(
      base: distinguishedName, scope: .base, filter: .present("objectClass"), attributes: DomainLockout.attributes, limit: 1)
    return try await partition.search(query, only: server, deadline: deadline, trace: trace).entries.first
  }

  private func standing(
    _ entry: LDAPEntry, at server: DirectoryServer, policy: DirectoryLockoutPolicy, deadline: Deadline, trace: TraceRecorder
  ) async -> Standing {
    let ahead = await facts(of: server, deadline: deadline, trace: trace)?.ahead ?? .zero
    return Standing(entry, policy: policy, now: now().adding(ahead))
  }

  /// By which policy the person goes whose entry this is; nil where it cannot be read.
  func policy(of entry: LDAPEntry, deadline: Deadline, trace: TraceRecorder) async throws(LDAPFault) -> DirectoryLockoutPolicy? {
    let domain = try await current(deadline: deadline, trace: trace)
    guard let name = entry.text("msDS-ResultantPSO") else { return domain.policy }
    _ = try await policy(of: entry, in: domain, deadline: deadline, trace: trace)
    return state.withLock { $0.settings[asciiLowercased(name)]?.policy }
  }

  /// The person's own policy: that of the password settings object that wins for them, else the domain's.
  private func policy(
    of entry: LDAPEntry, in domain: Domain, deadline: Deadline, trace: TraceRecorder
  ) async throws(LDAPFault) -> DirectoryLockoutPolicy {
    guard let name = entry.text("msDS-ResultantPSO") else { return domain.policy ?? DomainLockout.conservative }
    let key = asciiLowercased(name)
    let known = state.withLock { $0.settings[key] }
    let own: DirectoryLockoutPolicy?
    if let known, known.at.duration(to: .now) < DomainLockout.freshness {
      own = known.policy
    } else {
      own = try await readSettings(name, deadline: deadline, trace: trace)
      state.withLock { state in
        if state.settings.count > DomainLockout.maximumSettings { state.settings.removeAll() }
        state.settings[key] = (own, .now)
      }
    }
    if let own {
      alarms.clear(.lockoutUnreadable, subject: name)
      return own
    }
    raise("the password settings object \(name) cannot be read", subject: name, grant: "GR", on: name)
    let stricter = DomainLockout.conservative.stricter(domain.policy ?? DomainLockout.conservative)
    trace.add(.lockout, "\(name) cannot be read: the person is taken to be locked after \(stricter.threshold) wrong passwords")
    return stricter
  }

  private func readSettings(_ name: String, deadline: Deadline, trace: TraceRecorder) async throws(LDAPFault) -> DirectoryLockoutPolicy? {
    let query = LDAPSearch(
      base: name, scope: .base, filter: .present("objectClass"),
      attributes: ["msDS-LockoutThreshold", "msDS-LockoutObservationWindow", "msDS-LockoutDuration"], limit: 1)
    do throws(LDAPFault) {
      return try await partition.search(query, deadline: deadline, trace: trace).entries.first.flatMap {
        DirectoryLockoutPolicy($0, threshold: "msDS-LockoutThreshold", window: "msDS-LockoutObservationWindow", lock: "msDS-LockoutDuration")
      }
    } catch {
      // noSuchObject and insufficientAccessRights: what may not be read looks like what is not there.
      if case .result(let result) = error, result.code == 32 || result.code == 50 { return nil }
      throw error
    }
  }

  private func raise(_ what: String, subject: String? = nil, grant: String, on object: String) {
    alarms.raise(
      .lockoutUnreadable, subject: subject ?? domain.dnsName,
      message: "Of the directory's lockout, \(what): people are let through more sparingly than their policy allows.",
      remedy: "Let the service account read it: dsacls \"\(object)\" /I:T /G \"DOMAIN\\svc-gatehouse:\(grant)\" as a domain administrator.")
  }
}

extension DomainLockout.Standing {
  /// - Parameter now: by the clock of the server that the entry came from.
  init(_ entry: LDAPEntry, policy: DirectoryLockoutPolicy, now: Instant) {
    let last = entry.fileTime("badPasswordTime")
    let counted = entry.number("badPwdCount").map { Int(clamping: $0) }
    let isOver = last.map { now.since($0) > policy.window + DomainLockout.margin } ?? false
    count = counted.map { isOver ? 0 : max(0, $0) }
    lastWrongMillisecondsAgo = last.map { max(0, now.since($0).wholeMilliseconds) }
    passwordSet = entry.number("pwdLastSet")
    let margin = Duration.seconds(10)
    isLocked = entry.fileTime("lockoutTime").map { since in policy.lock.map { now.since(since) + margin < $0 } ?? true } ?? false
  }
}

extension DirectoryLockoutPolicy {
  /// From the three attributes of a domain or a password settings object; durations are negative, in units of 100 ns. Nil where the threshold is missing.
  init?(_ entry: LDAPEntry, threshold: String, window: String, lock: String) {
    guard let limit = entry.number(threshold), (0...65_535).contains(limit) else { return nil }
    func length(_ name: String) -> Duration? {
      guard let ticks = entry.number(name), ticks != .min, ticks <= 0 else { return nil }
      return .milliseconds(-(ticks / 10_000))
    }
    let duration = length(lock)
    self.init(threshold: Int(limit), window: length(window) ?? .seconds(30 * 60), lock: duration == .zero ? nil : duration)
  }
}

extension LDAPEntry {
  /// An INTEGER or LargeInteger (MS-ADTS 3.1.1.2.2.2): digits, with a minus perhaps.
  func number(_ name: String) -> Int64? {
    guard let text = text(name), (1...20).contains(text.utf8.count) else { return nil }
    let digits = text.utf8.first == UInt8(ascii: "-") ? text.utf8.dropFirst() : text.utf8[...]
    guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return Int64(text)
  }

  /// 100 ns since 1601; nil for 0 (never).
  func fileTime(_ name: String) -> Instant? {
    guard let ticks = number(name), ticks > 0, ticks != .max else { return nil }
    return Instant(milliseconds: ticks / 10_000 - 11_644_473_600_000)
  }
}

/// GeneralizedTime as directories send it: `20261121112317.0Z` (RFC 4517 §3.3.13, in UTC and to the second).
enum GeneralizedTime {
  static func instant(_ text: String) -> Instant? {
    let bytes = Array(text.utf8)
    guard (15...24).contains(bytes.count), bytes.last == UInt8(ascii: "Z"), bytes.prefix(14).allSatisfy({ (0x30...0x39).contains($0) }) else {
      return nil
    }
    func number(_ range: Range<Int>) -> Int64 { bytes[range].reduce(0) { $0 * 10 + Int64($1 - 0x30) } }
    let (year, month, day) = (number(0..<4), number(4..<6), number(6..<8))
    guard (1601...9999).contains(year), (1...12).contains(month), (1...31).contains(day), number(8..<10) < 24, number(10..<12) < 60,
      number(12..<14) <= 60
    else { return nil }
    // Days since 1970 of the proleptic Gregorian calendar, counted from March so that the leap day is a year's last.
    let shifted = month > 2 ? year : year - 1
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    return Instant(milliseconds: ((days * 24 + number(8..<10)) * 60 + number(10..<12)) * 60_000 + number(12..<14) * 1000)
  }
}
