import Bytes
import Identity

// Reading the fields of a message, each with its own complaint.

/// What is wrong with a message, for the one who sent it. Never a value.
package struct WireFault: Error, Sendable, Equatable {
  package var text: String
  init(_ text: String) { self.text = text }
  static func field(_ name: String, _ kind: String) -> WireFault { WireFault("The field \"\(name)\" must be \(kind).") }
}

extension JSONValue {
  func required(_ name: String) throws(WireFault) -> JSONValue {
    guard let value = self[name] else { throw WireFault("The field \"\(name)\" is missing.") }
    return value
  }

  func text(_ name: String) throws(WireFault) -> String {
    guard let text = try required(name).string else { throw .field(name, "a string") }
    return text
  }

  func optionalText(_ name: String) throws(WireFault) -> String? {
    guard let value = self[name] else { return nil }
    guard let text = value.string else { throw .field(name, "a string") }
    return text
  }

  func integer(_ name: String) throws(WireFault) -> Int64 {
    guard let number = try required(name).integer else { throw .field(name, "a whole number") }
    return number
  }

  func optionalInteger(_ name: String) throws(WireFault) -> Int64? {
    guard self[name] != nil else { return nil }
    return try integer(name)
  }

  func flag(_ name: String) throws(WireFault) -> Bool {
    guard let flag = try required(name).bool else { throw .field(name, "true or false") }
    return flag
  }

  func identifier(_ name: String) throws(WireFault) -> Identifier {
    guard let identifier = Identifier(try text(name)) else { throw .field(name, "an identifier") }
    return identifier
  }

  func optionalIdentifier(_ name: String) throws(WireFault) -> Identifier? {
    guard self[name] != nil else { return nil }
    return try identifier(name)
  }

  func realm(_ name: String) throws(WireFault) -> RealmName {
    guard let realm = RealmName(try text(name)) else { throw .field(name, "a realm name") }
    return realm
  }

  func list<Item>(_ name: String, _ item: (JSONValue) throws(WireFault) -> Item) throws(WireFault) -> [Item] {
    guard let elements = try required(name).elements else { throw .field(name, "an array") }
    var items: [Item] = []
    items.reserveCapacity(elements.count)
    for element in elements { items.append(try item(element)) }
    return items
  }

  func texts(_ name: String) throws(WireFault) -> [String] {
    try list(name) { (element) throws(WireFault) in
      guard let text = element.string else { throw .field(name, "an array of strings") }
      return text
    }
  }

  /// A value of a closed set.
  func word<Word: RawRepresentable>(_ name: String, _: Word.Type) throws(WireFault) -> Word where Word.RawValue == String {
    guard let word = Word(rawValue: try text(name)) else { throw .field(name, "one of the words that are known") }
    return word
  }
}
