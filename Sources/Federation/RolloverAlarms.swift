import Bytes
import CertificateLifecycle
import Identity

extension RolloverService: AlarmSource {
  package func alarms() async -> [Alarm] {
    let time = now()
    let (ring, policy) = (keys.ring, keys.policy)
    let standings = standings(time)
    var alarms: [Alarm] = []
    if let freeze {
      let seconds = freeze.jump.components.seconds
      alarms.append(
        Alarm(
          .rolloverClock, subject: "clock",
          message: "The clock has jumped by \(seconds) s: certificates are not rolled over until it is right. Signing goes on.",
          remedy: "Look at the time service of this machine. If the clock is right as it is now, say so with `gatehouse certs trust-clock`.",
          since: freeze.since, condition: "frozen"))
    }
    for family in SigningKeyFamily.allCases {
      guard let primary = ring.primary(of: family) else { continue }
      let users = standings.filter { $0.family == family }
      guard !users.isEmpty else { continue }
      let laggards = laggards(family, standings, ring, time)
      alarms += changes(family, ring, policy, time, lagging: laggards.count)
      if let alarm = ending(primary, ring, policy, time) { alarms.append(alarm) }
      for laggard in laggards {
        if let blocked = laggard.blocked {
          alarms.append(
            Alarm(
              .relyingPartyKeyRefused, subject: laggard.name,
              message: "\(laggard.name) failed with the new token-signing key and is signed for with the former one: \(blocked.reason)",
              remedy: "\(laggard.sentence) Then `\(laggard.command)`.", since: blocked.since))
          continue
        }
        guard let reached = reached(laggard.deadline, policy, time) else { continue }
        alarms.append(
          Alarm(
            .relyingPartyLagging, subject: laggard.name, severity: severity(laggard.deadline, policy, time),
            message: laggard.stays
              ? "\(laggard.name) does not show the next certificate and stays on the present one, which ends \(laggard.deadline) (\(RolloverService.shown(reached)) or less are left)."
              : "\(laggard.name) will refuse every sign-in from \(laggard.deadline) on (\(RolloverService.shown(reached)) or less are left).",
            remedy: "\(laggard.sentence) Then `\(laggard.command)`.", since: laggard.deadline.adding(.zero - reached),
            condition: "\(reached) \(laggard.command)"))
      }
    }
    return alarms
  }

  /// How long a change of a key's state is told.
  private static let changeStands: Duration = .seconds(3600)

  /// Every change of a key's state that has just been, with what to do about it.
  private func changes(
    _ family: SigningKeyFamily, _ ring: SigningKeyRing, _ policy: RolloverPolicy, _ time: Instant, lagging: Int
  ) -> [Alarm] {
    ring.places.filter { $0.family == family }.compactMap { place in
      guard let (since, what, remedy) = RolloverService.change(of: place, policy, lagging: lagging), time >= since,
        time.since(since) < RolloverService.changeStands
      else { return nil }
      return Alarm(
        .signingKeyChanged, subject: "token-signing \(family.rawValue) \(place.id)",
        message: "The token-signing key \(place.id) of \(family.rawValue) \(what).", remedy: remedy, since: since, condition: place.state.rawValue)
    }
  }

  /// When a key came to where it stands, in words, and what to do then. Nil where that is told by another key's change, or is none.
  private static func change(
    of place: SigningKeyPlace, _ policy: RolloverPolicy, lagging: Int
  ) -> (since: Instant, what: String, remedy: String)? {
    switch place.state {
    case .prepared:
      // What the policy makes is shown a moment later.
      guard !place.isMadeByPolicy else { return nil }
      return (place.prepared, "was made", "Show it in metadata with `gatehouse certs publish \(place.id)`.")
    case .published:
      guard let published = place.published else { return nil }
      if place.withheld != nil {
        return (place.promoted ?? published, "was taken back", "When that is mended: `gatehouse certs resume \(place.id)`.")
      }
      return (
        published, "is in metadata and may sign from \(published.adding(policy.certificatePromotionThreshold)) on",
        lagging == 0
          ? "Look through `gatehouse certs readiness` for relying parties that you know better."
          : "\(lagging) relying parties have to be given it: `gatehouse certs plan` names them."
      )
    case .primary:
      // The first key of all is no change.
      guard let promoted = place.promoted, promoted != place.prepared else { return nil }
      return (
        promoted, "signs now", "Watch sign-ins. `gatehouse certs rollback` takes it back for as long as the former key is in metadata."
      )
    case .retiring: return nil
    case .retired:
      guard let retired = place.retired else { return nil }
      return (
        retired, "is out of metadata and destroyed",
        "If none of you wanted that, see docs/runbooks/certificate-compromised.md and `gatehouse audit list --kind signing-key.retired`."
      )
    }
  }

  /// How pressing something is.
  private func severity(_ end: Instant, _ policy: RolloverPolicy, _ time: Instant) -> AlarmSeverity {
    end.since(time) <= policy.certificateCriticalThreshold ? .critical : .warning
  }

  /// The primary ends and nothing follows it by itself.
  private func ending(_ primary: SigningKeyPlace, _ ring: SigningKeyRing, _ policy: RolloverPolicy, _ time: Instant) -> Alarm? {
    let family = primary.family
    let isManaged = policy.autoCertificateRollover && primary.origin != .imported
    let hasNext = ring.next(of: family) != nil
    if primary.notAfter <= time {
      return Alarm(
        .certificateExpiring, subject: "token-signing \(family.rawValue)", severity: .critical,
        message:
          "The token-signing certificate \(primary.id) ended \(primary.notAfter). It goes on signing, as no other one was in metadata for long enough.",
        remedy: hasNext
          ? "The next one is promoted as soon as it was in metadata for long enough: see `gatehouse certs plan`."
          : "Run `gatehouse certs prepare --family \(family.rawValue)` now, and see `gatehouse certs plan`.", since: primary.notAfter)
    }
    guard !(isManaged && (hasNext || primary.notAfter.since(time) > policy.certificateGenerationThreshold)) else { return nil }
    let withheld = ring.places.first { $0.family == family && $0.state == .published && $0.withheld != nil }
    guard let reached = reached(primary.notAfter, policy, time), !hasNext || !policy.autoCertificateRollover else { return nil }
    return Alarm(
      .certificateExpiring, subject: "token-signing \(family.rawValue)", severity: severity(primary.notAfter, policy, time),
      message:
        "The token-signing certificate \(primary.id) ends \(primary.notAfter) (\(RolloverService.shown(reached)) or less are left), and none follows it by itself.",
      remedy: withheld.map { "The next one is withheld; let it go on with `gatehouse certs resume \($0.id)`." }
        ?? (primary.origin == .imported
          ? "Import the next one with `gatehouse certs import`, or make one with `gatehouse certs prepare --family \(family.rawValue)`."
          : "Run `gatehouse certs prepare --family \(family.rawValue)`, or let the gateway do it: `gatehouse certs policy --auto on`."),
      since: primary.notAfter.adding(.zero - reached))
  }

  /// The last of the policy's warnings before `end` whose time has come; nil: none yet.
  private func reached(_ end: Instant, _ policy: RolloverPolicy, _ time: Instant) -> Duration? {
    policy.warnings.filter { end.since(time) <= $0 }.min()
  }

  static func shown(_ duration: Duration) -> String {
    let seconds = duration.components.seconds
    return seconds >= 86_400 ? "\(seconds / 86_400) days" : seconds >= 3600 ? "\(seconds / 3600) hours" : "\(seconds) seconds"
  }
}
