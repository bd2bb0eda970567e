import Bytes
import Identity
import NIOCore
import PassThrough
import Synchronization

/// The servers of one domain (or the global catalog), with kept connections to each: searches bound as the service account, and binds.
///
/// Which server is asked, `ServerGroup` says. A question that was not put to a server's judgement goes on to the next server. A bind that may have been is never repeated: AD might
/// count one wrong password twice.
final class DirectoryPartition: Sendable {
  /// One server's connections: its own, so that a server that hangs holds up nobody who could be answered elsewhere.
  struct Compartment: Sendable {
    var searches: ConnectionPool
    var binds: ConnectionPool
  }

  private final class Pools: Sendable {
    private let known = Mutex<[DirectoryServer: Compartment]>([:])

    var all: [Compartment] { known.withLock { Array($0.values) } }

    subscript(server: DirectoryServer) -> Compartment? { known.withLock { $0[server] } }

    func compartment(_ server: DirectoryServer, make: () -> Compartment) -> Compartment {
      known.withLock { known in
        if let compartment = known[server] { return compartment }
        let made = make()
        known[server] = made
        return made
      }
    }

    func turnAway(_ server: DirectoryServer) {
      let compartment = self[server]
      compartment?.searches.turnAway()
      compartment?.binds.turnAway()
    }
  }

  /// A search is awaited so long at least before another server is asked.
  private static let leastPatience = Duration.seconds(1)
  /// The same, while nothing is known of how long searches take here.
  private static let firstPatience = Duration.seconds(2)

  let locator: ServerLocator
  let settings: DirectorySettings
  private let isGlobalCatalog: Bool
  private let logOn: ServiceLogOn
  private let names: NameResolution
  private let loop: DirectoryLoop
  private let timers: any EventLoop
  private let pools: Pools
  private let seenRefusals = Mutex<Int>(0)

  init(
    source: ServerSource, isGlobalCatalog: Bool, settings: DirectorySettings, logOn: ServiceLogOn, names: NameResolution,
    alarms: DirectoryAlarms, loop: DirectoryLoop, timers: any EventLoop
  ) {
    let pools = Pools()
    self.pools = pools
    locator = ServerLocator(source: source, names: names, alarms: alarms) { pools.turnAway($0) }
    self.settings = settings
    self.isGlobalCatalog = isGlobalCatalog
    self.logOn = logOn
    self.names = names
    self.loop = loop
    self.timers = timers
  }

  /// Searches on the best server, or on the next ones where that one does not answer; or on `only`.
  func search(
    _ query: LDAPSearch, only: DirectoryServer? = nil, deadline: Deadline, trace: TraceRecorder
  ) async throws(LDAPFault) -> LDAPSearch.Outcome {
    renewAfterRefusal()
    var last: LDAPFault?
    var servers: [DirectoryServer]
    var usual: Duration?
    if let only {
      // What only this server can tell is worth a moment, not the question's time: whoever asks for it can do without.
      guard locator.isInUse(only) else { throw .turnedAway }
      servers = [only]
    } else {
      (servers, usual) = try await locator.servers(for: .search, deadline: deadline)
    }
    for (index, server) in servers.enumerated() {
      guard !deadline.hasPassed else { throw last ?? .noTime }
      let isLast = index == servers.count - 1 && only == nil
      let share = share(of: deadline, isLast: isLast)
      // A search may be asked twice, so that silence is not waited for to its end while others can answer.
      let patience = isLast ? settings.timeouts.operation : max(DirectoryPartition.leastPatience, usual ?? DirectoryPartition.firstPatience)
      let started = ContinuousClock.now
      // A kept connection may have died a moment ago without anybody's fault, so one more try on a new one.
      for isLastTry in [false, true] {
        let attempt = locator.begin(server, .search)
        let wasBegun = Flag()
        do throws(LDAPFault) {
          var outcome = try await compartment(of: server).searches.lend(
            deadline: share, opening: isLast ? nil : settings.timeouts.quickConnect, isLast: isLast,
            begun: {
              wasBegun.isSet = true
              self.locator.asked(attempt)
            }
          ) { connection async throws(LDAPFault) in
            let asked = ContinuousClock.now
            let outcome = try await connection.search(query, timeout: min(patience, self.operationTimeout(share)))
            trace.add(.search, "\(server): \(outcome.entries.count) found", since: asked)
            return outcome
          }
          locator.answered(attempt)
          outcome.server = server
          return outcome
        } catch {
          last = error
          if error.isCrowding, !deadline.hasPassed {  // all of this server's connections are busy; the next one's may not be
            locator.released(attempt)
            break
          }
          guard error.concernsServer else {
            // It answered, if nothing useful; what is ours to mend is not its fault.
            if case .result = error { locator.answered(attempt) } else { locator.released(attempt) }
            throw error
          }
          if !isLastTry, wasBegun.isSet, error.mayBeStaleConnection {
            locator.released(attempt)
            continue
          }
          report(error, attempt, wasBegun: wasBegun.isSet, after: started, trace: trace)
          break
        }
      }
    }
    throw last ?? .noServer(locator.title)
  }

