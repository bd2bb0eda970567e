import Identity
import Synchronization

/// Which servers to ask, and in which order: the shell around `ServerGroup`, with DNS and the alarms.
final class ServerLocator: Sendable {
  private struct State: Sendable {
    var group = ServerGroup()
    var random = SystemRandomNumberGenerator()
    /// What failed last, for those who find nobody to ask.
    var lastFault: LDAPFault?
    /// Who there is, for a moment: every question asks twice.
    var known: (candidates: [ServerGroup.Candidate], until: ContinuousClock.Instant)?
    var isNobodyKnown = false
    /// Those that an alarm stands for.
    var alarmed: Set<DirectoryServer> = []
  }

  /// A question at a server, from the moment on at which the server was chosen for it.
  struct Attempt: Sendable {
    let server: DirectoryServer
    fileprivate let ticket: ServerHealth.Ticket
  }

  /// How long DNS is waited for where a list can take its place.
  static let dnsPatience = Duration.milliseconds(1500)

  let source: ServerSource
  private let names: NameResolution
  private let alarms: DirectoryAlarms
  private let state = Mutex(State())
  /// Told of servers that went out of use, so that nobody waits for them any more.
  private let abandon: @Sendable (DirectoryServer) -> Void

  init(source: ServerSource, names: NameResolution, alarms: DirectoryAlarms, abandon: @escaping @Sendable (DirectoryServer) -> Void) {
    self.source = source
    self.names = names
    self.alarms = alarms
    self.abandon = abandon
  }

  // MARK: Questions

  /// Servers in the order in which to try them, and how long to wait for each while others are left. Throws `.noServer` where none is known, or
  /// what failed last where all rest: asking them again that soon only makes people wait.
  func servers(
    for work: ServerHealth.Work, preferring preferred: DirectoryServer? = nil, deadline: Deadline
  ) async throws(LDAPFault) -> (servers: [DirectoryServer], patience: Duration?) {
    // Where there is one server and nothing speaks against it, there is nothing to choose, and this is asked twice for every question.
    let only: DirectoryServer? = state.withLock { state in
      guard let known = state.known, known.candidates.count == 1, let only = known.candidates.first?.server, known.until > .now,
        state.group.health[only]?.state == .closed
      else { return nil }
      return only
    }
    if let only { return ([only], nil) }
    let known = await candidates(deadline: deadline)
    guard !known.isEmpty else {
      state.withLock { $0.isNobodyKnown = true }
      alarms.raise(
        .noDirectoryServer, subject: title, message: "No directory server is known for \(title).",
        remedy: "Check that the agent's DNS answers for \(title), or name the servers in the agent's configuration.")
      throw .noServer("none is known for \(title)")
    }
    let now = ContinuousClock.now
    let (order, slowed, patience, last) = state.withLock { state in
      let (order, slowed) = state.group.order(known, for: work, preferring: preferred, now: now, using: &state.random)
      return (order, slowed, known.count > 1 ? state.group.patience(known, work) : nil, state.lastFault)
    }
    for server in slowed { isSlow(server) }
    guard !order.isEmpty else { throw last ?? .noServer(title) }
    return (order, patience)
  }

  func begin(_ server: DirectoryServer, _ work: ServerHealth.Work) -> Attempt {
    Attempt(server: server, ticket: state.withLock { $0.group.begin(server, work, now: .now) })
  }

  /// The attempt has a connection, and the server is asked now.
  func asked(_ attempt: Attempt) { state.withLock { $0.group.asked(attempt.server, attempt.ticket, now: .now) } }

  /// The server was not asked, or gave no reason to judge it.
  func released(_ attempt: Attempt) { state.withLock { $0.group.released(attempt.server, attempt.ticket) } }

  func answered(_ attempt: Attempt) {
    if state.withLock({ $0.group.answered(attempt.server, attempt.ticket, now: .now) }) { settled(attempt.server) }
  }

  /// - Parameter isNew: it failed before it could be asked: nobody is there, or the certificate is wrong.
  func failed(_ attempt: Attempt, _ fault: LDAPFault, isNew: Bool) {
    let server = attempt.server
    let (wasIn, isIn) = state.withLock { state in
      state.lastFault = fault
      let wasIn = state.group.health[server]?.state == .closed
      let isIn = state.group.failed(server, attempt.ticket, nobodyThere: isNew, words: fault.summary, now: .now)
      if !isIn { state.alarmed.insert(server) }
      return (wasIn, isIn)
    }
    if !isIn { raise(server, fault) }
    if wasIn, !isIn { abandon(server) }
  }

  // MARK: Care, without any question

  /// The servers whose probe is due, and those to be checked; the caller does it and tells `probed` and `checked`.
  func due() async -> (probes: [DirectoryServer], checks: [DirectoryServer]) {
    let known = await candidates(deadline: Deadline(after: .milliseconds(100)))
    let (probes, checks, slowed, gone) = state.withLock { state in
      let (probes, checks, slowed) = state.group.care(known, now: .now)
      let gone = known.isEmpty ? [] : state.alarmed.filter { server in !known.contains { $0.server == server } }
      return (probes, checks, slowed, gone)
    }
    for server in slowed { isSlow(server) }
    for server in gone { settled(server) }  // DNS does not name it any more
    return (probes, checks)
  }

  func probed(_ server: DirectoryServer, _ result: Result<Duration, LDAPFault>) async {
    switch result {
    case .success(let took):
      let known = await candidates(deadline: Deadline(after: .milliseconds(100)))
      if state.withLock({ $0.group.probeAnswered(server, took: took, among: known, now: .now) }) { settled(server) }
    case .failure(let fault): state.withLock { $0.group.probeFailed(server, words: fault.summary, now: .now) }
    }
  }

