/// Why a request for a token is refused: a fault of SOAP, WS-Addressing, WS-Security or WS-Trust.
package struct TrustFault: Error, Sendable, Equatable {
  package enum Code: String, Sendable, CaseIterable {
    /// No envelope of SOAP 1.2 (Part 1, 5.4.5).
    case versionMismatch
    /// A header that must be understood and is not (Part 1, 5.4.8).
    case mustUnderstand
    /// Not a request as WS-Trust has it (WS-Trust 1.3, 11).
    case invalidRequest
    /// AppliesTo names nobody who is known (WS-Trust 1.3, 11).
    case invalidScope
    /// Nobody has shown who they are (WS-Trust 1.3, 11).
    case failedAuthentication
    /// They have, and may not use the relying party; the same subcode, with words of its own, as AD FS has it.
    case accessDenied
    /// The request could not be done (WS-Trust 1.3, 11).
    case requestFailed
    /// A Security header against the rules (WS-Security 1.1, 12).
    case invalidSecurity
    /// The Timestamp says that it is too late, or much too early (WS-Security 1.1, 10 and 12).
    case messageExpired
    /// A token or signature of a kind that is not taken (WS-Security 1.1, 12).
    case unsupportedSecurityToken
    /// To names somebody else (WS-Addressing 1.0 SOAP Binding, 6.4.2.3).
    case badTo
    /// Action names another operation than Issue (WS-Addressing 1.0 SOAP Binding, 6.4.2.5).
    case actionNotSupported
    /// Not now (Part 1, 5.4.6: Receiver).
    case busy
  }
  package var code: Code
  /// For administrators' logs and audit: what to change. Holds nothing secret and is not for the client.
  package var detail: String
  /// The request's MessageID, for RelatesTo, where it was read.
  package var messageID: String?

  package init(_ code: Code, _ detail: String, messageID: String? = nil) {
    self.code = code
    self.detail = detail
    self.messageID = messageID
  }
}
