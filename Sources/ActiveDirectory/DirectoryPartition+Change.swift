import Identity

extension DirectoryPartition {
  /// Changes something over the service account's session: at `preferred`, or at the next server where that one certainly did not begin. What may have
  /// been put before a server is not put before another.
  func change(
    preferring preferred: DirectoryServer?, deadline: Deadline, permission: BindPermission, trace: TraceRecorder,
    _ body: @escaping @Sendable (LDAPConnection, Duration) async throws(LDAPFault) -> LDAPResult
  ) async throws(LDAPFault) -> (result: LDAPResult, server: DirectoryServer) {
    var last: LDAPFault?
    let (servers, _) = try await locator.servers(for: .search, preferring: preferred, deadline: deadline)
    for (index, server) in servers.enumerated() {
      guard !deadline.hasPassed else { throw last ?? .noTime }
      let isLast = index == servers.count - 1
      let attempt = locator.begin(server, .search)
      let wasSent = Flag()
      let started = ContinuousClock.now
      do throws(LDAPFault) {
        let result = try await compartment(of: server).searches.lend(
          deadline: share(of: deadline, isLast: isLast), opening: isLast ? nil : settings.timeouts.quickConnect, isLast: isLast,
          begun: { self.locator.asked(attempt) }
        ) { connection async throws(LDAPFault) -> LDAPResult in
          guard !deadline.hasPassed else { throw .noTime }
          guard await permission.isGiven() else { throw .withdrawn }
          wasSent.isSet = true
          let started = ContinuousClock.now
          let result = try await body(connection, self.operationTimeout(deadline))
          trace.add(.change, "\(server): \(result.summary)", since: started)
          // A referral is how a read-only domain controller says that it does not change anything.
          if result.wasNotProcessed || result.code == 10 || result.code == 1 { throw .result(result) }
          return result
        }
        locator.answered(attempt)
        return (result, server)
      } catch {
        last = error
        if error.isCrowding, !wasSent.isSet, !deadline.hasPassed {
          locator.released(attempt)
          continue
        }
        if case .result(let result) = error, result.code == 10 {
          locator.answered(attempt)
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
}
