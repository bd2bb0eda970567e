import Foundation

/// What other people's software thinks of a SAML document: xmlsec1 of its signatures, xmllint of its form, lxml of what is signed.
///
/// xmlsec1 alone is content with wrapped signatures, so that the oracle looks itself whether each signature is a child of the element that it refers to.
struct DocumentOracle: Sendable {
  /// One signature, verified.
  struct Signature: Equatable, Sendable, Decodable {
    /// `Response`, `Assertion`, … : the local name of the element that is signed.
    var element: String
    var id: String
    var signatureMethod: String
    var digestMethod: String
    var transforms: [String]
    /// Where it stands, as an XPath.
    var path: String
  }

  /// Which schema the document follows.
  enum Schema: String, Sendable {
    case protocol20 = "saml-schema-protocol-2.0.xsd"
    case assertion20 = "saml-schema-assertion-2.0.xsd"
    case metadata20 = "saml-schema-metadata-2.0.xsd"
    case assertion11 = "cs-sstc-schema-assertion-1.1.xsd"
  }

  struct Objection: Error, CustomStringConvertible {
    var description: String
  }

  /// PEM file of the certificate that signatures must be verified with; nothing in the document is believed.
  let certificate: String

  /// Verifies every signature of the document, each of which must cover the element it stands in, and its form.
  ///
  /// - Parameter key: PEM file of the relying party's key. Encrypted assertions are decrypted by it and their signatures verified, too.
  /// - Returns: the signatures, outermost first, encrypted ones last. There may be none: look at what you expect.
  /// - Throws: the tool's own words.
  @discardableResult
  func check(_ document: String, schema: Schema? = .protocol20, decryptingWith key: String? = nil) async throws -> [Signature] {
    let signatures = try await verify(document, schema)
    guard let key else { return signatures }
    // What was signed around the encrypted assertion is not what it was any more.
    let known = Set(signatures.map(\.id))
    return signatures + (try await verify(try await decrypted(document, key: key), nil) { !known.contains($0.id) })
  }

  private func verify(
    _ document: String, _ schema: Schema?, where isMeant: (Signature) -> Bool = { _ in true }
  ) async throws -> [Signature] {
    try await inFolder { folder in
      let file = folder + "/document.xml"
      try document.write(toFile: file, atomically: true, encoding: .utf8)
      let told = try await tool("/usr/bin/python3", ["-c", DocumentOracle.look, file])
      let signatures = try JSONDecoder().decode([Signature].self, from: Data(told.utf8)).filter(isMeant)
      for signature in signatures {
        try await tool(
          "/usr/bin/xmlsec1", ["--verify", "--pubkey-cert-pem", certificate] + DocumentOracle.identifiers + ["--node-xpath", signature.path, file])
      }
      if let schema { try await validate(file, schema, in: folder) }
      return signatures
    }
  }

  /// A token, cut out of an answer of WS-Trust as MSAL and ADAL do it: as text, by a prefix of letters or none, without a look at what is declared around it.
  ///
  /// - Returns: the assertion's own text, and TokenType as it stands there, white space and all.
  static func token(in answer: String) throws -> (assertion: String, type: String) {
    func content(_ name: String) throws -> String {
      // msal/wstrust_response.py, findall_content: greedy, the first match.
      guard let found = answer.firstMatch(of: try Regex("(?s)<(?:\\w+:)?\(name)(?:[^>]*)>(.*)</(?:\\w+:)?\(name)")), let text = found[1].substring
      else {
        throw Objection(description: "there is no \(name) to cut out: \(answer.prefix(3000))")
      }
      return String(text)
    }
    return (try content("RequestedSecurityToken"), try content("TokenType"))
  }

  /// Judges the token of an answer, once it is cut out: it must be well-formed alone, its one signature must be about itself and hold, its form must be
  /// that of its version, and TokenType must be the name of that and nothing beside.
  ///
  /// - Returns: the assertion's text and its signature.
  func checkToken(in answer: String) async throws -> (assertion: String, signature: Signature) {
    let (assertion, type) = try DocumentOracle.token(in: answer)
    let schemas: [String: Schema] = [
      "urn:oasis:names:tc:SAML:1.0:assertion": .assertion11, "urn:oasis:names:tc:SAML:2.0:assertion": .assertion20,
    ]
    guard let schema = schemas[type] else { throw Objection(description: "TokenType is \"\(type)\"") }
    guard assertion.hasPrefix("<"), assertion.hasSuffix(">") else { throw Objection(description: "white space around the token: \(assertion)") }
    let signatures = try await check(assertion, schema: schema)
    guard signatures.count == 1, let signature = signatures.first, signature.element == "Assertion" else {
      throw Objection(description: "signed are \(signatures.map(\.element)), and not the assertion alone")
    }
    return (assertion, signature)
  }

