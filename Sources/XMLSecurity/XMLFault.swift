/// Why bytes are no XML that we read, or an element does not have the shape that was asked for.
///
/// Never tells what stood in the bytes except for names of elements, attributes and prefixes.
package struct XMLFault: Error, Equatable, Sendable, CustomStringConvertible {
  package let kind: Kind
  /// For the one who can mend it: what and where. At most 200 bytes; nothing secret.
  package let detail: String

  /// Everything that can be wrong.
  package enum Kind: String, Sendable, CaseIterable {
    /// More bytes than the limit.
    case tooManyBytes
    /// Elements nested deeper than the limit.
    case tooDeep
    /// More elements than the limit.
    case tooManyElements
    /// An element with more attributes than the limit.
    case tooManyAttributes
    /// A name or prefix longer than the limit.
    case nameTooLong
    /// More namespace declarations than the limit, in the document or in scope of one element, or one with a name longer than the limit.
    case tooManyNamespaces
    /// The canonical form would be many times as long as the document.
    case tooLongCanonically
    /// Not UTF-8, or said to be something else.
    case encoding
    /// A character that XML 1.0 does not have, in person or by number (XML 1.0 2.2).
    case character
    /// A document type declaration or any other `<!` but comments and CDATA sections.
    case documentType
    /// A processing instruction.
    case processingInstruction
    /// A reference to anything but the five predefined entities and characters.
    case entity
    /// Not well-formed in another way.
    case syntax
    /// A name that is not an ASCII NCName, or a QName with a colon at the wrong place.
    case name
    /// A prefix that nobody declared, or a declaration that must not be (Namespaces in XML 1.0 3).
    case namespace
    /// Two attributes of one name.
    case duplicateAttribute
    /// A required element or attribute is not there.
    case missing
    /// An element is there more often than it may be.
    case repeated
    /// Text with a comment, a CDATA section's edge or an element inside, where it must be in one piece.
    case splitText
  }

  package init(_ kind: Kind, _ detail: String) {
    self.kind = kind
    self.detail = XMLFault.shortened(detail)
  }

  package var description: String { "\(kind.rawValue): \(detail)" }

  /// At most 200 bytes, cut between scalars.
  static func shortened(_ text: String) -> String {
    guard text.utf8.count > 200 else { return text }
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
      count += UTF8.width(scalar)
      guard count <= 197 else { break }
      result.unicodeScalars.append(scalar)
    }
    return result + "…"
  }
}
