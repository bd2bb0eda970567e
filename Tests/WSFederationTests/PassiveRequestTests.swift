import Bytes
import SAML
import Testing

@testable import WSFederation

@Suite struct `Requests of WS-Federation` {
  private func read(_ query: String) throws -> PassiveRequest { try PassiveRequest(try FormFields(Array(query.utf8))) }

  @Test func `say for whom, whereto, and with what to give back`() throws {
    let request = try read(
      "wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wreply=https%3A%2F%2Fsp.example%2Fa%3Fb%3D1&wctx=a%0D%0A%20%26+%C3%A9&wct=2026-11-18T11%3A06%3A40Z&wfresh=0&wauth=urn%3Aoasis%3Anames%3Atc%3ASAML%3A1.0%3Aam%3Apassword&whr=contoso.com&username=alice%40contoso.com&login_hint=bob&client-request-id=1&mkt=de"
    )
    #expect(request.action == .signIn)
    #expect(request.realm == "urn:federation:MicrosoftOnline")
    #expect(request.reply == "https://sp.example/a?b=1")
    #expect(Array(try #require(request.context).utf8) == Array("a\r\n & \u{e9}".utf8))
    #expect(request.currentTime == Instant(milliseconds: 1_795_000_000_000))
    #expect(request.freshness == 0)
    #expect(request.authentication == LegacyAssertion.passwordMethod)
    #expect(request.homeRealm == "contoso.com")
    #expect(request.userName == "alice@contoso.com")
  }

  @Test func `need a relying party only to sign in`() throws {
    #expect(fault { try read("wa=wsignin1.0") } == .structure)
    #expect(fault { try read("wa=wsignin1.0&wtrealm=") } == .structure)
    #expect(try read("wa=wsignout1.0").action == .signOut)
    #expect(try read("wa=wsignoutcleanup1.0").action == .signOutCleanup)
    #expect(try read("wa=wsignout1.0&wreply=https://sp.example/").reply == "https://sp.example/")
  }

  @Test func `are known by wa in whatever spelling`() throws {
    for query in ["wa=wsignin1.0", "WA=x", "%77a=x", "a=b&wA", "w%41=1"] {
      #expect(PassiveRequest.isOne(try FormFields(Array(query.utf8))), "\(query)")
    }
    for query in ["", "wap=1", "w=1", "SAMLRequest=x", "wctx=wa", "w%C3%A1=1"] {
      #expect(!PassiveRequest.isOne(try FormFields(Array(query.utf8))), "\(query)")
    }
  }

  @Test func `give back an empty context, and none where there was none`() throws {
    #expect(try read("wa=wsignin1.0&wtrealm=a&wctx=").context == "")
    #expect(try read("wa=wsignin1.0&wtrealm=a").context == nil)
    #expect(try read("wa=wsignin1.0&wtrealm=a&wctx=" + String(repeating: "a", count: PassiveRequest.longestContext)).context?.utf8.count == 4096)
  }

  @Test func `without a value have none`() throws {
    let request = try read("wa=wsignin1.0&wtrealm=a&wreply=&wauth=&whr=&wfresh=&username=&login_hint=bob")
    #expect(request.reply == nil && request.authentication == nil && request.homeRealm == nil && request.freshness == nil)
    #expect(request.userName == "bob")
  }

  @Test func `with a clock or a hint that is no use are read without it`() throws {
    #expect(try read("wa=wsignin1.0&wtrealm=a&wct=yesterday").currentTime == nil)
    #expect(try read("wa=wsignin1.0&wtrealm=a&wct=" + String(repeating: "9", count: 10_000)).currentTime == nil)
    #expect(try read("wa=wsignin1.0&wtrealm=a&username=" + String(repeating: "a", count: 321)).userName == nil)
    #expect(try read("wa=wsignin1.0&wtrealm=a&username=" + String(repeating: "a", count: 320)).userName != nil)
  }

  @Test(arguments: [("0", 0), ("60", 60), ("0000060", 60), ("1000000", 1_000_000)]) func `may ask how fresh`(_ text: String, _ minutes: Int64) throws
  {
    #expect(try read("wa=wsignin1.0&wtrealm=a&wfresh=\(text)").freshness == minutes)
  }

  @Test(arguments: ["-1", "%2B5", "1.5", "1000001", "9999999999999999999999", "x", "1 ", "\u{661}"])
  func `may not ask for a freshness that is no number of minutes`(_ text: String) {
    #expect(fault { try read("wa=wsignin1.0&wtrealm=a&wfresh=\(text)") } == .structure)
  }

  @Test(arguments: [("wtrealm", 1024), ("wreply", 2048), ("wauth", 256), ("whr", 1024), ("wctx", 4096)])
  func `have limits`(_ name: String, _ limit: Int) throws {
    let other = name == "wtrealm" ? "" : "&wtrealm=a"
    _ = try read("wa=wsignin1.0\(other)&\(name)=" + String(repeating: "a", count: limit))
    #expect(fault { try read("wa=wsignin1.0\(other)&\(name)=" + String(repeating: "a", count: limit + 1)) } == .tooLarge)
  }

  @Test(arguments: ["wattr1.0", "wpseudo1.0", "wsignin2.0", "WSIGNIN1.0", "wsignin1.0 ", ""]) func `of other kinds are refused`(_ action: String) {
    #expect(fault { try read("wa=\(action)&wtrealm=a") } == .structure)
  }

  @Test func `name what is not offered`() {
    #expect {
      try read("wa=wattr1.0&wtrealm=a")
    } throws: { error in
      (error as? MessageFault)?.detail.contains("wattr1.0") == true
    }
  }

  @Test(arguments: ["wa", "wtrealm", "wreply", "wctx", "wct", "wfresh", "wauth", "whr", "username", "login_hint", "wreq", "wreqptr"])
  func `come once, under their own names`(_ name: String) throws {
    let value = name == "wa" ? "wsignin1.0" : name == "wfresh" ? "0" : "a"
    let rest = (name == "wa" ? "" : "&wa=wsignin1.0") + (name == "wtrealm" ? "" : "&wtrealm=a")
    let upper = name.uppercased()
    let escaped = "%" + String(name.utf8.first ?? 0, radix: 16) + name.dropFirst()
    _ = try read("\(name)=\(value)\(rest)")
    for bad in ["\(name)=\(value)&\(name)=\(value)", "\(name)=\(value)&\(upper)=\(value)", "\(upper)=\(value)", "\(escaped)=\(value)"] {
      #expect(fault { try read(bad + rest) } != nil, "\(bad)")
    }
  }

  @Test func `do not ask by value and by address, nor in two protocols`() throws {
    #expect(fault { try read("wa=wsignin1.0&wtrealm=a&wreq=b&wreqptr=c") } == .envelope)
    _ = try read("wa=wsignin1.0&wtrealm=a&wreqptr=http://127.0.0.1:1/")
    _ = try read("wa=wsignin1.0&wtrealm=a&wreq=<x/>")
    #expect(fault { try read("wa=wsignin1.0&wtrealm=a&SAMLRequest=b") } == .envelope)
    #expect(fault { try read("wa=wsignin1.0&wtrealm=a&samlresponse=b") } == .envelope)
  }

  @Test func `are equal byte by byte`() throws {
    let one = try read("wa=wsignin1.0&wtrealm=%C3%A9")
    #expect(one == (try read("wa=wsignin1.0&wtrealm=%C3%A9")))
    #expect(one != (try read("wa=wsignin1.0&wtrealm=e%CC%81")))
  }
}
