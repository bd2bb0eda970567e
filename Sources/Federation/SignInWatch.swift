import Bytes
import Identity
import Synchronization

/// Hears of tokens that were issued, and of what proves that one was taken. Must answer at once.
package protocol TokenObserver: Sendable {
  /// - Parameter session: the digest of the session that it was issued for.
  func noteToken(_ party: RelyingParty, key: String, session: [UInt8], now: Instant)
  /// The relying party named these sessions, which it can know only by tokens that it took.
  func noteProof(_ party: RelyingParty, sessions: [[UInt8]], now: Instant)
}

/// Whether real sign-ins with a key work, as far as it can be seen from here. Heuristics, and called so: a relying party that refuses a token mostly sends its
/// visitor back to sign in again. A logout request that names the session is proof.
package final class SignInWatch: Sendable {
  /// What is concluded of a relying party and a key.
  package struct Conclusion: Sendable, Equatable {
    package var party: Identifier
    package var key: String
    package var works: Bool
    package var detail: String
  }

  /// As many tokens for one session within `loopWindow` are a loop.
  static let loopLength = 5
  static let loopWindow: Duration = .seconds(3)
  /// So many sessions in a loop make the relying party's trouble, not one visitor's; so many that did not come back make success.
  static let sessionsOfFailure = 2
  static let sessionsOfSuccess = 3
  private static let mostSessions = 4096

  private struct Trail: Sendable {
    var times: [Instant] = []
    var isLoop = false
  }

  private struct Place: Hashable {
    var party: Identifier
    var key: String
  }

  private let trails = Mutex<[Place: [[UInt8]: Trail]]>([:])

  package init() {}

  /// A token was issued for a session.
  package func noteToken(_ party: Identifier, key: String, session: [UInt8], now: Instant) {
    trails.withLock { trails in
      let place = Place(party: party, key: key)
      guard trails[place]?[session] != nil || (trails[place]?.count ?? 0) < SignInWatch.mostSessions else { return }
      var trail = trails[place, default: [:]][session] ?? Trail()
      trail.times = trail.times.filter { now.since($0) <= SignInWatch.loopWindow } + [now]
      if trail.times.count >= SignInWatch.loopLength { trail.isLoop = true }
      trails[place, default: [:]][session] = trail
    }
  }

  /// The keys that tokens for these sessions were signed with lately.
  func keys(of sessions: [[UInt8]], at party: Identifier) -> [String] {
    trails.withLock { trails in
      trails.filter { place, known in place.party == party && sessions.contains { known[$0] != nil } }.map(\.key.key).sorted()
    }
  }

  /// What can be concluded by now; each once. A session whose visitor did not come back for `settled` counts as one that worked.
  package func conclusions(settled: Duration, now: Instant) -> [Conclusion] {
    trails.withLock { trails in
      var conclusions: [Conclusion] = []
      for (place, sessions) in trails {
        let loops = sessions.values.count { $0.isLoop }
        let quiet = sessions.values.count { !$0.isLoop && ($0.times.last.map { now.since($0) >= settled } ?? false) }
        if loops >= SignInWatch.sessionsOfFailure, loops > quiet {
          conclusions.append(
            Conclusion(
              party: place.party, key: place.key, works: false,
              detail:
                "\(loops) visitors were sent back to sign in again and again (a heuristic: their sessions each got \(SignInWatch.loopLength) tokens within \(SignInWatch.loopWindow.components.seconds) s)"
            ))
          trails[place] = nil
        } else if quiet >= SignInWatch.sessionsOfSuccess {
          conclusions.append(
            Conclusion(
              party: place.party, key: place.key, works: true,
              detail: "\(quiet) visitors signed in and were not sent back (a heuristic)"))
          trails[place] = nil
        } else {
          // What is too old to become anything is forgotten.
          trails[place] = sessions.filter { $0.value.times.last.map { now.since($0) < .seconds(86_400) } ?? false }
        }
      }
      return conclusions
    }
  }
}
