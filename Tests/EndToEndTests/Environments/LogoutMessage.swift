import Foundation

/// Logout requests that no relying party here sends by itself, signed by xmlsec1.
enum LogoutMessage {
  /// A LogoutRequest with its signature inside, for POST and SOAP.
  static func signed(
    from issuer: String, to destination: String, name: String, format: String, qualifier: String? = nil, session: String?, key: String,
    id: String = "_" + UUID().uuidString.lowercased(), instant: Date = Date(timeIntervalSinceNow: 0)
  ) async throws -> String {
    let folder = try BuiltProgram.folder("logout")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let time = ISO8601DateFormatter().string(from: instant)
    let template = """
      <samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="\(id)" \
      Version="2.0" IssueInstant="\(time)" Destination="\(destination.markupEscaped)"><saml:Issuer>\(issuer.markupEscaped)</saml:Issuer>\
      <ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>\
      <ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>\
      <ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><ds:Reference URI="#\(id)"><ds:Transforms>\
      <ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>\
      <ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>\
      <ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>\
      <ds:SignatureValue/></ds:Signature>\
      <saml:NameID Format="\(format.markupEscaped)"\(qualifier.map { " SPNameQualifier=\"\($0.markupEscaped)\"" } ?? "")>\
      \(name.markupEscaped)</saml:NameID>\(session.map { "<samlp:SessionIndex>\($0.markupEscaped)</samlp:SessionIndex>" } ?? "")\
      </samlp:LogoutRequest>
      """
    try template.write(toFile: folder + "/template.xml", atomically: true, encoding: .utf8)
    try await LeashedProcess.run(
      "/usr/bin/xmlsec1",
      [
        "--sign", "--privkey-pem", key, "--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:protocol:LogoutRequest", "--output", folder + "/signed.xml",
        folder + "/template.xml",
      ])
    // Without the declaration, so that it can stand in an envelope.
    let text = try String(contentsOfFile: folder + "/signed.xml", encoding: .utf8)
    guard let begin = text.range(of: "<samlp:LogoutRequest") else { throw DocumentOracle.Objection(description: "xmlsec1 signed nothing: \(text)") }
    return String(text[begin.lowerBound...])
  }

  /// SOAP 1.1, as SAML Bindings §3.2 wants it.
  static func inEnvelope(_ message: String) -> String {
    "<S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\"><S:Body>\(message)</S:Body></S:Envelope>"
  }
}

extension LogoutMessage {
  /// A relying party's metadata with the logout services of one binding alone: `HTTP-POST`, `HTTP-Redirect` or `SOAP`.
  static func metadata(_ document: String, keeping binding: String) -> String {
    document.replacing(#/<(?:[A-Za-z0-9]+:)?SingleLogoutService\b[^>]*\/>/#) { match in
      match.output.contains("bindings:\(binding)\"") ? String(match.output) : ""
    }
  }

  /// The message of a redirect's query, decoded.
  static func inRedirect(_ url: String) async throws -> String {
    let items = URLComponents(string: url)?.queryItems ?? []
    guard let packed = items.first(where: { $0.name == "SAMLRequest" || $0.name == "SAMLResponse" })?.value else {
      throw DocumentOracle.Objection(description: "no message in \(url)")
    }
    let script = "import base64, sys, zlib; print(zlib.decompress(base64.b64decode(sys.argv[1]), -15).decode(), end='')"
    return try await LeashedProcess.run("/usr/bin/python3", ["-c", script, packed])
  }
}
