import Foundation

/// AuthnRequests that no relying party of the tests sends: unsigned, for whom and to where a test says.
struct HandmadeRequest: Sendable {
  var issuer: String
  var consumer: String?
  var destination: String
  /// Further attributes, such as ` ForceAuthn="true"`.
  var attributes = ""
  var id = "_" + UUID().uuidString.lowercased()
  /// By how many seconds the relying party's clock is ahead.
  var ahead: Double = 0

  var xml: String {
    let time = ISO8601DateFormatter().string(from: Date(timeIntervalSinceNow: ahead))
    let address = consumer.map { " AssertionConsumerServiceURL=\"\($0.markupEscaped)\"" } ?? ""
    return """
      <samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="\(id)" \
      Version="2.0" IssueInstant="\(time)" Destination="\(destination.markupEscaped)"\(address)\(attributes)>\
      <saml:Issuer>\(issuer.markupEscaped)</saml:Issuer></samlp:AuthnRequest>
      """
  }

  /// By HTTP-Redirect.
  var url: String { destination + "?SAMLRequest=" + Packing.deflated(xml).queryEncoded }

  /// A page of nowhere whose form sends it by HTTP-POST, by itself or by its button: to the gateway it comes from another site.
  func page(relayState: String, scripted: Bool) -> String {
    let html = """
      <!doctype html><html lang="en"><title>Elsewhere</title><form method="post" action="\(destination.markupEscaped)">
      <input type="hidden" name="SAMLRequest" value="\(Data(xml.utf8).base64EncodedString())">
      <input type="hidden" name="RelayState" value="\(relayState.markupEscaped)"><button>Sign in</button></form>
      \(scripted ? "<script>document.forms[0].submit()</script>" : "")</html>
      """
    return "data:text/html;charset=utf-8;base64," + Data(html.utf8).base64EncodedString()
  }
}

extension FederationHouse {
  var signOnURL: String { house.gateway.url + "/adfs/ls/" }

  func request(of issuer: String, consumer: String? = nil, attributes: String = "") -> HandmadeRequest {
    HandmadeRequest(issuer: issuer, consumer: consumer, destination: signOnURL, attributes: attributes)
  }
}
