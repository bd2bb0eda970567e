import Identity
import NIOCore
import Synchronization

/// The servers of one domain (or the global catalog), with kept connections to each: searches bound as the service account, and binds.
///
/// A question that was not put to a server's judgement goes on to the next server. A bind that may have been is never repeated: AD might
/// count one wrong password twice.
final class DirectoryPartition: Sendable {
  private struct Pools: Sendable {
    var searches: ConnectionPool
    var binds: ConnectionPool
  }

  let locator: ServerLocator
  private let settings: DirectorySettings
  private let isGlobalCatalog: Bool
  private let logOn: ServiceLogOn
  private let names: NameResolution
  private let timers: any EventLoop
  private let pools = Mutex<[DirectoryServer: Pools]>([:])
  private let seenRefusals = Mutex<Int>(0)

  init(
    source: ServerSource, isGlobalCatalog: Bool, settings: DirectorySettings, logOn: ServiceLogOn, names: NameResolution,
    alarms: DirectoryAlarms, timers: any EventLoop
  ) {
    locator = ServerLocator(source: source, names: names, setAside: settings.timeouts.setAside, alarms: alarms)
    self.settings = settings
    self.isGlobalCatalog = isGlobalCatalog
    self.logOn = logOn
    self.names = names
    self.timers = timers
  }

  /// Searches on the first server that answers, or on `only`.
  func search(
    _ query: LDAPSearch, only: DirectoryServer? = nil, deadline: Deadline, trace: TraceRecorder
  ) async throws(LDAPFault) -> LDAPSearch.Outcome {
    renewAfterRefusal()
    var last: LDAPFault?
    var servers: [DirectoryServer]
    if let only { servers = [only] } else { servers = try await locator.servers(deadline: deadline) }
    for (index, server) in servers.enumerated() {
      guard !deadline.hasPassed else { throw last ?? .noTime }
      let share = share(of: deadline, isLast: index == servers.count - 1)
      let started = ContinuousClock.now
      // A kept connection may have died a moment ago without anybody's fault, so one more try on a new one.
      for isLastTry in [false, true] {
        let wasBegun = Flag()
        do throws(LDAPFault) {
          var outcome = try await pools(of: server).searches.lend(deadline: share, begun: { wasBegun.isSet = true }) {
            connection async throws(LDAPFault) in
            let asked = ContinuousClock.now
            let outcome = try await connection.search(query, timeout: self.operationTimeout(share))
            trace.add(.search, "\(server): \(outcome.entries.count) found", since: asked)
            return outcome
          }
          locator.worked(server)
          outcome.server = server
          return outcome
        } catch {
          last = error
          if error == .noTime, !deadline.hasPassed { break }  // all of this server's connections are busy; the next one's may not be
          guard error.concernsServer else { throw error }
          if !isLastTry, wasBegun.isSet, case .unreachable = error { continue }
          if !isLastTry, wasBegun.isSet, case .result(let result) = error, result.code == 1 { continue }
          report(error, of: server, after: started, trace: trace)
          break
        }
      }
    }
    throw last ?? .noServer(locator.title)
  }

  /// What accompanies a bind.
  struct BindCompanion: Sendable {
    /// The server to begin with, where it is one of those to be asked.
    var preferred: DirectoryServer? = nil
    /// Called for each server before a connection to it is taken; throws `.withheld` where the password must not go there.
    var weigh: (@Sendable (DirectoryServer) async throws(LDAPFault) -> Void)? = nil
    /// Called right before the password is sent.
    var sending: (@Sendable () -> Void)? = nil
  }

