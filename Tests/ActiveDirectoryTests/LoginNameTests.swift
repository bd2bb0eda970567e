import Identity
import Testing

@testable import ActiveDirectory

@Suite("What a typed name means")
struct LoginNameTests {
  static let domains = [
    DirectoryDomain(dnsName: "contoso.com", netbiosName: "CONTOSO", servers: .list([])),
    DirectoryDomain(dnsName: "emea.contoso.com", netbiosName: "EMEA", servers: .list([])),
  ]

  func name(_ text: String) throws -> LoginName {
    LoginName(
      try #require(UserName(text)), kind: .activeDirectory, attributes: DirectorySettings.defaultLoginAttributes(.activeDirectory),
      domains: Self.domains)
  }

  func entry(_ dn: String, upn: String? = nil, sam: String? = nil, mail: String? = nil) -> LDAPEntry {
    var attributes: [String: [[UInt8]]] = [:]
    if let upn { attributes["userprincipalname"] = [Array(upn.utf8)] }
    if let sam { attributes["samaccountname"] = [Array(sam.utf8)] }
    if let mail { attributes["mail"] = [Array(mail.utf8)] }
    return LDAPEntry(distinguishedName: dn, attributes: attributes)
  }

  @Test("DOMAIN\\name means an account of that domain and nothing else")
  func domainPrefix() throws {
    #expect(try name("emea\\alice").assertions == [.init(attribute: "sAMAccountName", value: "alice", within: "DC=emea,DC=contoso,DC=com")])
    #expect(try name("OTHER\\alice").assertions == [.init(attribute: "sAMAccountName", value: "OTHER\\alice", within: nil)])
    #expect(try name("EMEA\\").assertions == [.init(attribute: "sAMAccountName", value: "EMEA\\", within: "DC=emea,DC=contoso,DC=com")])
    #expect(try name("\\alice").assertions == [.init(attribute: "sAMAccountName", value: "\\alice", within: nil)])
  }

  @Test("name@domain is a user principal name, AD's implicit one of that domain, or a mail address, in this order")
  func suffix() throws {
    #expect(
      try name("alice@EMEA.contoso.com").assertions == [
        .init(attribute: "userPrincipalName", value: "alice@EMEA.contoso.com", within: nil),
        .init(attribute: "sAMAccountName", value: "alice", within: "DC=emea,DC=contoso,DC=com"),
        .init(attribute: "mail", value: "alice@EMEA.contoso.com", within: nil),
      ])
  }

  @Test("Who has the name as UPN goes before who has it as mail: nobody takes another's name by setting a mail address")
  func precedence() throws {
    let alice = entry("CN=alice,DC=contoso,DC=com", upn: "alice@contoso.com", sam: "alice")
    let mallory = entry("CN=mallory,DC=contoso,DC=com", upn: "mallory@contoso.com", sam: "mallory", mail: "Alice@Contoso.com")
    #expect(try name("alice@contoso.com").choose(among: [mallory, alice]) == .one(alice))
    #expect(try name("alice@contoso.com").choose(among: [mallory]) == .one(mallory))
    #expect(try name("alice@contoso.com").choose(among: []) == .nobody)
  }

  @Test("Two people with the same name in the same attribute are ambiguous")
  func ambiguity() throws {
    let one = entry("CN=one,DC=contoso,DC=com", sam: "alice")
    let two = entry("CN=two,DC=emea,DC=contoso,DC=com", sam: "ALICE")
    #expect(try name("alice").choose(among: [one, two]) == .several)
    #expect(try name("EMEA\\alice").choose(among: [one, two]) == .one(two))
    #expect(try name("alice@contoso.com").choose(among: [entry("CN=two,DC=other,DC=net", sam: "alice")]) == .nobody)
  }

  @Test("An entry that the directory takes as equal by rules of its own is last, not lost")
  func looseEquality() throws {
    let accented = entry("CN=jose,DC=contoso,DC=com", sam: "josé")
    #expect(try name("jose").choose(among: [accented]) == .one(accented))
    let spaced = entry("CN=x,DC=contoso,DC=com", sam: "a b")
    #expect(try name("a  b").choose(among: [spaced]) == .one(spaced))
  }

  @Test("A name lies within its domain by labels, not by letters")
  func within() {
    #expect(DistinguishedName.isWithin("CN=a,DC=Contoso,DC=com", base: "dc=contoso,dc=com"))
    #expect(!DistinguishedName.isWithin("CN=a,DC=evilcontoso,DC=com", base: "DC=contoso,DC=com"))
    #expect(!DistinguishedName.isWithin("CN=a\\,DC=contoso,DC=net", base: "DC=contoso,DC=com"))
    #expect(!DistinguishedName.isWithin("OU=x\\,DC\\=contoso\\,DC\\=com", base: "DC=contoso,DC=com"))
    #expect(!DistinguishedName.isWithin("CN=a\u{0}", base: "DC=contoso,DC=com"))
    #expect(DistinguishedName.areEqual(Array("dn:UID=a, DC=x".utf8), "dn:", "uid=a,dc=x"))
    #expect(!DistinguishedName.areEqual(Array("dn:".utf8), "dn:", ""))
    #expect(!DistinguishedName.areEqual(Array("u:a".utf8), "dn:", "uid=a,dc=x"))
  }
}
