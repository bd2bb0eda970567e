import Foundation
import Testing

/// People of a real Samba AD sign in at real relying parties.
@Suite("SAML sign-on", .serialized)
struct SAMLSignOnTests {
  @Test("Somebody signs in at Shibboleth and, without a second password, at mellon; attributes and groups arrive, and every signature holds")
  func signOn() async throws {
    try await FederationHouse.with("sign-on") { federation in
      let browser = CookieBrowser()
      let oracle = DocumentOracle(certificate: try await federation.certificate())
      for (index, party) in federation.parties.enumerated() {
        let page =
          index == 0
          ? try await federation.signIn(browser, party.protectedPageURL, as: "alice")
          : try await browser.carryOn(try await browser.open(party.protectedPageURL))
        let visitor = try #require(party.visitor(in: page.body), "\(page.url) \(page.status): \(page.body)")
        #expect(visitor["eppn"] == "alice@\(federation.house.realm)")
        #expect(visitor["displayName"] == "Alice Example")
        #expect(visitor["isMemberOf"]?.split(separator: ";").contains("Domain Users") == true, "\(visitor.variables)")
        let carried = try #require(await browser.history.lazy.compactMap(\.samlMessage).last)
        let signatures = try await oracle.check(carried)
        #expect(signatures.map(\.element) == ["Response", "Assertion"])
      }
    }
  }
}
