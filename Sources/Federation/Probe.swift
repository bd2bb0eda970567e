import Bytes
import CertificateLifecycle
import Foundation
import Identity
import Logging
import SAML
import Synchronization

/// One request of a probe's browser, and its answer.
package struct ProbeExchange: Sendable {
  package struct Answer: Sendable {
    package var status: Int
    package var location: String?
    /// Values of Set-Cookie.
    package var cookies: [String]
    package var body: [UInt8]

    package init(status: Int, location: String? = nil, cookies: [String] = [], body: [UInt8] = []) {
      self.status = status
      self.location = location
      self.cookies = cookies
      self.body = body
    }
  }
  package var url: String
  /// Nil for a GET; a form for a POST.
  package var form: [UInt8]?
  package var cookie: String?
}

/// Visits relying parties as a browser does, one request at a time.
package protocol ProbeBrowser: Sendable {
  /// Follows no redirect. At most 1 MiB of the body. Throws with words for an administrator.
  func exchange(_ request: ProbeExchange, timeout: Duration) async throws -> ProbeExchange.Answer
}

/// What came of one sign-in of the probe user.
package struct ProbeOutcome: Sendable, Equatable {
  /// Whether the relying party let the user in.
  package var isIn: Bool
  /// In words: where the browser was left, and with what status.
  package var detail: String
}

/// What came of a probe: first with the key that signs now, as control, then with the key to come.
package struct ProbeReport: Sendable, Equatable {
  package enum Verdict: String, Sendable, Codable, CaseIterable {
    case works, refused
    /// The control failed already: nothing is known.
    case unusable
  }
  package var verdict: Verdict
  package var key: String
  package var control: ProbeOutcome
  package var trial: ProbeOutcome?
}