  func checked(_ server: DirectoryServer, _ result: Result<Duration, LDAPFault>) async {
    let known = await candidates(deadline: Deadline(after: .milliseconds(100)))
    let (took, fault): (Duration?, LDAPFault?) =
      switch result {
      case .success(let took): (took, nil)
      case .failure(let fault): (nil, fault)
      }
    let isIn = state.withLock { state in
      let isIn = state.group.checked(server, took: took, words: fault?.summary ?? "", among: known, now: .now)
      if !isIn {
        state.alarmed.insert(server)
        state.lastFault = fault ?? state.lastFault
      }
      return isIn
    }
    guard !isIn else { return }
    if let fault {
      raise(server, fault)
      abandon(server)
    } else {
      isSlow(server)
    }
  }

  /// Whether nothing speaks against asking this server.
  func isInUse(_ server: DirectoryServer) -> Bool { state.withLock { ($0.group.health[server]?.state ?? .closed) == .closed } }

  /// What is known of each server now.
  func health() async -> [(server: DirectoryServer, health: ServerHealth)] {
    let known = await candidates(deadline: Deadline(after: .milliseconds(100)))
    let health = state.withLock { $0.group.health }
    return known.map { ($0.server, health[$0.server] ?? ServerHealth()) }
  }

  private func raise(_ server: DirectoryServer, _ fault: LDAPFault) {
    if case .tls(let why) = fault {
      alarms.raise(
        .directoryCertificate, subject: server.description, message: "The certificate or TLS of \(server) is not acceptable: \(why).",
        remedy: "Give the server a certificate with its name as subject alternative name from an authority in the configured file, "
          + "or correct the name or the file in the agent's configuration.")
    } else {
      alarms.raise(
        .noDirectoryServer, subject: server.description, message: "The directory server \(server) does not answer: \(fault.summary).",
        remedy: "Check that the server runs and that its LDAP port can be reached from the agent's host.")
    }
  }

  private func isSlow(_ server: DirectoryServer) {
    let words = state.withLock { state in
      state.alarmed.insert(server)
      return state.group.health[server]?.lastFault?.words
    }
    alarms.raise(
      .noDirectoryServer, subject: server.description,
      message: "The directory server \(server) is too slow and asked only where no other is left: it \(words ?? "answers late").",
      remedy: "Look at the server's load, disk and network; `gatehouse status --dcs` shows it beside the others.")
    abandon(server)
  }

  private func settled(_ server: DirectoryServer) {
    state.withLock { _ = $0.alarmed.remove(server) }
    alarms.clear(.directoryCertificate, subject: server.description)
    alarms.clear(.noDirectoryServer, subject: server.description)
  }

  // MARK: Who there is

  /// For alarms and traces.
  var title: String {
    switch source {
    case .list(let servers): servers.map(\.description).joined(separator: ", ")
    case .serviceRecords(let domain, _, _): domain
    case .globalCatalogRecords(let forest, _): "the global catalog of \(forest)"
    }
  }

  private func candidates(deadline: Deadline) async -> [ServerGroup.Candidate] {
    if let known = state.withLock({ $0.known }), known.until > .now { return known.candidates }
    let candidates = await lookUp(deadline: deadline)
    guard !candidates.isEmpty else { return [] }
    let wasNobodyKnown = state.withLock { state in
      state.known = (candidates, .now.advanced(by: .seconds(1)))
      defer { state.isNobodyKnown = false }
      return state.isNobodyKnown
    }
    if wasNobodyKnown { alarms.clear(.noDirectoryServer, subject: title) }
    return candidates
  }

  /// The port in an SRV record is that of plain LDAP; the transport decides ours.
  private func lookUp(deadline: Deadline) async -> [ServerGroup.Candidate] {
    func withFallback(
      _ fallback: [DirectoryServer], _ ask: (Deadline) async -> [ServerGroup.Candidate]
    ) async -> [ServerGroup.Candidate] {
      let known = await ask(fallback.isEmpty ? deadline : min(deadline, Deadline(after: ServerLocator.dnsPatience)))
      return known.isEmpty ? fallback.map { ServerGroup.Candidate(server: $0, tier: 0) } : known
    }
    switch source {
    case .list(let servers): return servers.map { ServerGroup.Candidate(server: $0, tier: 0) }
    case .globalCatalogRecords(let forest, let fallback):
      return await withFallback(fallback) { ServerLocator.ranked([await names.services("_gc._tcp.\(forest)", deadline: $0)]) }
    case .serviceRecords(let domain, let site, let fallback):
      return await withFallback(fallback) { deadline in
        async let ofSite = services(site.map { "_ldap._tcp.\($0)._sites.dc._msdcs.\(domain)" }, deadline)
        async let ofDomain = services("_ldap._tcp.dc._msdcs.\(domain)", deadline)
        let known = ServerLocator.ranked([await ofSite, await ofDomain])
        guard known.isEmpty else { return known }
        return ServerLocator.ranked([await services("_ldap._tcp.\(domain)", deadline)])
      }
    }
  }

  private func services(_ name: String?, _ deadline: Deadline) async -> [ServiceRecord] {
    guard let name else { return [] }
    return await names.services(name, deadline: deadline)
  }

  /// The servers of several answers, those of the first answer before all others, each once.
  static func ranked(_ answers: [[ServiceRecord]]) -> [ServerGroup.Candidate] {
    var known: [ServerGroup.Candidate] = []
    for (rank, records) in answers.enumerated() {
      for record in records where known.count < 32 && !known.contains(where: { $0.server.host == record.target }) {
        known.append(
          ServerGroup.Candidate(server: DirectoryServer(host: record.target), tier: rank << 16 + Int(record.priority), weight: record.weight))
      }
    }
    return known
  }
}
