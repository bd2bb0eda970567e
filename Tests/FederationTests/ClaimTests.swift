import Bytes
import Foundation
import GatehouseTesting
import Identity
import SAML
import Testing
import XMLSecurity

@testable import Federation

@Suite struct `A table of claims` {
  private func facts(_ attributes: [String: [String]] = [:], groups: [String]? = [], domain: String? = "contoso") throws -> PersonFacts {
    PersonFacts(
      person: try House.person(attributes: attributes, groups: groups), domain: domain,
      circumstances: SignInCircumstances(
        authenticationMethod: "method", authenticated: Instant(milliseconds: 0), issuer: "issuer", changePasswordURL: "https://sts/change-password",
        now: Instant(milliseconds: 0)))
  }

  private func values(_ rule: ClaimRule, _ facts: PersonFacts) throws -> [String] {
    #expect(rule.problem == nil)
    return try ClaimTable([rule]).attributes(of: facts).first?.values ?? []
  }

  private func problem(_ work: () throws -> Void) -> String? {
    do {
      try work()
      return nil
    } catch let problem as ClaimProblem { return problem.detail } catch {
      Issue.record("threw \(error)")
      return nil
    }
  }

  @Test func `takes the first source that has a value`() throws {
    let rule = ClaimRule(name: "n", sources: [.directory("displayName"), .directory("cn"), .userPrincipalName])
    #expect(try values(rule, try facts(["displayName": ["A", "B"], "cn": ["C"]])) == ["A", "B"])
    #expect(try values(rule, try facts(["CN": ["C"]])) == ["C"])
    #expect(try values(rule, try facts(["displayName": []])) == ["alice@contoso.com"])
  }

