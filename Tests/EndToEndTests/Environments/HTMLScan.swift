import Foundation

/// As much of HTML as a user agent without JavaScript needs to fill in forms: tags with their attributes, in their order.
///
/// It is strict, so that a page that two browsers could read in two ways fails the test: an attribute that stands twice, a quotation mark where none may
/// be, a form within a form, a tag that does not end. Pages of others that do such things are refused, not guessed at.
enum HTMLScan {
  /// One start tag or end tag; text and comments are skipped.
  struct Tag: Equatable, Sendable {
    var name: String
    var isEnd = false
    var attributes: [String: String] = [:]
    /// Where the tag begins and ends, in scalars.
    var range: Range<Int>
  }

  struct Fault: Error, CustomStringConvertible {
    var description: String
  }

  /// What a form would send.
  struct Form: Equatable, Sendable {
    /// As it stands in the page; empty: to where the page came from.
    var action = ""
    var method = "GET"
    var id: String?
    /// Name and value of everything that would be sent without pressing a button, in the page's order. Boxes that are not ticked are left out.
    var fields: [(name: String, value: String)] = []
    /// Name and value of what can be pressed.
    var buttons: [(name: String, value: String)] = []

    subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

    static func == (left: Form, right: Form) -> Bool {
      left.action == right.action && left.method == right.method && left.id == right.id && left.fields.elementsEqual(right.fields, by: ==)
        && left.buttons.elementsEqual(right.buttons, by: ==)
    }
  }

  static func forms(in page: String) throws -> [Form] {
    let scalars = Array(page.unicodeScalars)
    var forms: [Form] = []
    var open: Form?
    var area: (name: String, begin: Int)?
    var choice: (name: String, chosen: String?, first: String?)?
    for tag in try tags(in: scalars) {
      switch (tag.name, tag.isEnd) {
      case ("form", false):
        guard open == nil else { throw Fault(description: "a form within a form") }
        open = Form(
          action: tag.attributes["action"] ?? "", method: (tag.attributes["method"] ?? "get").uppercased(), id: tag.attributes["id"])
      case ("form", true):
        if let form = open { forms.append(form) }
        open = nil
      case ("input", false):
        guard let name = tag.attributes["name"] ?? (tag.attributes["type"] == "submit" ? "" : nil), tag.attributes["disabled"] == nil else {
          continue
        }
        let value = tag.attributes["value"]
        switch tag.attributes["type"]?.lowercased() ?? "text" {
        case "submit", "image", "button", "reset": open?.buttons.append((name, value ?? ""))
        case "checkbox", "radio": if tag.attributes["checked"] != nil { open?.fields.append((name, value ?? "on")) }
        default: open?.fields.append((name, value ?? ""))
        }
      case ("button", false): open?.buttons.append((tag.attributes["name"] ?? "", tag.attributes["value"] ?? ""))
      case ("textarea", false): area = (tag.attributes["name"] ?? "", tag.range.upperBound)
      case ("textarea", true):
        if let begun = area { open?.fields.append((begun.name, unescaped(text(scalars[begun.begin..<tag.range.lowerBound])))) }
        area = nil
      case ("select", false): choice = (tag.attributes["name"] ?? "", nil, nil)
      case ("option", false):
        let value = tag.attributes["value"] ?? ""
        if choice?.first == nil { choice?.first = value }
        if tag.attributes["selected"] != nil { choice?.chosen = value }
      case ("select", true):
        if let made = choice, let value = made.chosen ?? made.first { open?.fields.append((made.name, value)) }
        choice = nil
      default: continue
      }
    }
    guard open == nil else { throw Fault(description: "a form that does not end") }
    return forms
  }

  /// Where the page sends its reader by `<meta http-equiv="refresh">`.
  static func refresh(in page: String) throws -> String? {
    for tag in try tags(in: Array(page.unicodeScalars)) where tag.name == "meta" && tag.attributes["http-equiv"]?.lowercased() == "refresh" {
      guard let content = tag.attributes["content"], let at = content.range(of: "url=", options: .caseInsensitive) else { continue }
      return String(content[at.upperBound...]).trimmingCharacters(in: CharacterSet(charactersIn: "'\" "))
    }
    return nil
  }

  static func tags(in page: String) throws -> [Tag] { try tags(in: Array(page.unicodeScalars)) }

  private static func tags(in scalars: [Unicode.Scalar]) throws -> [Tag] {
    var reader = Reader(scalars: scalars)
    return try reader.tags()
  }

