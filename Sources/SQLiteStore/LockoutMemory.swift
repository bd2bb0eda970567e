import Bytes
import GRDB
import Identity
import SignIn
import Synchronization

/// The lockout rows that were read or written last, so that a sign-in does not ask the file twice for what it says.
///
/// Used on the writer's queue only, where every change is made, so that it says what the file says: what was undone empties it, and so does
/// every change that is not made through it. Bounded.
final class LockoutMemory: Sendable {
  private struct Person: Hashable {
    var realm: RealmName
    var object: Identifier
  }

  private struct Rows: Sendable {
    /// Nil values: the file has no such row.
    var names: [LockoutName: LockoutNameRow?] = [:]
    var persons: [Person: LockoutState?] = [:]
  }

  private static let most = 50_000

  private let rows = Mutex(Rows())

  func forget() { rows.withLock { $0 = Rows() } }

  func name(_ name: LockoutName, _ database: Database) throws -> LockoutNameRow? {
    if let known = rows.withLock({ $0.names[name] }) { return known }
    let read = try database.lockoutName(name)
    rows.withLock { LockoutMemory.keep(read, name, &$0.names) }
    return read
  }

  func person(_ object: Identifier, realm: RealmName, _ database: Database) throws -> LockoutState? {
    let person = Person(realm: realm, object: object)
    if let known = rows.withLock({ $0.persons[person] }) { return known }
    let read = try database.lockoutObject(object, realm: realm)
    rows.withLock { LockoutMemory.keep(read, person, &$0.persons) }
    return read
  }

  func put(_ row: LockoutNameRow, for name: LockoutName, _ database: Database) throws {
    try database.put(row, for: name)
    rows.withLock { LockoutMemory.keep(row, name, &$0.names) }
  }

  func put(_ state: LockoutState, for object: Identifier, realm: RealmName, now: Instant, _ database: Database) throws {
    try database.put(state, for: object, realm: realm, now: now)
    rows.withLock { LockoutMemory.keep(state, Person(realm: realm, object: object), &$0.persons) }
  }

  private static func keep<Key: Hashable, Value>(_ value: Value?, _ key: Key, _ values: inout [Key: Value?]) {
    if values.count >= most { values.removeAll() }
    values[key] = .some(value)
  }
}
