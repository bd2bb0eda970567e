import Foundation
import Testing

/// Relying parties whose metadata come from their own site.
@Suite("Relying parties' metadata from their own site", .serialized, .federation("relying-party-metadata"))
struct RelyingPartyMetadataTests {
  private struct Party: Decodable {
    struct Endpoint: Decodable { var location: String }
    var consumers: [Endpoint]
    var metadataTrouble: String?
    var pendingChanges: [String]?
  }

  /// A site of its own whose document a test may change, as a relying party's owner does.
  private func withSite(_ name: String, _ body: (FederationHouse, ApacheSite, _ document: String) async throws -> Void) async throws {
    let federation = try FederationHouse.current
    let site = try await ApacheSite(name: name, isTLS: true)
    try site.configure(modules: [], "")
    let document = try await federation.shibboleth.metadata().replacing(federation.shibboleth.entityID, with: "urn:site:\(name)")
    try site.write("pages/sp.xml", document)
    let process = try await site.start()
    do { try await body(federation, site, document) } catch {
      process.stop()
      site.remove()
      throw error
    }
    process.stop()
    await site.waitForEnd()
    site.remove()
  }

  private func alarms(_ federation: FederationHouse, _ name: String) async throws -> [String] {
    try await federation.house.status().alarms.filter { $0.subject == name }.map(\.code)
  }

  @Test("Another consumer address is not taken over until it is approved: it is an alarm, and tokens go where they went")
  func moved() async throws {
    try await withSite("moving") { federation, site, document in
      let admin = federation.admin
      try await admin("rp", "add", "--name", "moving", "--metadata", site.url + "/sp.xml")
      let old = federation.shibboleth.assertionConsumerService
      let new = "https://elsewhere.test/Shibboleth.sso/SAML2/POST"
      #expect(try await admin.json(Party.self, "rp", "show", "moving").consumers.contains { $0.location == old })
      #expect(try await alarms(federation, "moving") == [])
      // What is the same again changes nothing.
      #expect(try await admin.json(Party.self, "rp", "refresh", "moving").pendingChanges == nil)
      try site.write("pages/sp.xml", document.replacing(old, with: new))
      let refreshed = try await admin.json(Party.self, "rp", "refresh", "moving")
      #expect(refreshed.pendingChanges?.contains("tokens could be sent to \(new)") == true, "\(refreshed)")
      #expect(refreshed.consumers.contains { $0.location == old } && !refreshed.consumers.contains { $0.location == new })
      let codes = try await alarms(federation, "moving")
      #expect(codes.count == 1, "\(codes)")
      let status = try await admin.attempt("status")
      #expect(status.status == 1 && status.output.contains("rp refresh moving --approve"), "\(status)")
      let refused = try await CookieBrowser().open(federation.request(of: "urn:site:moving", consumer: new).url)
      #expect(refused.status == 400)
      let approved = try await admin.json(Party.self, "rp", "refresh", "moving", "--approve")
      #expect(
        approved.pendingChanges == nil && approved.consumers.contains { $0.location == new } && !approved.consumers.contains { $0.location == old })
      #expect(try await alarms(federation, "moving") == [])
      try await admin("rp", "remove", "moving")
    }
  }

  @Test("A new key waits for approval; a document that cannot be read changes nothing and is an alarm; a pin must have signed")
  func keys() async throws {
    try await withSite("keyed") { federation, site, document in
      let admin = federation.admin
      try await admin("rp", "add", "--name", "keyed", "--metadata", site.url + "/sp.xml")
      let own = try String(contentsOfFile: federation.shibboleth.certificate, encoding: .utf8)
      let other = try String(contentsOfFile: federation.mellon.certificate, encoding: .utf8)
      func body(_ pem: String) -> String { pem.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined(separator: "\n") }
      let changed = document.replacing(body(own), with: body(other))
      try #require(changed != document)
      try site.write("pages/sp.xml", changed)
      let refreshed = try await admin.json(Party.self, "rp", "refresh", "keyed")
      #expect(refreshed.pendingChanges?.contains { $0.contains("certificates") } == true, "\(refreshed)")
      #expect(try await alarms(federation, "keyed").count == 1)
      // Back to what it was: there is nothing to approve any more.
      try site.write("pages/sp.xml", document)
      #expect(try await admin.json(Party.self, "rp", "refresh", "keyed").pendingChanges == nil)
      #expect(try await alarms(federation, "keyed") == [])
      for broken in [
        "<md:EntityDescriptor", "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", document.replacing("https://", with: "http://elsewhere.test/"),
      ] {
        try site.write("pages/sp.xml", broken)
        let party = try await admin.json(Party.self, "rp", "refresh", "keyed")
        #expect(
          party.metadataTrouble != nil && party.consumers.contains { $0.location == federation.shibboleth.assertionConsumerService }, "\(party)")
        #expect(try await alarms(federation, "keyed").count == 1)
      }
      try site.write("pages/sp.xml", document)
      #expect(try await admin.json(Party.self, "rp", "refresh", "keyed").metadataTrouble == nil)
      let pinned = try await admin.attempt(
        "rp", "add", "--name", "pinned", "--metadata", site.url + "/sp.xml", "--pin", federation.shibboleth.certificate)
      #expect(pinned.status != 0 && pinned.complaint.contains("not signed by the pinned certificate"), "\(pinned)")
      try await admin("rp", "remove", "keyed")
    }
  }

  @Test("Over http, from a site that nobody vouches for, and from one that does not answer, no relying party comes")
  func unreachable() async throws {
    let federation = try FederationHouse.current
    let port = try BuiltProgram.freePort()
    // The gateway's own certificate is of another authority than federation.caFile.
    for (url, word) in [
      (federation.house.gateway.url + "/saml/metadata", "certificate"), ("https://127.0.0.1:\(port)/sp.xml", "could not be read"),
      ("http://sp.test/sp.xml", "https"),
    ] {
      let outcome = try await federation.admin.attempt("rp", "add", "--name", "unreachable", "--metadata", url)
      #expect(outcome.status != 0 && outcome.complaint.lowercased().contains(word), "\(outcome)")
    }
    #expect(try await !federation.admin("rp", "list").contains("unreachable"))
  }
}