  /// What accompanies a bind.
  struct BindCompanion: Sendable {
    /// The server to begin with, where it is one of those to be asked: it found the person, so that it lives, and it has a new person even before
    /// the others do.
    var preferred: DirectoryServer? = nil
    /// Called for each server before a connection to it is taken; throws `.withheld` where the password must not go there.
    var weigh: (@Sendable (DirectoryServer) async throws(LDAPFault) -> Void)? = nil
    /// Called right before the password is sent.
    var sending: (@Sendable () -> Void)? = nil
    /// Whether `preferred` is the only server that may be asked.
    var isExclusive = false
    /// Called with the server that answered, and on the same connection where the bind succeeded and the session was proven.
    var answered: (@Sendable (DirectoryServer, LDAPConnection, LDAPResult) async throws(LDAPFault) -> Void)? = nil
  }

  /// Binds as a person on the best server that can be reached, and proves the session where that succeeds.
  func bind(
    _ name: String, password: Password, proving entry: LDAPEntry?, with companion: BindCompanion = BindCompanion(), deadline: Deadline,
    permission: BindPermission, trace: TraceRecorder
  ) async throws(LDAPFault) -> (result: LDAPResult, tokens: [[UInt8]]) {
    var last: LDAPFault?
    var servers: [DirectoryServer]
    if companion.isExclusive, let only = companion.preferred {
      servers = [only]
    } else {
      (servers, _) = try await locator.servers(for: .bind, preferring: companion.preferred, deadline: deadline)
    }
    for (index, server) in servers.enumerated() {
      guard !deadline.hasPassed else { throw last ?? .noTime }
      let isLast = index == servers.count - 1
      let attempt = locator.begin(server, .bind)
      let wasSent = Flag()
      let started = ContinuousClock.now
      do throws(LDAPFault) {
        try await companion.weigh?(server)
        // A share of the time for getting a connection, all of it for the bind: there is no second one.
        let share = share(of: deadline, isLast: isLast)
        let answer = try await compartment(of: server).binds.lend(
          deadline: share, opening: isLast ? nil : settings.timeouts.quickConnect, isLast: isLast, begun: { self.locator.asked(attempt) }
        ) { connection async throws(LDAPFault) -> (LDAPResult, [[UInt8]]) in
          // "Must not start a bind after the deadline" (PasswordValidator): the wait for a connection may have used it up.
          guard !deadline.hasPassed else { throw .noTime }
          // At the last moment, and telling that it is: from here on asking another agent may cost a second bad-password count.
          guard await permission.isGiven() else { throw .withdrawn }
          wasSent.isSet = true
          companion.sending?()
          let started = ContinuousClock.now
          let result = try await connection.bind(
            name, password: password.secret, policy: self.settings.kind == .openLDAP, timeout: self.operationTimeout(deadline))
          trace.add(.bind, "\(server): \(result.summary)", since: started)
          if result.wasNotProcessed { throw .result(result) }
          guard result.code == 0, let entry else {
            try await companion.answered?(server, connection, result)
            return (result, [])
          }
          let tokens = try await connection.proveSession(of: entry, kind: self.settings.kind, timeout: self.operationTimeout(deadline))
          try await companion.answered?(server, connection, result)
          return (result, tokens)
        }
        // Results that speak of the server and not of the password: this try is over, the next question is better off elsewhere.
        if answer.0.concernsServer {
          locator.failed(attempt, .result(answer.0), isNew: false)
        } else {
          locator.answered(attempt)
        }
        return answer
      } catch {
        last = error
        if error.isCrowding, !wasSent.isSet, !deadline.hasPassed {
          locator.released(attempt)
          continue
        }
        guard error.concernsServer else {
          if case .result = error { locator.answered(attempt) } else { locator.released(attempt) }
          throw error
        }
        report(error, attempt, wasBegun: wasSent.isSet, after: started, trace: trace)
        if wasSent.isSet {
          guard case .result(let result) = error, result.wasNotProcessed else { throw error }
        }
      }
    }
    throw last ?? .noServer(locator.title)
  }

  /// Half of what is left while there are others to ask, so that one silent server does not use up the question's time.
  func share(of deadline: Deadline, isLast: Bool) -> Deadline {
    isLast ? deadline : Deadline(after: deadline.remaining() / 2)
  }

  func report(
    _ fault: LDAPFault, _ attempt: ServerLocator.Attempt, wasBegun: Bool, after started: ContinuousClock.Instant, trace: TraceRecorder
  ) {
    // Silence speaks against a server only if it had time to answer.
    let patience = min(.seconds(1), settings.timeouts.connect, settings.timeouts.operation) / 2
    if fault != .timedOut || started.duration(to: .now) >= patience {
      locator.failed(attempt, fault, isNew: !wasBegun)
    } else {
      locator.released(attempt)
    }
    trace.add(.domainController, "\(attempt.server): \(fault.summary)")
  }

  // MARK: Care

