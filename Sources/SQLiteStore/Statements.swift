import Bytes
import Foundation
import GRDB
import Identity

// Every statement of this door passes through here: the SQL is a StaticString, so no foreign text can become part of it,
// and it is prepared once per connection. All foreign text is bound as a blob of its UTF-8 bytes: SQLite's text ends at the first NUL when
// bound through GRDB, and blobs compare byte by byte whatever the collation.

/// A value to bind.
typealias Argument = (any DatabaseValueConvertible)?

extension Database {
  /// Runs a statement that returns nothing; answers how many rows it changed.
  @discardableResult
  func run(_ sql: StaticString, _ arguments: Argument...) throws -> Int {
    try cachedStatement(sql: sql.description).execute(arguments: StatementArguments(arguments))
    return changesCount
  }

  /// All rows of a query.
  func rows(_ sql: StaticString, _ arguments: Argument...) throws -> [Row] {
    try Row.fetchAll(cachedStatement(sql: sql.description), arguments: StatementArguments(arguments))
  }

  /// The first row of a query, or nil.
  func row(_ sql: StaticString, _ arguments: Argument...) throws -> Row? {
    try Row.fetchOne(cachedStatement(sql: sql.description), arguments: StatementArguments(arguments))
  }
}

extension String {
  /// The bytes under which this text is stored.
  var blob: Data { Data(utf8) }
}

extension Instant {
  var stored: Int64 { milliseconds }
}

/// Reading of columns without traps: a file that somebody damaged must not end the process (GRDB's subscripts would).
extension Row {
  func integer(_ index: Int) throws -> Int64 {
    guard let value = try optionalInteger(index) else { throw damaged(index) }
    return value
  }

  func optionalInteger(_ index: Int) throws -> Int64? {
    switch try value(index).storage {
    case .null: return nil
    case .int64(let value): return value
    default: throw damaged(index)
    }
  }

  func bytes(_ index: Int) throws -> [UInt8] {
    guard let value = try optionalBytes(index) else { throw damaged(index) }
    return value
  }

  func optionalBytes(_ index: Int) throws -> [UInt8]? {
    switch try value(index).storage {
    case .null: return nil
    case .blob(let data): return Array(data)
    default: throw damaged(index)
    }
  }

  func text(_ index: Int) throws -> String {
    guard let text = StrictText.utf8(try bytes(index)) else { throw damaged(index) }
    return text
  }

  func optionalText(_ index: Int) throws -> String? {
    guard let bytes = try optionalBytes(index) else { return nil }
    guard let text = StrictText.utf8(bytes) else { throw damaged(index) }
    return text
  }

  func flag(_ index: Int) throws -> Bool { try integer(index) != 0 }
  func instant(_ index: Int) throws -> Instant { Instant(milliseconds: try integer(index)) }
  func optionalInstant(_ index: Int) throws -> Instant? { try optionalInteger(index).map(Instant.init(milliseconds:)) }

  func identifier(_ index: Int) throws -> Identifier {
    guard let value = Identifier(bytes: try bytes(index)) else { throw damaged(index) }
    return value
  }

  func optionalIdentifier(_ index: Int) throws -> Identifier? {
    guard let bytes = try optionalBytes(index) else { return nil }
    guard let value = Identifier(bytes: bytes) else { throw damaged(index) }
    return value
  }

  func realm(_ index: Int) throws -> RealmName {
    guard let name = RealmName(try text(index)) else { throw damaged(index) }
    return name
  }

  private func value(_ index: Int) throws -> DatabaseValue {
    guard index >= 0, index < count else { throw damaged(index) }
    return self[index]
  }

  /// What is thrown where a stored value is not what its column holds.
  func damaged(_ index: Int) -> StoreError {
    .unavailable("the store's file is damaged: column \(index) of a row does not hold what it should; restore it from a backup")
  }
}

extension StoreError {
  /// What a caller is told of any error on the way to the file.
  init(_ error: any Error) {
    switch error {
    case let known as StoreError: self = known
    case let database as DatabaseError where database.resultCode == .SQLITE_CONSTRAINT:
      // The rules that people can break are checked before the write, with words; what remains is a race or a bug.
      self = .conflict("a rule of the store refused the write (SQLite \(database.extendedResultCode.rawValue))")
    case let database as DatabaseError:
      self = .unavailable("SQLite \(database.extendedResultCode.rawValue): \(database.message ?? "no message")")
    default: self = .unavailable("\(type(of: error))")
    }
  }
}
