/// Why a signature was not accepted.
package struct SignatureFault: Error, Equatable, Sendable, CustomStringConvertible {
  package let kind: Kind
  /// For the one who can mend it. At most 200 bytes; nothing secret.
  package let detail: String

  /// Everything that can be wrong.
  package enum Kind: String, Sendable, CaseIterable {
    /// There is no signature at its place.
    case missing
    /// Not the one shape that is taken: a second signature, a reference elsewhere, other transforms, a foreign element.
    case structure
    /// An algorithm that is not on the list.
    case algorithm
    /// None of the partner's keys made it.
    case signature
    /// It is the partner's, but over other bytes.
    case digest
  }

  init(_ kind: Kind, _ detail: String) {
    self.kind = kind
    self.detail = XMLFault.shortened(detail)
  }

  init(_ fault: XMLFault) { self.init(.structure, fault.description) }

  package var description: String { "\(kind.rawValue): \(detail)" }
}
