import Identity
import Testing

@testable import ActiveDirectory

// As in OpenAM CVE-2021-29156, Joomla CVE-2017-14596, Keycloak CVE-2022-2232.
@Suite("Filter injection")
struct FilterInjectionTests {
  /// RFC 4515's value, read back as a server's library reads it.
  static func unescaped(_ text: String) -> [UInt8]? {
    var result: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "\\"):
        guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
        result.append(value)
        rest = rest.dropFirst(2)
      case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "*"), 0, 0x80...: return nil
      default: result.append(byte)
      }
    }
    return result
  }

  @Test("Every byte survives, and none is special")
  func everyByte() {
    for byte in UInt8.min...UInt8.max { #expect(Self.unescaped(LDAPFilter.escaped([byte])) == [byte]) }
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
      #expect(Self.unescaped(LDAPFilter.escaped(bytes)) == bytes)
    }
  }

  @Test(
    "Typed names stay values",
    arguments: [
      "*", "*)(uid=*))(|(uid=*", "a\\2a", "\\00", "*\u{301}", ")\u{301}(", "(\u{338}", "admin)(&", "\u{212a}", String(repeating: "(", count: 300),
    ])
  func names(text: String) throws {
    let name = LoginName(
      try #require(UserName(text)), kind: .activeDirectory, attributes: ["userPrincipalName", "sAMAccountName", "mail"],
      domains: [DirectoryDomain(dnsName: "gatehouse.test", netbiosName: "GATEHOUSE", servers: .list([]))])
    let filter = name.filter(people: "(objectClass=user)").text
    // Parentheses and stars of the structure only: one pair for `&`, `|`, the people filter and each assertion.
    #expect(filter.utf8.filter { $0 == UInt8(ascii: "(") }.count == 3 + name.assertions.count)
    #expect(filter.utf8.filter { $0 == UInt8(ascii: ")") }.count == 3 + name.assertions.count)
    #expect(!filter.utf8.contains(UInt8(ascii: "*")))
    #expect(filter.utf8.allSatisfy { $0 < 0x80 })
  }

  @Test("An attribute name that is none finds nobody")
  func attributeNames() {
    #expect(LDAPFilter.equal("uid=*)(uid", "x").text == "(invalidAttributeName=x)")
    #expect(LDAPFilter.present("").text == "(invalidAttributeName=*)")
  }
}