  /// The document with its encrypted parts decrypted by the relying party's key (PEM file), for another `check`.
  func decrypted(_ document: String, key: String) async throws -> String {
    try await inFolder { folder in
      let file = folder + "/document.xml"
      try document.write(toFile: file, atomically: true, encoding: .utf8)
      try await tool("/usr/bin/xmlsec1", ["--decrypt", "--privkey-pem", key, "--output", folder + "/clear.xml", file])
      return try String(contentsOfFile: folder + "/clear.xml", encoding: .utf8)
    }
  }

  /// What an XPath finds in the document, as text; the namespaces' prefixes are those of `reader`. An independent reader's view.
  static func values(_ document: String, _ path: String) async throws -> [String] { try await values(document, [path]).first ?? [] }

  /// The same of several paths at once, in their order: each start of a reader costs a tenth of a second.
  static func values(_ document: String, _ paths: [String]) async throws -> [[String]] {
    try await DocumentOracle(certificate: "").inFolder { folder in
      let file = folder + "/document.xml"
      try document.write(toFile: file, atomically: true, encoding: .utf8)
      let told = try await DocumentOracle(certificate: "").tool("/usr/bin/python3", ["-c", reader, file] + paths)
      return try JSONDecoder().decode([[String]].self, from: Data(told.utf8))
    }
  }

  private static let reader = """
    import json, sys
    from lxml import etree
    names = {"saml": "urn:oasis:names:tc:SAML:2.0:assertion", "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
             "ds": "http://www.w3.org/2000/09/xmldsig#", "md": "urn:oasis:names:tc:SAML:2.0:metadata",
             "xenc": "http://www.w3.org/2001/04/xmlenc#", "saml1": "urn:oasis:names:tc:SAML:1.0:assertion",
             "t2005": "http://schemas.xmlsoap.org/ws/2005/02/trust", "t13": "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
             "s": "http://www.w3.org/2003/05/soap-envelope", "a": "http://www.w3.org/2005/08/addressing",
             "o": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
             "u": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
             "wsp": "http://schemas.xmlsoap.org/ws/2004/09/policy", "fed": "http://docs.oasis-open.org/wsfed/federation/200706"}
    tree = etree.parse(sys.argv[1], etree.XMLParser(resolve_entities=False, no_network=True))
    def texts(path):
        found = tree.xpath(path, namespaces=names)
        found = found if isinstance(found, list) else [found]
        return ["".join(each.itertext()) if isinstance(each, etree._Element) else str(each) for each in found]
    print(json.dumps([texts(path) for path in sys.argv[2:]]))
    """

  /// Checks a document's form alone.
  func validate(_ document: String, _ schema: Schema) async throws {
    try await inFolder { folder in
      let file = folder + "/document.xml"
      try document.write(toFile: file, atomically: true, encoding: .utf8)
      try await validate(file, schema, in: folder)
    }
  }

  private func validate(_ file: String, _ schema: Schema, in folder: String) async throws {
    try DocumentOracle.catalog.write(toFile: folder + "/catalog.xml", atomically: true, encoding: .utf8)
    try await tool(
      "/usr/bin/xmllint", ["--nonet", "--noout", "--schema", "/usr/share/xml/opensaml/" + schema.rawValue, file],
      environment: ["XML_CATALOG_FILES": folder + "/catalog.xml"])
  }

  @discardableResult
  private func tool(_ program: String, _ arguments: [String], environment: [String: String] = [:]) async throws -> String {
    do { return try await LeashedProcess.run(program, arguments, environment: environment) } catch {
      throw Objection(description: "\(error)")
    }
  }