  private static func text(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// The text behind character references: numbers, and the names that pages here use.
  static func unescaped(_ text: String) -> String {
    let names: [String: Unicode.Scalar] = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": "\u{a0}"]
    let scalars = Array(text.unicodeScalars)
    var result = String.UnicodeScalarView()
    var index = 0
    while index < scalars.count {
      if scalars[index] == "&", let end = scalars[index...].prefix(12).firstIndex(of: ";") {
        let name = Self.text(scalars[(index + 1)..<end])
        var found = names[name]
        if name.hasPrefix("#x") || name.hasPrefix("#X") { found = UInt32(name.dropFirst(2), radix: 16).flatMap(Unicode.Scalar.init) }
        if found == nil, name.hasPrefix("#") { found = UInt32(name.dropFirst()).flatMap(Unicode.Scalar.init) }
        if let found {
          result.append(found)
          index = end + 1
          continue
        }
      }
      result.append(scalars[index])
      index += 1
    }
    return String(result)
  }

  private struct Reader {
    let scalars: [Unicode.Scalar]
    var index = 0

    init(scalars: [Unicode.Scalar]) { self.scalars = scalars }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
      scalar == " " || scalar == "\n" || scalar == "\t" || scalar == "\r" || scalar == "\u{c}"
    }

    private func starts(_ text: String) -> Bool {
      let wanted = Array(text.unicodeScalars)
      guard index + wanted.count <= scalars.count else { return false }
      return zip(scalars[index..<index + wanted.count], wanted).allSatisfy { $0.properties.lowercaseMapping == $1.properties.lowercaseMapping }
    }

    /// Goes behind the next `text`; false where there is none.
    private mutating func skip(past text: String) -> Bool {
      while index < scalars.count {
        if starts(text) {
          index += text.unicodeScalars.count
          return true
        }
        index += 1
      }
      return false
    }

    private mutating func skipSpace() { while index < scalars.count, Reader.isSpace(scalars[index]) { index += 1 } }

    private mutating func word(until ends: (Unicode.Scalar) -> Bool) -> String {
      let begin = index
      while index < scalars.count, !ends(scalars[index]) { index += 1 }
      return HTMLScan.text(scalars[begin..<index])
    }

    mutating func tags() throws -> [Tag] {
      var tags: [Tag] = []
      while index < scalars.count {
        guard scalars[index] == "<" else {
          index += 1
          continue
        }
        if starts("<!--") {
          guard skip(past: "-->") else { throw Fault(description: "a comment that does not end") }
        } else if starts("<!") || starts("<?") {
          guard skip(past: ">") else { throw Fault(description: "a declaration that does not end") }
        } else if index + 1 < scalars.count, scalars[index + 1] == "/" || scalars[index + 1].properties.isAlphabetic {
          let tag = try tag()
          tags.append(tag)
          // What stands in these is no markup.
          if !tag.isEnd, ["script", "style", "title"].contains(tag.name) {
            guard skip(past: "</\(tag.name)") else { throw Fault(description: "<\(tag.name)> does not end") }
            index -= tag.name.unicodeScalars.count + 2
          }
        } else {
          index += 1
        }
      }
      return tags
    }

    private mutating func tag() throws -> Tag {
      let begin = index
      index += 1
      let isEnd = scalars[index] == "/"
      if isEnd { index += 1 }
      let name = word { Reader.isSpace($0) || $0 == ">" || $0 == "/" }.lowercased()
      var attributes: [String: String] = [:]
      while true {
        skipSpace()
        guard index < scalars.count else { throw Fault(description: "<\(name) does not end") }
        if scalars[index] == ">" {
          index += 1
          return Tag(name: name, isEnd: isEnd, attributes: attributes, range: begin..<index)
        }
        if scalars[index] == "/" {
          index += 1
          continue
        }
        let key = word { Reader.isSpace($0) || $0 == ">" || $0 == "/" || $0 == "=" }
        guard !key.isEmpty, !key.unicodeScalars.contains(where: { $0 == "\"" || $0 == "'" || $0 == "<" }) else {
          throw Fault(description: "<\(name)> has an attribute that is none: \(key)")
        }
        skipSpace()
        var value = ""
        if index < scalars.count, scalars[index] == "=" {
          index += 1
          skipSpace()
          guard index < scalars.count else { throw Fault(description: "<\(name) does not end") }
          if scalars[index] == "\"" || scalars[index] == "'" {
            let quote = scalars[index]
            index += 1
            value = word { $0 == quote }
            guard index < scalars.count else { throw Fault(description: "the value of \(key) does not end") }
            index += 1
          } else {
            value = word { Reader.isSpace($0) || $0 == ">" }
            guard !value.unicodeScalars.contains(where: { $0 == "\"" || $0 == "'" || $0 == "<" || $0 == "=" }) else {
              throw Fault(description: "<\(name)> has a bare value with a quotation mark: \(value)")
            }
          }
        }
        guard attributes.updateValue(HTMLScan.unescaped(value), forKey: key.lowercased()) == nil else {
          throw Fault(description: "<\(name)> has \(key) twice")
        }
      }
    }
  }
}