  /// Probes the servers that are out of use and have rested, and checks those that nobody has asked for long, so that no person has to be the one
  /// who finds out.
  ///
  /// Both are one read of the rootDSE (RFC 4512 §5.1), which anybody may read: no password goes anywhere.
  func care() async {
    let (probes, checks) = await locator.due()
    guard !probes.isEmpty || !checks.isEmpty else { return }
    await withTaskGroup(of: Void.self) { group in
      for server in probes { group.addTask { await self.locator.probed(server, await self.look(at: server)) } }
      for server in checks { group.addTask { await self.locator.checked(server, await self.look(at: server)) } }
    }
  }

  /// How long the server takes to answer the simplest question, over a new connection.
  private func look(at server: DirectoryServer) async -> Result<Duration, LDAPFault> {
    let limit = min(settings.timeouts.connect, ServerHealth.probePatience)
    do throws(LDAPFault) {
      let took = try await compartment(of: server).binds.probe(deadline: Deadline(after: limit)) { connection async throws(LDAPFault) -> Duration in
        let asked = ContinuousClock.now
        do throws(LDAPFault) {
          _ = try await connection.search(
            LDAPSearch(base: "", scope: .base, filter: .present("objectClass"), attributes: ["currentTime"], limit: 1), timeout: limit)
        } catch {
          // Directories that hide the rootDSE from strangers answer all the same.
          guard case .result(let result) = error, !result.concernsServer else { throw error }
        }
        return asked.duration(to: .now)
      }
      return .success(took)
    } catch {
      return .failure(error)
    }
  }

  /// What is known of each server.
  func reports(now: Instant) async -> [DirectoryReport] {
    let moment = ContinuousClock.now
    return await locator.health().map { server, health in
      let compartment = pools[server]
      let (searches, binds) = (compartment?.searches.counts, compartment?.binds.counts)
      return DirectoryReport(
        realm: settings.realm, server: server.description + (isGlobalCatalog ? " (global catalog)" : ""),
        health: health, now: moment, wall: now,
        connections: (searches?.inside ?? 0) + (binds?.inside ?? 0), limit: settings.searchConnections + settings.bindConnections,
        waiting: (searches?.waiting ?? 0) + (binds?.waiting ?? 0))
    }
  }

  func operationTimeout(_ deadline: Deadline) -> Duration { min(settings.timeouts.operation, deadline.remaining()) }

  /// A refused service credential ends the sessions that its former self still has: the next question must log on anew, as the one try.
  private func renewAfterRefusal() {
    let count = logOn.refusalCount
    let changed = seenRefusals.withLock { seen in
      defer { seen = count }
      return seen != count
    }
    guard changed else { return }
    for compartment in pools.all { compartment.searches.renew() }
  }

  /// Lets all kept connections go.
  func renew() {
    for compartment in pools.all {
      compartment.searches.renew()
      compartment.binds.renew()
    }
  }

  func compartment(of server: DirectoryServer) -> Compartment { pools.compartment(server) { make(server) } }

  /// The pools' closures take what they need, not `self`: the partition owns the pools, and a circle would keep their connections for ever.
  private func make(_ server: DirectoryServer) -> Compartment {
    let (settings, names, loop, timers, logOn) = (settings, names, loop, timers, logOn)
    func pool(
      _ limit: Int, _ protection: LDAPConnection.Protection,
      prepare: (@Sendable (LDAPConnection, Deadline) async throws(LDAPFault) -> Void)?
    ) -> ConnectionPool {
      let turnstile = Turnstile(limit: limit, maximumWaiting: settings.maximumWaiting, loop: loop)
      let port = port(of: server, protection)
      return ConnectionPool(turnstile: turnstile, maximumIdle: settings.timeouts.idle) { deadline async throws(LDAPFault) in
        let addresses = await names.addresses(of: server, port: port, deadline: deadline)
        let peer = LDAPConnection.Peer(
          host: server.host, addresses: addresses, protection: protection, authorityFile: settings.authorityFile)
        let (connection, descriptor) = try await LDAPConnection.open(
          peer, timeout: min(settings.timeouts.connect, deadline.remaining()), loop: loop, timers: timers)
        try await prepare?(connection, deadline)
        return (connection, descriptor)
      }
    }
    return Compartment(
      searches: pool(settings.searchConnections, logOn.protection) { connection, deadline async throws(LDAPFault) in
        try await logOn.logOn(connection, server: server, timeout: settings.timeouts.operation, deadline: deadline)
      },
      binds: pool(settings.bindConnections, .tls(settings.security), prepare: nil))
  }

  /// A configured port is that of the configured transport; searches by Kerberos go to the port of plain LDAP beside it.
  private func port(of server: DirectoryServer, _ protection: LDAPConnection.Protection) -> Int {
    if let port = server.port, protection == .tls(settings.security) { return port }
    switch (protection, isGlobalCatalog) {
    case (.tls(.ldaps), false): return 636
    case (.tls(.startTLS), false), (.kerberos, false): return 389
    case (.tls(.ldaps), true): return 3269
    case (.tls(.startTLS), true), (.kerberos, true): return 3268
    }
  }
}

/// Set by a closure that runs before the one who reads it goes on.
final class Flag { var isSet = false }