  /// Binds as a person on the first server that can be reached, and proves the session where that succeeds.
  func bind(
    _ name: String, password: Password, proving entry: LDAPEntry?, with companion: BindCompanion = BindCompanion(), deadline: Deadline,
    permission: BindPermission, trace: TraceRecorder
  ) async throws(LDAPFault) -> (result: LDAPResult, tokens: [[UInt8]]) {
    var last: LDAPFault?
    var servers = try await locator.servers(deadline: deadline)
    if let preferred = companion.preferred, let index = servers.firstIndex(of: preferred) { servers.insert(servers.remove(at: index), at: 0) }
    for (index, server) in servers.enumerated() {
      guard !deadline.hasPassed else { throw last ?? .noTime }
      let wasSent = Flag()
      let started = ContinuousClock.now
      do throws(LDAPFault) {
        try await companion.weigh?(server)
        // A share of the time for getting a connection, all of it for the bind: there is no second one.
        let share = share(of: deadline, isLast: index == servers.count - 1)
        let answer = try await pools(of: server).binds.lend(deadline: share) { connection async throws(LDAPFault) -> (LDAPResult, [[UInt8]]) in
          // "Must not start a bind after the deadline" (PasswordValidator): the wait for a connection may have used it up.
          guard !deadline.hasPassed else { throw .noTime }
          // At the last moment, and telling that it is: from here on asking another agent may cost a second bad-password count.
          guard await permission.isGiven() else { throw .withdrawn }
          wasSent.isSet = true
          companion.sending?()
          let started = ContinuousClock.now
          let result = try await connection.bind(name, password: password.secret, timeout: self.operationTimeout(deadline))
          trace.add(.bind, "\(server): \(result.summary)", since: started)
          if result.wasNotProcessed { throw .result(result) }
          guard result.code == 0, let entry else { return (result, []) }
          return (result, try await connection.proveSession(of: entry, kind: self.settings.kind, timeout: self.operationTimeout(deadline)))
        }
        locator.worked(server)
        return answer
      } catch {
        last = error
        if error == .noTime, !deadline.hasPassed { continue }
        guard error.concernsServer else { throw error }
        report(error, of: server, after: started, trace: trace)
        if wasSent.isSet {
          guard case .result(let result) = error, result.wasNotProcessed else { throw error }
        }
      }
    }
    throw last ?? .noServer(locator.title)
  }

  /// Half of what is left while there are others to ask, so that one silent server does not use up the question's time.
  private func share(of deadline: Deadline, isLast: Bool) -> Deadline {
    isLast ? deadline : Deadline(after: deadline.remaining() / 2)
  }

  private func report(_ fault: LDAPFault, of server: DirectoryServer, after started: ContinuousClock.Instant, trace: TraceRecorder) {
    // Silence speaks against a server only if it had time to answer.
    let patience = min(.seconds(1), settings.timeouts.connect, settings.timeouts.operation) / 2
    if fault != .timedOut || started.duration(to: .now) >= patience { locator.failed(server, fault) }
    trace.add(.domainController, "\(server): \(fault.summary)")
  }

  private func operationTimeout(_ deadline: Deadline) -> Duration { min(settings.timeouts.operation, deadline.remaining()) }

  /// A refused service credential ends the sessions that its former self still has: the next question must log on anew, as the one try.
  private func renewAfterRefusal() {
    let count = logOn.refusalCount
    let changed = seenRefusals.withLock { seen in
      defer { seen = count }
      return seen != count
    }
    guard changed else { return }
    for pool in pools.withLock({ Array($0.values) }) { pool.searches.renew() }
  }

  /// Lets all kept connections go.
  func renew() {
    for pool in pools.withLock({ Array($0.values) }) {
      pool.searches.renew()
      pool.binds.renew()
    }
  }

  private func pools(of server: DirectoryServer) -> Pools {
    pools.withLock { pools in
      if let known = pools[server] { return known }
      let made = makePools(server)
      pools[server] = made
      return made
    }
  }

  /// The pools' closures take what they need, not `self`: the partition owns the pools, and a circle would keep their threads for ever.
  private func makePools(_ server: DirectoryServer) -> Pools {
    let (settings, names, timers, logOn) = (settings, names, timers, logOn)
    func pool(
      _ limit: Int, _ protection: LDAPConnection.Protection,
      prepare: (@Sendable (LDAPConnection, Deadline) async throws(LDAPFault) -> Void)?
    ) -> ConnectionPool {
      let turnstile = Turnstile(limit: limit, maximumWaiting: settings.maximumWaiting, timers: timers)
      let port = port(of: server, protection)
      return ConnectionPool(turnstile: turnstile, maximumIdle: settings.timeouts.idle) { deadline async throws(LDAPFault) in
        let addresses = await names.addresses(of: server, port: port, deadline: deadline)
        let peer = LDAPConnection.Peer(
          host: server.host, addresses: addresses, protection: protection, authorityFile: settings.authorityFile)
        let connection = LDAPConnection(timers: timers)
        let descriptor = try await connection.open(peer, timeout: min(settings.timeouts.connect, deadline.remaining()))
        try await prepare?(connection, deadline)
        return (connection, descriptor)
      }
    }
    return Pools(
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
private final class Flag { var isSet = false }