/// Finds out whether a relying party takes a key before any user is signed in with it, by a whole sign-in of a user who is there for that.
package final class ProbeService: Sendable {
  private static let timeout: Duration = .seconds(10)
  private static let mostSteps = 12
  /// How long after one probe the next of the same relying party may begin, at most.
  private static let longestPause: Duration = .seconds(3600)

  private let signOn: SignOnService
  private let rollover: RolloverService
  private let browser: any ProbeBrowser
  /// Describes the probe user. Throws with words for an administrator.
  private let describe: @Sendable (RelyingParty, UserName) async throws -> AcceptedPerson
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let tried = Mutex<[String: Instant]>([:])

  package init(
    signOn: SignOnService, rollover: RolloverService, browser: any ProbeBrowser,
    describe: @escaping @Sendable (RelyingParty, UserName) async throws -> AcceptedPerson, now: @escaping @Sendable () -> Instant, logger: Logger
  ) {
    self.signOn = signOn
    self.rollover = rollover
    self.browser = browser
    self.describe = describe
    self.now = now
    self.logger = logger
  }

  /// Probes every relying party whose probe is due: the next key has been in metadata for long enough, or it is known to have been read. Throws `StoreError`.
  package func tick() async throws {
    guard rollover.freeze == nil else { return }
    let (ring, policy) = (rollover.keys.ring, rollover.keys.policy)
    for party in rollover.parties.parties(where: { !$0.disabled && $0.rollover?.probe != nil }) {
      let time = now()
      guard let next = ring.next(of: party.signatureAlgorithm.family), next.state == .published,
        ring.signer(for: party.id.description, family: next.family)?.id != next.id
      else { continue }
      let record = rollover.ledger.record(of: party.id)
      let level = record.best(for: next.id, now: time)?.level ?? .unknown
      guard level < .probed, level >= .fetched || Rollover.mayRollOver(next, policy, time) else { continue }
      let pause = min(policy.certificateRolloverInterval, ProbeService.longestPause)
      let isDue = tried.withLock { tried in
        if let last = tried[party.name + next.id], time.since(last) < pause, last <= time { return false }
        tried[party.name + next.id] = time
        return true
      }
      if isDue { _ = try await run(party, key: next.id) }
    }
  }

  /// Probes a relying party with a key, and keeps what came of it: success as evidence, a refusal as a block. Throws `RingProblem` where there is nothing to probe
  /// with, and `StoreError`.
  package func run(_ party: RelyingParty, key id: String, actor: String = "gatehouse") async throws -> ProbeReport {
    guard let settings = party.rollover?.probe else {
      throw RingProblem("\(party.name) has no probe. Set it with `gatehouse rp edit \(party.name) --probe-url URL --probe-user NAME`.")
    }
    guard let present = rollover.keys.signer(for: party), let trial = rollover.keys.signer(id: id) else {
      throw RingProblem("The key \(id) cannot sign. See `gatehouse certs list`.")
    }
    let control = await signIn(party, settings, present)
    var report = ProbeReport(verdict: .unusable, key: id, control: control)
    if control.isIn {
      let outcome = await signIn(party, settings, trial)
      report.trial = outcome
      report.verdict = outcome.isIn ? .works : .refused
    }
    let time = now()
    let event = rollover.event(
      .relyingPartyProbed, party.name, actor,
      ["key": id, "verdict": report.verdict.rawValue, "control": control.detail, "trial": report.trial?.detail ?? ""], time)
    let verdict = report.verdict
    let detail = report.trial?.detail ?? control.detail
    try await rollover.ledger.change(party.id, audit: [event]) { record in
      switch verdict {
      case .works: record.add(.init(key: id, level: .probed, time: time, detail: "a sign-in of the probe user succeeded"))
      case .refused:
        record.block(.init(key: id, since: time, reason: "the probe failed: \(detail)"))
      case .unusable: break
      }
    }
    if verdict == .unusable {
      logger.warning("a probe cannot be used", metadata: ["relyingParty": "\(party.name)", "detail": "\(control.detail)"])
    }
    return report
  }

  private func signIn(_ party: RelyingParty, _ settings: ProbeSettings, _ signer: TokenSigningKeys.Signer) async -> ProbeOutcome {
    do {
      guard let user = UserName(settings.user) else { return ProbeOutcome(isIn: false, detail: "\(settings.user) is no user name") }
      var visit = ProbeVisit(browser: browser, timeout: ProbeService.timeout)
      let ours = Array(signOn.identity.signOnURL.dropLast().utf8)
      var page = try await visit.open(settings.url, stopAt: { $0.utf8.starts(with: ours) }, limit: ProbeService.mostSteps)
      guard let query = page.stoppedAt.flatMap({ url in url.firstIndex(of: "?").map { Array(url[url.index(after: $0)...].utf8) } }) else {
        return ProbeOutcome(
          isIn: false, detail: "\(page.shown) sends nobody here to sign in by a redirect; give a page that does (requests by POST are not probed)")
      }
      let person = try await describe(party, user)
      let form = try await signOn.answerProbe(query, for: party, person: person, signer: signer)
      page = try await visit.post(form, stopAt: { $0.utf8.starts(with: ours) }, limit: ProbeService.mostSteps)
      guard page.stoppedAt == nil else { return ProbeOutcome(isIn: false, detail: "the relying party sent the user back to sign in") }
      let isThere = page.status == 200 && ProbeVisit.isSamePage(page.url, settings.url)
      let shows =
        settings.expects.map { expected in
          page.body.count >= expected.utf8.count && String(decoding: page.body, as: UTF8.self).utf8.contains(expected.utf8)
        } ?? true
      return ProbeOutcome(
        isIn: isThere && shows, detail: page.shown + (isThere && !shows ? " without what it shows to somebody who is signed in" : ""))
    } catch { return ProbeOutcome(isIn: false, detail: "\(error)") }
  }
}

extension String.UTF8View {
  /// Whether the bytes occur in a row.
  fileprivate func contains(_ other: String.UTF8View) -> Bool {
    var rest = self[...]
    while rest.count >= other.count {
      if rest.starts(with: other) { return true }
      rest = rest.dropFirst()
    }
    return false
  }
}

/// A browser's way through redirects, with its cookies.
private struct ProbeVisit {
  struct Page {
    var url: String
    var status: Int
    var body: [UInt8]
    /// The URL that was not opened any more.
    var stoppedAt: String?

    var shown: String { "\(status) at \(url.prefix(while: { $0 != "?" }).prefix(256))" }
  }

  let browser: any ProbeBrowser
  let timeout: Duration
  /// By host and name.
  private var cookies: [String: [String: String]] = [:]

  init(browser: any ProbeBrowser, timeout: Duration) {
    self.browser = browser
    self.timeout = timeout
  }

  mutating func open(_ url: String, stopAt isEnd: (String) -> Bool, limit: Int) async throws -> Page {
    try await follow(ProbeExchange(url: url), stopAt: isEnd, limit: limit)
  }

  mutating func post(_ form: PostForm, stopAt isEnd: (String) -> Bool, limit: Int) async throws -> Page {
    let body = form.fields.map { "\(FormFields.encode($0.name))=\(FormFields.encode($0.value))" }.joined(separator: "&")
    return try await follow(ProbeExchange(url: form.action, form: Array(body.utf8)), stopAt: isEnd, limit: limit)
  }

