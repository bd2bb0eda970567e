import Foundation
import Testing

@testable import Web

@Suite("Realm discovery")
struct RealmDiscoveryTests {
  private func get(_ gateway: LiveGateway, _ target: String) async throws -> RawAnswer { try await gateway.ask(RawRequest("GET", target)) }

  @Test(
    "answers by the domain alone, in each version's own words",
    arguments: [
      (
        "/common/userrealm/alice@contoso.com",
        #"{"account_type":"Managed","cloud_audience_urn":"urn:federation:gatehouse","cloud_instance_name":"gatehouse","domain_name":"contoso.com","ver":"1.0"}"#
      ),
      (
        "/common/userrealm/alice%40CONTOSO.COM?api-version=1.0",
        #"{"account_type":"Managed","cloud_audience_urn":"urn:federation:gatehouse","cloud_instance_name":"gatehouse","domain_name":"contoso.com","ver":"1.0"}"#
      ),
      ("/common/userrealm/alice@nowhere.example", #"{"account_type":"Unknown","ver":"1.0"}"#),
      ("/common/userrealm/alice@evilcontoso.com", #"{"account_type":"Unknown","ver":"1.0"}"#),
      ("/common/userrealm/alice@contoso.com.evil", #"{"account_type":"Unknown","ver":"1.0"}"#),
      ("/common/userrealm/alice@contoso.com@evil.example", #"{"account_type":"Unknown","ver":"1.0"}"#),
      ("/common/userrealm/alice", #"{"account_type":"Unknown","ver":"1.0"}"#),
      (
        "/common/userrealm/nobody@contoso.com?api-version=2.0",
        #"{"DomainName":"contoso.com","FederationBrandName":"Contoso & Söhne <AG>","Login":"nobody@contoso.com","NameSpaceType":"Managed"}"#
      ),
      ("/common/userrealm/a@x.example?api-version=2.1", #"{"Login":"a@x.example","NameSpaceType":"Unknown"}"#),
      (
        "/GetUserRealm.srf?login=CONTOSO%5Calice",
        #"{"DomainName":"contoso.com","FederationBrandName":"Contoso & Söhne <AG>","Login":"CONTOSO\\alice","NameSpaceType":"Managed","State":4,"UserState":1}"#
      ),
      ("/GetUserRealm.srf?login=a%40x.example", #"{"Login":"a@x.example","NameSpaceType":"Unknown","State":0,"UserState":0}"#),
      // A plus is a plus, and what was decoded once is not decoded again.
      ("/GetUserRealm.srf?login=a%2Bb+c@x.example", #"{"Login":"a+b+c@x.example","NameSpaceType":"Unknown","State":0,"UserState":0}"#),
      ("/GetUserRealm.srf?login=a%2541@x.example", #"{"Login":"a%41@x.example","NameSpaceType":"Unknown","State":0,"UserState":0}"#),
      ("/common/userrealm/a%2541@x.example?api-version=2.0", #"{"Login":"a%41@x.example","NameSpaceType":"Unknown"}"#),
      (
        "/GetUserRealm.srf?login=alice@contoso.com&xml=1",
        "<RealmInfo Success=\"true\"><State>4</State><UserState>1</UserState><Login>alice@contoso.com</Login><NameSpaceType>Managed</NameSpaceType><DomainName>contoso.com</DomainName><FederationBrandName>Contoso &amp; Söhne &lt;AG&gt;</FederationBrandName></RealmInfo>"
      ),
      (
        "/GetUserRealm.srf?xml=1&login=%3C%CC%B8script%3E%22%27%26@x.example",
        "<RealmInfo Success=\"true\"><State>0</State><UserState>0</UserState><Login>&lt;\u{338}script&gt;&quot;&#39;&amp;@x.example</Login><NameSpaceType>Unknown</NameSpaceType></RealmInfo>"
      ),
    ])
  func answers(target: String, body: String) async throws {
    try await withGateway { gateway async throws in
      let answer = try await get(gateway, target)
      #expect(answer.status == 200)
      #expect(Array(answer.text.utf8) == Array(body.utf8), "\(answer.text)")
      #expect(answer.value("content-type") == (body.hasPrefix("<") ? "text/xml; charset=utf-8" : "application/json"))
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test("answers a name that exists and one that does not alike")
  func noEnumeration() async throws {
    try await withGateway { gateway async throws in
      let answers = try await [get(gateway, "/common/userrealm/alice@contoso.com"), get(gateway, "/common/userrealm/nobody@contoso.com")]
      #expect(answers[0].body == answers[1].body)
    }
  }

  @Test(
    "refuses what is no user name",
    arguments: [
      "/GetUserRealm.srf", "/GetUserRealm.srf?", "/GetUserRealm.srf?login=", "/GetUserRealm.srf?login", "/GetUserRealm.srf?Login=a@x",
      "/GetUserRealm.srf?login=%00",
      "/GetUserRealm.srf?login=a%0d%0ab", "/GetUserRealm.srf?login=%e2%80%ae", "/GetUserRealm.srf?login=%20", "/GetUserRealm.srf?&&=&?&login",
      "/GetUserRealm.srf?login=a@b&xml=yes", "/GetUserRealm.srf?login=a@b&xml=",
      "/common/userrealm/%ff", "/common/userrealm/%", "/common/userrealm/%zz", "/common/userrealm/%00", "/common/userrealm/a%0ab",
      "/common/userrealm/a@contoso.com?api-version=3.0", "/common/userrealm/a@contoso.com?api-version=",
      "/GetUserRealm.srf?login=" + String(repeating: "a", count: 321),
    ])
  func refused(target: String) async throws {
    try await withGateway { gateway async throws in
      let answer = try await get(gateway, target)
      #expect(answer.status == 400)
      #expect(try answer.decode(FaultBody.self).error.code == "malformed_request")
    }
  }
}

@Suite("Escaping for XML")
struct XMLEscapeTests {
  @Test("works scalar by scalar, whatever combines with what")
  func scalars() {
    #expect(escapedForXML("a&b<c>d\"e'f") == "a&amp;b&lt;c&gt;d&quot;e&#39;f")
    for special in ["&", "<", ">", "\"", "'"] {
      for mark in ["\u{338}", "\u{301}", "\u{20dd}", "\u{fe0f}", "\u{200d}"] {
        let escaped = escapedForXML(special + mark)
        #expect(!escaped.unicodeScalars.dropFirst().contains { "<>\"'".unicodeScalars.contains($0) } && escaped.utf8.first == UInt8(ascii: "&"))
        #expect(escaped.unicodeScalars.last == mark.unicodeScalars.first)
      }
    }
    #expect(escapedForXML("Söhne 😀\u{e9}e\u{301}").utf8.elementsEqual("Söhne 😀\u{e9}e\u{301}".utf8))
    #expect(escapedForXML("") == "")
  }
}
