import Identity
import Synchronization

/// Which servers to ask, and in which order: the configured or published order, with those that failed just now behind.
final class ServerLocator: Sendable {
  private struct Failure {
    var at: ContinuousClock.Instant
    var fault: LDAPFault
  }

  let source: ServerSource
  private let names: NameResolution
  private let setAside: Duration
  private let alarms: DirectoryAlarms
  private let failures = Mutex<[DirectoryServer: Failure]>([:])

  init(source: ServerSource, names: NameResolution, setAside: Duration, alarms: DirectoryAlarms) {
    self.source = source
    self.names = names
    self.setAside = setAside
    self.alarms = alarms
  }

  /// Servers in the order in which to try them, those set aside last. Throws `.noServer` where there is none, or where all failed within the
  /// last half second: asking them again that soon only makes people wait.
  func servers(deadline: Deadline) async throws(LDAPFault) -> [DirectoryServer] {
    let all = await known(deadline: deadline)
    guard !all.isEmpty else {
      alarms.raise(
        .noDirectoryServer, subject: title, message: "No directory server is known for \(title).",
        remedy: "Check that the agent's DNS answers for \(title), or name the servers in the agent's configuration.")
      throw .noServer("none is known for \(title)")
    }
    let now = ContinuousClock.now
    let failed = failures.withLock { $0.filter { $0.value.at.duration(to: now) < setAside } }
    let healthy = all.filter { failed[$0] == nil }
    let others = all.compactMap { server in failed[server].map { (server, $0) } }.sorted { $0.1.at < $1.1.at }
    let resting = min(setAside, .milliseconds(500))
    let retryable = others.filter { $0.1.at.duration(to: now) >= resting }.map(\.0)
    guard !healthy.isEmpty || !retryable.isEmpty else { throw others.last?.1.fault ?? .noServer(title) }
    return healthy + retryable
  }

  func failed(_ server: DirectoryServer, _ fault: LDAPFault) {
    failures.withLock { $0[server] = Failure(at: .now, fault: fault) }
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

  func worked(_ server: DirectoryServer) {
    let had = failures.withLock { $0.isEmpty ? nil : $0.removeValue(forKey: server) }
    guard had != nil else { return }
    alarms.clear(.directoryCertificate, subject: server.description)
    alarms.clear(.noDirectoryServer, subject: server.description)
    alarms.clear(.noDirectoryServer, subject: title)
  }

  /// For alarms and traces.
  var title: String {
    switch source {
    case .list(let servers): servers.map(\.description).joined(separator: ", ")
    case .serviceRecords(let domain, _): domain
    case .globalCatalogRecords(let forest): "the global catalog of \(forest)"
    }
  }

  private func known(deadline: Deadline) async -> [DirectoryServer] {
    let queries: [String]
    switch source {
    case .list(let servers): return servers
    case .serviceRecords(let domain, let site):
      queries = (site.map { ["_ldap._tcp.\($0)._sites.dc._msdcs.\(domain)"] } ?? []) + ["_ldap._tcp.dc._msdcs.\(domain)", "_ldap._tcp.\(domain)"]
    case .globalCatalogRecords(let forest): queries = ["_gc._tcp.\(forest)"]
    }
    for query in queries {
      let records = await names.services(query, deadline: deadline)
      // The port in the record is that of plain LDAP; the transport decides ours.
      if !records.isEmpty { return records.prefix(32).map { DirectoryServer(host: $0.target) } }
    }
    return []
  }
}
