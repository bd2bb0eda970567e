import SAML
import WSFederation
import XMLSecurity

/// Finds assertions in what somebody brings: a SAML response, a WS-Trust response, or an assertion by itself.
enum IssuedDocument {
  private static let names = [
    XMLName(Vocabulary.assertionNamespace, "Assertion"), XMLName(FederationVocabulary.legacyAssertion, "Assertion"),
  ]
  /// How deep an assertion may lie: collection, response, requested token.
  private static let depth = 4

  static func assertions(in root: XMLElement) -> [XMLElement] {
    var level = [root]
    for _ in 0..<depth {
      let found = level.filter { names.contains($0.name) }
      if !found.isEmpty { return found }
      level = level.flatMap(\.elements)
    }
    return []
  }

  static func id(of assertion: XMLElement) -> String? { assertion.attribute("ID") ?? assertion.attribute("AssertionID") }
}
