import Bytes
import Identity
import Synchronization

/// The audit of sign-ins that a throttle refuses: one row when a source's refusals begin, then one a minute with their number, in place of one for
/// each of a million guesses.
///
/// No verdict leaves without its row: the first refusal waits until its row is durable, and all that follow carry that row's reference. What was
/// counted since the last minute's row is lost with the process; that the source was being refused is not.
package final class ThrottleLedger: Sendable {
  package struct Key: Hashable, Sendable {
    package var realm: RealmName
    package var reason: RefusalReason
    package var frontEnd: String
    /// Where the guesses come from, for people.
    package var source: String

    package init(realm: RealmName, reason: RefusalReason, frontEnd: String, source: String) {
      self.realm = realm
      self.reason = reason
      self.frontEnd = frontEnd
      self.source = source
    }
  }

  private struct Page: Sendable {
    var reference: Reference
    var isDurable = false
    /// Since the last row.
    var count: Int64 = 0
    var names: [String] = []
    var since: Instant
  }

  static let most = 4096
  private let audit: any AuditLog
  private let pages = Mutex<[Key: Page]>([:])

  package init(audit: any AuditLog) { self.audit = audit }

  /// Notes one refusal and answers the reference under which it can be explained. Throws `StoreError` where the row cannot be written.
  package func note(_ key: Key, name: String, now: Instant) async throws -> Reference {
    enum Next { case done(Reference), open(Key, Reference), single(Key) }
    let next: Next = pages.withLock { pages in
      var key = key
      // Among very many sources the rest is one.
      if pages[key] == nil, pages.count >= ThrottleLedger.most { key.source = "other sources" }
      guard var page = pages[key] else {
        let page = Page(reference: Reference(), since: now)
        pages[key] = page
        return .open(key, page.reference)
      }
      guard page.isDurable else { return .single(key) }
      page.count += 1
      if page.names.count < 5 { page.names.append(cut(name, 64)) }
      pages[key] = page
      return .done(page.reference)
    }
    switch next {
    case .done(let reference): return reference
    case .single(let key):
      // The row that opens the page is on its way to the disk: these few have one each.
      let reference = Reference()
      try await audit.append([ThrottleLedger.event(key, reference: reference, count: 1, names: [name], since: now, now: now)])
      return reference
    case .open(let opened, let reference):
      do {
        try await audit.append([ThrottleLedger.event(opened, reference: reference, count: 1, names: [name], since: now, now: now)])
      } catch {
        pages.withLock { $0[opened] = nil }
        throw error
      }
      pages.withLock { $0[opened]?.isDurable = true }
      return reference
    }
  }

  /// Writes what was counted, and closes the pages on which nothing was. To be called once a minute, and at the end.
  package func flush(now: Instant) async throws {
    let written: [(Key, Page)] = pages.withLock { pages in
      var written: [(Key, Page)] = []
      for (key, page) in pages where page.isDurable {
        guard page.count > 0 else {
          pages[key] = nil
          continue
        }
        written.append((key, page))
        pages[key]?.count = 0
        pages[key]?.names = []
        pages[key]?.since = now
      }
      return written
    }
    guard !written.isEmpty else { return }
    let events = written.sorted { $0.0.source < $1.0.source }.map { key, page in
      ThrottleLedger.event(key, reference: page.reference, count: page.count, names: page.names, since: page.since, now: now)
    }
    do {
      try await audit.append(events)
    } catch {
      // Not lost yet: the next row tells them.
      pages.withLock { pages in for (key, page) in written { pages[key]?.count += page.count } }
      throw error
    }
  }

  private static func event(
    _ key: Key, reference: Reference, count: Int64, names: [String], since: Instant, now: Instant
  ) -> AuditEvent {
    AuditEvent(
      time: now, kind: .signInsThrottled, reference: reference, actor: key.frontEnd, realm: key.realm, subject: cut(key.source, 512),
      outcome: "refused:\(key.reason.rawValue)",
      details: [
        "count": "\(count)", "since": since.description, "names": names.map { cut($0, 64) }.joined(separator: " "),
        "outerCode": key.reason.outerCode.rawValue,
      ])
  }
}
