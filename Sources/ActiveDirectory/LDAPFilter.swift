import Bytes
import Identity

/// A search filter (RFC 4511 §4.5.1.7) that can only be made of checked names and escaped values.
indirect enum LDAPFilter: Sendable, Equatable {
  case and([LDAPFilter])
  case or([LDAPFilter])
  case not(LDAPFilter)
  case equal(String, [UInt8])
  case present(String)
  /// An extensible match: attribute, matching rule, value.
  case matching(String, rule: String, [UInt8])
  /// Text from the configuration; never from a request.
  case configured(String)

  /// The text that libldap takes (RFC 4515).
  ///
  /// Escaping is by bytes: a loop over Characters lets `*` + U+0301 through. All but letters and digits is escaped,
  /// so that nothing depends on which bytes a parser thinks special.
  var text: String {
    switch self {
    case .and(let parts): "(&" + parts.map(\.text).joined() + ")"
    case .or(let parts): "(|" + parts.map(\.text).joined() + ")"
    case .not(let part): "(!" + part.text + ")"
    case .configured(let text): text
    case .equal(let name, let value): "(\(LDAPFilter.checked(name))=\(LDAPFilter.escaped(value)))"
    case .present(let name): "(\(LDAPFilter.checked(name))=*)"
    case .matching(let name, let rule, let value): "(\(LDAPFilter.checked(name)):\(LDAPFilter.checked(rule)):=\(LDAPFilter.escaped(value)))"
    }
  }

  static func equal(_ name: String, _ value: String) -> LDAPFilter { .equal(name, Array(value.utf8)) }

  /// RFC 4515 §3, every byte but ASCII letters and digits as `\xx`.
  static func escaped(_ value: some Sequence<UInt8>) -> String {
    let hexadecimal = Array("0123456789abcdef".utf8)
    var result: [UInt8] = []
    for byte in value {
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: result.append(byte)
      default:
        result.append(UInt8(ascii: "\\"))
        result.append(hexadecimal[Int(byte >> 4)])
        result.append(hexadecimal[Int(byte & 15)])
      }
    }
    return String(decoding: result, as: UTF8.self)
  }

  /// A name with anything but letters, digits, `-`, `.` and `;` becomes one that no directory has: the configuration checks names, this line
  /// makes sure that a mistake there finds nobody instead of somebody.
  private static func checked(_ name: String) -> String {
    AttributeRequest(attributes: [name]).firstInvalidName == nil ? name : "invalidAttributeName"
  }
}