  private func inFolder<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let folder = try BuiltProgram.folder("oracle")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try await body(folder)
  }

  private static let identifiers =
    [
      ("ID", "urn:oasis:names:tc:SAML:2.0:protocol", ["Response", "AuthnRequest", "LogoutRequest", "LogoutResponse", "ArtifactResponse"]),
      ("ID", "urn:oasis:names:tc:SAML:2.0:assertion", ["Assertion"]),
      ("ID", "urn:oasis:names:tc:SAML:2.0:metadata", ["EntityDescriptor", "EntitiesDescriptor"]),
      ("AssertionID", "urn:oasis:names:tc:SAML:1.0:assertion", ["Assertion"]),
    ].flatMap { attribute, namespace, elements in elements.flatMap { ["--id-attr:\(attribute)", "\(namespace):\($0)"] } }

  /// The schemas import each other by the addresses of the standards.
  private static let catalog: String = {
    let files = [
      ("http://www.w3.org/TR/xmldsig-core/xmldsig-core-schema.xsd", "xmldsig-core-schema"),
      ("http://www.w3.org/TR/2002/REC-xmldsig-core-20020212/xmldsig-core-schema.xsd", "xmldsig-core-schema"),
      ("http://www.w3.org/TR/2002/REC-xmlenc-core-20021210/xenc-schema.xsd", "xenc-schema"), ("http://www.w3.org/2001/xml.xsd", "xml"),
    ]
    let lines = files.map { "  <system systemId=\"\($0.0)\" uri=\"file:///usr/share/xml/xmltooling/\($0.1).xsd\"/>" }
    return """
      <catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog">
      \(lines.joined(separator: "\n"))
      </catalog>

      """
  }()

  /// Finds the signatures and what is wrong with where they stand (SAML Core §5.4): one reference each, to the element whose child the signature is,
  /// directly behind its Issuer or, in SAML 1.1, at its end, by nothing but the two transforms; no identifier twice; no DTD.
  private static let look = """
    import json, sys
    from lxml import etree

    DS = "{http://www.w3.org/2000/09/xmldsig#}"
    tree = etree.parse(sys.argv[1], etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=False))
    wrong = []
    if tree.docinfo.doctype:
        wrong.append("the document has a DTD")
    seen = {}
    for element in tree.iter(etree.Element):
        for name in ("ID", "AssertionID", "ResponseID", "Id"):
            value = element.get(name)
            if value is not None:
                if value in seen:
                    wrong.append("two elements have the identifier " + value)
                seen[value] = element
    found = []
    for signature in tree.iter(DS + "Signature"):
        parent = signature.getparent()
        if parent is None:
            wrong.append("a signature of nothing")
            continue
        name = etree.QName(parent)
        version1 = name.namespace == "urn:oasis:names:tc:SAML:1.0:assertion"
        identifier = parent.get("AssertionID" if version1 else "ID")
        references = signature.findall(DS + "SignedInfo/" + DS + "Reference")
        where = "the signature of " + name.localname
        if len(references) != 1:
            wrong.append(where + " has %d references" % len(references))
            continue
        uri = references[0].get("URI")
        if identifier is None or uri != "#" + identifier:
            wrong.append(where + " refers to %s, not to its parent #%s" % (uri, identifier))
        before = signature.getprevious()
        if version1:
            # The schema of SAML 1.1 has it at the end.
            if next(signature.itersiblings(etree.Element), None) is not None:
                wrong.append(where + " does not stand last")
        elif name.namespace != "urn:oasis:names:tc:SAML:2.0:metadata":
            if before is None or etree.QName(before).localname != "Issuer" or before.getprevious() is not None:
                wrong.append(where + " does not stand directly behind the Issuer")
        if signature.find(DS + "Object") is not None:
            wrong.append(where + " has an Object")
        transforms = [each.get("Algorithm") for each in references[0].findall(DS + "Transforms/" + DS + "Transform")]
        if transforms != ["http://www.w3.org/2000/09/xmldsig#enveloped-signature", "http://www.w3.org/2001/10/xml-exc-c14n#"]:
            wrong.append(where + " has the transforms %s" % transforms)
        path, element = "", signature
        while element is not None:
            place = 1 + sum(1 for _ in element.itersiblings(etree.Element, preceding=True))
            path, element = "/*[%d]" % place + path, element.getparent()
        found.append({
            "element": name.localname, "id": identifier or "", "path": path, "transforms": transforms,
            "signatureMethod": signature.find(DS + "SignedInfo/" + DS + "SignatureMethod").get("Algorithm"),
            "digestMethod": references[0].find(DS + "DigestMethod").get("Algorithm")})
    if wrong:
        raise SystemExit("; ".join(wrong))
    print(json.dumps(found))
    """
}