  @Test func `knows every source by its word`() throws {
    let facts = try facts(["sAMAccountName": ["alice"]], groups: ["CN=A,DC=x"])
    for (word, expected) in [
      ("$userPrincipalName", ["alice@contoso.com"]), ("$immutableId", ["aW1tdXRhYmxl"]), ("$objectId", ["01010101-0101-0101-0101-010101010101"]),
      ("$realm", ["contoso.com"]),
      ("$windowsAccountName", ["CONTOSO\\alice"]), ("$groups", ["A"]), ("samaccountname", ["alice"]),
    ] {
      let source = try #require(ClaimSource(word: word))
      #expect(source.word == word)
      #expect(try JSONDecoder().decode([ClaimSource].self, from: try JSONEncoder().encode([source])) == [source])
      #expect(try values(ClaimRule(name: "n", sources: [source]), facts) == expected)
    }
    for word in ["", "$", "$x", "$Groups", "a b", "a*", "é", String(repeating: "a", count: 65)] { #expect(ClaimSource(word: word) == nil) }
    #expect(try values(ClaimRule(name: "n", sources: [.windowsAccountName]), try self.facts(["sAMAccountName": ["alice"]], domain: nil)).isEmpty)
  }

  @Test func `tells groups by name or distinguished name, chosen and shortened by a prefix`() throws {
    let facts = try facts(groups: [
      "CN=App-Wiki-Admins,OU=g,DC=c", "CN=app-wiki-Users,DC=c", "CN=Other\\, all,DC=c", "CN=\\41pp-Wiki-X,DC=c", "S-1-5-32-544", "CN=Z+OU=y,DC=c",
    ])
    func groups(_ filter: GroupFilter?) throws -> [String] { try values(ClaimRule(name: "g", sources: [.groups], groups: filter), facts) }
    #expect(try groups(nil) == ["App-Wiki-Admins", "App-Wiki-X", "Other, all", "S-1-5-32-544", "Z", "app-wiki-Users"])
    #expect(try groups(GroupFilter(prefix: "APP-wiki-")) == ["App-Wiki-Admins", "App-Wiki-X", "app-wiki-Users"])
    #expect(try groups(GroupFilter(prefix: "app-wiki-", stripsPrefix: true)) == ["Admins", "Users", "X"])
    #expect(try groups(GroupFilter(form: .distinguishedName, prefix: "cn=other")) == ["CN=Other\\, all,DC=c"])
    #expect(try groups(GroupFilter(atMost: 6)).count == 6)
    #expect(problem { _ = try groups(GroupFilter(atMost: 5)) }?.contains("6 groups") == true)
    #expect(problem { _ = try values(ClaimRule(name: "g", sources: [.groups]), try self.facts(groups: nil)) } != nil)
  }

  @Test(arguments: [
    ("CN=a,DC=b", "a"), ("CN=a\\,b,DC=c", "a,b"), ("CN=a\\+b+OU=x", "a+b"), ("CN=\\e2\\82\\ac,DC=x", "\u{20ac}"), ("CN=a\\", "a\\"), ("CN=", ""),
    ("nothing", "nothing"), ("CN=\\ff,DC=x", "CN=\\ff,DC=x"),
    ("CN=a\\4,DC=x", "a4"), ("CN=\\\\x", "\\x"), ("", ""),
  ]) func `undoes the escapes of distinguished names`(_ name: String, _ expected: String) { #expect(ClaimTable.firstValue(ofName: name) == expected) }

  @Test func `changes values in its order`() throws {
    let facts = try facts(["mail": ["Alice@Contoso.COM", "bob@fabrikam.com"]])
    func changed(_ changes: [ClaimChange]) throws -> [String] {
      try values(ClaimRule(name: "m", sources: [.directory("mail")], changes: changes), facts)
    }
    #expect(try changed([.lowerCase]) == ["alice@contoso.com", "bob@fabrikam.com"])
    #expect(try changed([.upperCase, .keep(pattern: "@CONTOSO")]) == ["ALICE@CONTOSO.COM"])
    #expect(try changed([.keep(pattern: "@CONTOSO")]).isEmpty)
    #expect(try changed([.lowerCase, .replace(pattern: "^([^@]+)@(.+)$", with: "$2/$1")]) == ["contoso.com/alice", "fabrikam.com/bob"])
    #expect(try changed([.replace(pattern: "@.*$", with: "")]) == ["Alice", "bob"])
    // What becomes empty is no value.
    #expect(try changed([.replace(pattern: ".*", with: "")]).isEmpty)
  }

  @Test func `refuses what is too long to be matched, rather than matching a part of it`() throws {
    let rule = ClaimRule(name: "m", sources: [.directory("mail")], changes: [.keep(pattern: "a")])
    let long = String(repeating: "a", count: 1024)
    #expect(try values(rule, try facts(["mail": [long]])) == [long])
    #expect(problem { _ = try values(rule, try facts(["mail": [long + "a"]])) } != nil)
  }

  @Test func `refuses a token without a required value`() throws {
    let rule = ClaimRule(name: "m", sources: [.directory("mail")], isRequired: true)
    #expect(problem { _ = try values(rule, try facts()) }?.contains("required") == true)
    #expect(problem { _ = try values(rule, try facts(["mail": [""]])) } != nil)
    #expect(try values(ClaimRule(name: "m", sources: [.directory("mail")]), try facts()).isEmpty)
    #expect(try values(ClaimRule(name: "m", constants: ["a", "b"]), try facts()) == ["a", "b"])
  }

  static let explosive = [
    "(a+)+", "(a*)*b", "(a|aa)+", "(?:a+)+$", "((a)+)*", "(a{1,9}){2}", "(a?){64}", "(aa?)*b", "(?:a|b)*", "(.*)*", "([a-z]+)*", "(a)\\1",
    "(?<n>a)\\k<n>", "((a|b)c)+", "(x(a+))+", "(a?b?)*c",
    "(\\(?a)*",
  ]

  @Test(arguments: explosive) func `takes no pattern that repeats what repeats or chooses`(_ pattern: String) {
    #expect(BoundedPattern.problem(pattern) != nil)
    #expect(ClaimRule(name: "n", sources: [.directory("cn")], changes: [.keep(pattern: pattern)]).problem != nil)
    #expect(BoundedPattern(pattern) == nil)
  }

  @Test(arguments: [
    "a+", "^[^@]+", "(a+)b", "^(.+)@contoso\\.com$", "(?:a)b?", "(?i)admin", "[(+*)]+", "\\(a+\\)+", "a|b", "(abc)+", "^CN=([^,]+),", "(?=a)b",
    "a?b?",
  ])
  func `takes patterns that cannot explode`(_ pattern: String) { #expect(BoundedPattern.problem(pattern) == nil) }

  @Test(arguments: ["", "(", "[", "a**", "\\", "(?<n", String(repeating: "a", count: 257)]) func `takes no pattern that is none`(_ pattern: String) {
    #expect(BoundedPattern.problem(pattern) != nil)
  }

  @Test(arguments: [".*.*.*=", "a*a*a*a*a*b"]) func `refuses a token rather than match for minutes`(_ pattern: String) throws {
    let expression = try #require(BoundedPattern(pattern))
    let value = String(repeating: "a", count: BoundedPattern.longestValue)
    #expect(expression.matches(value) == nil && expression.replaced(value, with: "") == nil)
    let rule = ClaimRule(name: "m", sources: [.directory("mail")], changes: [.keep(pattern: pattern)])
    #expect(problem { _ = try values(rule, try facts(["mail": [value]])) }?.contains("too long to match") == true)
    #expect(expression.matches("b") == (pattern.hasSuffix("b")))
  }

  @Test func `replaces every match, with groups and escapes, in any script`() throws {
    let expression = try #require(BoundedPattern("([a-zäöü]+)@([a-z]+)\\.com"))
    #expect(expression.replaced("jörg@contoso.com, x@y.com", with: "\\$$2:$1 😀") == "$contoso:jörg 😀, $y:x 😀")
    #expect(expression.replaced("", with: "x") == "" && expression.replaced("no", with: "$1") == "no")
    #expect(expression.replaced("a@b.com", with: "$7") == nil)
  }

  @Test func `is checked line by line before it is kept`() {
    let good = ClaimRule(name: "n", sources: [.directory("cn")])
    #expect(good.problem == nil)
    func problem(_ change: (inout ClaimRule) -> Void) -> String? {
      var rule = good
      change(&rule)
      return rule.problem
    }
    #expect(problem { $0.name = "" } != nil)
    #expect(problem { $0.name = String(repeating: "n", count: 257) } != nil)
    #expect(problem { $0.name = "a\u{0}" } != nil)
    #expect(problem { $0.nameFormat = "\u{fffe}" } != nil)
    #expect(problem { $0.friendlyName = "\u{b}" } != nil)
    #expect(problem { $0.constants = ["x"] } != nil)
    #expect(problem { $0.sources = [] } != nil)
    #expect(
      problem {
        $0.sources = []; $0.constants = ["\u{1}"]
      } != nil)
    #expect(
      problem {
        $0.sources = []; $0.constants = ["x"]
      } == nil)
    #expect(problem { $0.sources = [.groups, .directory("cn")] } != nil)
    #expect(problem { $0.groups = GroupFilter() } != nil)
    #expect(
      problem {
        $0.sources = [.groups]; $0.groups = GroupFilter(atMost: 0)
      } != nil)
    #expect(
      problem {
        $0.sources = [.groups]; $0.groups = GroupFilter(atMost: 2001)
      } != nil)
    #expect(
      problem {
        $0.sources = [.groups]; $0.groups = GroupFilter(atMost: 2000)
      } == nil)
    #expect(problem { $0.changes = [ClaimChange](repeating: .lowerCase, count: 9) } != nil)
    #expect(problem { $0.changes = [.replace(pattern: "a", with: String(repeating: "b", count: 257))] } != nil)
  }

  /// B2.8: names that break out of templates, and what XML cannot carry.
  @Test(arguments: [
    "</AttributeValue><AttributeValue>Domain Admins", "<\u{338}", "&admin;", "]]>", "\u{301}\"", "\r\n", "<!--", "\u{2028}", "-->", "<![CDATA[x]]>",
    "😀\u{10ffff}", "&#0;", "' or '1'='1", "</saml:Assertion>",
  ]) func `keeps a value one value, whatever stands in it`(_ text: String) async throws {
    let house = try await House()
    let wiki = try await house.register("wiki") { $0.claims = [ClaimRule(name: "name", sources: [.directory("displayName")])] }
    let plain = try await house.answer(
      try house.request(wiki, id: "_plain"), try await house.session(try House.person(attributes: ["displayName": ["Alice"]])))
    let answer = try await house.answer(
      try house.request(wiki, id: "_hostile"), try await house.session(try House.person(2, attributes: ["displayName": [text]]), digest: 2))
    #expect(answer.attributes["name"].map { $0.map { Array($0.utf8) } } == [Array(text.utf8)])
    #expect(Answer.elements(answer.root) == Answer.elements(plain.root))
  }

  @Test(arguments: ["\u{0}", "a\u{8}b", "\u{fffe}", "\u{ffff}", "\u{1f}"]) func `refuses a value that XML cannot carry`(_ text: String) async throws {
    let house = try await House()
    let wiki = try await house.register("wiki") { $0.claims = [ClaimRule(name: "name", sources: [.directory("displayName")])] }
    let session = try await house.session(try House.person(attributes: ["displayName": ["fine", text]]))
    #expect(refusal(await house.signOn.receive(try house.request(wiki), session: session, browser: House.browser)) == .noToken)
    // The same in the name itself.
    var person = try House.person(2)
    person.userPrincipalName = "alice\(text)@contoso.com"
    let named = try await house.session(person, digest: 2)
    #expect(refusal(await house.signOn.receive(try house.request(wiki, id: "_b"), session: named, browser: House.browser)) == .noToken)
    #expect(await house.events(.tokenIssued).isEmpty)
  }

  @Test func `asks the directory for what it needs`() throws {
    var party = try TestServiceProvider("wiki", now: Instant(milliseconds: 1_795_000_000_000)).registration("wiki")
    party.nameID = NameIDRule(format: .persistent, allowed: [.persistent], source: .windowsAccountName)
    party.claims = [ClaimRule(name: "a", sources: [.directory("cn"), .directory("displayName")])]
    #expect(ClaimTable.needs(party) == AttributeRequest(attributes: ["cn", "displayName", "sAMAccountName"], groups: false))
    party.permittedGroups = ["CN=x"]
    #expect(ClaimTable.needs(party).groups)
    party.permittedGroups = []
    party.claims = [ClaimRule(name: "g", sources: [.groups])]
    #expect(ClaimTable.needs(party).groups)
  }
}
