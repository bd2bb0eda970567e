import Bytes
import Identity

/// Which lockout holds for a realm: its own, or the gateway's default, never beyond what the realm's directory lets stand.
package struct LockoutPolicies: Sendable {
  /// From the configuration file.
  package let standard: LockoutPolicy
  /// What agents told of the realm's directory, and when; nil where none has.
  private let directory: @Sendable (RealmName) -> DirectoryLockoutPolicy?

  package init(standard: LockoutPolicy, directory: @escaping @Sendable (RealmName) -> DirectoryLockoutPolicy? = { _ in nil }) {
    self.standard = standard
    self.directory = directory
  }

  /// The policy by which tries of the realm are counted now.
  package func policy(of realm: Realm) -> LockoutPolicy {
    let chosen = chosen(for: realm)
    return directory(realm.name).map { chosen.clamped(to: $0) } ?? chosen
  }

  /// The same before it is drawn in.
  package func chosen(for realm: Realm) -> LockoutPolicy {
    guard var own = realm.lockout else { return standard }
    // A reservation must outlive the try, however the realm is set.
    own.reservationLife = standard.reservationLife
    return own
  }

  package func directoryLockout(of realm: RealmName) -> DirectoryLockoutPolicy? { directory(realm) }

  /// What is wrong with setting `policy` for the realm: which numbers collide. Nil where nothing is, or where no agent has told the directory's.
  package func conflict(of policy: LockoutPolicy, realm: RealmName) -> String? {
    guard let directory = directory(realm), policy.contradicts(directory) else { return nil }
    let nearest = policy.clamped(to: directory)
    return """
      With a threshold of \(policy.threshold), a window of \(policy.window.words) and a first lock of \(policy.firstLock.words) a person's directory \
      could be shown \(policy.mostFailures(within: directory.window)) wrong passwords within \(directory.window.words); the directory of \(realm) \
      locks at \(directory.threshold), of which \(directory.reserve) are kept in reserve, so at most \(max(1, directory.mostTries)) may be. This would \
      hold: threshold \(nearest.threshold), window \(nearest.window.words), first lock \(nearest.firstLock.words).
      """
  }
}

extension Duration {
  /// `90s`, `30m`, `2h`, as the command line takes them.
  package var words: String {
    let seconds = components.seconds
    if seconds > 0, seconds % 3600 == 0 { return "\(seconds / 3600)h" }
    if seconds > 0, seconds % 60 == 0 { return "\(seconds / 60)m" }
    return "\(seconds)s"
  }
}

/// Tells of realms whose lockout, as configured, contradicts their directory's and is drawn in.
package struct LockoutConflicts: AlarmSource {
  private let realms: RealmDirectory
  private let policies: LockoutPolicies
  private let now: @Sendable () -> Instant

  package init(realms: RealmDirectory, policies: LockoutPolicies, now: @escaping @Sendable () -> Instant) {
    self.realms = realms
    self.policies = policies
    self.now = now
  }

  package func alarms() async -> [Alarm] {
    realms.realms.compactMap { realm in
      // What nobody chose is drawn in without a word.
      var untouched = LockoutPolicy()
      untouched.reservationLife = policies.standard.reservationLife
      let chosen = policies.chosen(for: realm)
      guard chosen != untouched, let conflict = policies.conflict(of: chosen, realm: realm.name) else { return nil }
      return Alarm(
        .lockoutConflict, subject: realm.name.text,
        message: "The lockout of realm \(realm.name) contradicts its directory's and is drawn in. \(conflict)",
        remedy: "Set the realm's own with `gatehouse realms lockout \(realm.name)`, or `lockout` in the gateway's configuration.", since: now())
    }
  }
}