  private mutating func follow(_ first: ProbeExchange, stopAt isEnd: (String) -> Bool, limit: Int) async throws -> Page {
    var request = first
    for _ in 0..<limit {
      let host = ProbeVisit.host(request.url)
      request.cookie = cookies[host].map { $0.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "; ") }
      let answer = try await browser.exchange(request, timeout: timeout)
      for text in answer.cookies.prefix(64) { keep(text, host: host) }
      guard (300..<400).contains(answer.status), let location = answer.location,
        let next = URL(string: location, relativeTo: URL(string: request.url))?.absoluteString
      else { return Page(url: request.url, status: answer.status, body: answer.body) }
      if isEnd(next) { return Page(url: request.url, status: answer.status, body: [], stoppedAt: next) }
      // RFC 9110 15.4: 307 and 308 keep the method.
      request = ProbeExchange(url: next, form: answer.status == 307 || answer.status == 308 ? request.form : nil)
    }
    throw RingProblem("there were more than \(limit) redirects")
  }

  private mutating func keep(_ text: String, host: String) {
    let parts = text.split(separator: ";", omittingEmptySubsequences: false)
    guard let pair = parts.first, let equals = pair.firstIndex(of: "="), text.utf8.count <= 8192 else { return }
    let name = pair[..<equals].trimmingCharacters(in: .whitespaces)
    let isGone = parts.dropFirst().contains { $0.lowercased().filter { $0 != " " } == "max-age=0" }
    cookies[host, default: [:]][name] = isGone ? nil : pair[pair.index(after: equals)...].trimmingCharacters(in: .whitespaces)
  }

  private static func host(_ url: String) -> String { URLComponents(string: url).map { "\($0.host ?? ""):\($0.port ?? 0)" } ?? "" }

  /// Whether two URLs differ in their query only.
  static func isSamePage(_ one: String, _ other: String) -> Bool {
    guard let one = URLComponents(string: one), let other = URLComponents(string: other) else { return false }
    return host(one.string ?? "") == host(other.string ?? "") && one.percentEncodedPath == other.percentEncodedPath
  }
}

extension SignOnService {
  /// The answer to a relying party's request for a probe user, signed with the key that is tried. It has its audit row like every token. Throws with words for an
  /// administrator where no token would be issued.
  func answerProbe(
    _ query: [UInt8], for party: RelyingParty, person: AcceptedPerson, signer: TokenSigningKeys.Signer
  ) async throws -> PostForm {
    let message: ReceivedMessage
    do { message = try ReceivedMessage(query: query) } catch { throw RingProblem("its request cannot be read: \(error.detail)") }
    let checks = RequestChecks(endpoint: identity.signOnURL, ownEntityID: identity.entityID, decryptionKeys: keys.decryptionKeys, now: now())
    guard case .passed(let checked) = checks.check(message, party: party, claimedIssuer: try message.claimedIssuer), checked.party.id == party.id
    else { throw RingProblem("its request would be refused; see `gatehouse audit list --kind token.refused` after a sign-in by hand") }
    let time = now()
    let transaction = SignOnTransaction(checked, now: time, browser: [])
    let facts = try facts(of: person, party, SignInSource(method: transaction.contextClass, authenticated: time, isKept: false, address: nil))
    guard let name = try await makeName(transaction, party, facts) else { throw RingProblem("the probe user has no name of the format it wants") }
    let token = try TokenIssuer(entityID: identity.entityID, now: time).issue(
      TokenOrder(
        prepared: PreparedParty(party), facts: facts, name: name, encryptsName: transaction.encryptsName, consumer: transaction.consumer,
        inResponseTo: transaction.request, relayState: transaction.relayState, contextClass: transaction.contextClass, authenticated: time,
        sessionIndex: TokenIssuer.makeID(), sessionEnds: time.adding(.seconds(300))), signer: signer)
    try await audit.append([
      AuditEvent(
        time: time, kind: .tokenIssued, actor: party.name, realm: person.object.realm, subject: token.assertionID, object: person.object.id,
        outcome: "done",
        details: [
          "user": person.userPrincipalName, "digest": token.digest.hexadecimal, "relyingParty": party.entityID, "consumer": transaction.consumer,
          "key": token.keyID, "nameFormat": name.format ?? "none", "probe": "true",
        ])
    ])
    return token.form
  }
}
