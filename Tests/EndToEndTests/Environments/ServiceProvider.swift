import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// A relying party that speaks SAML 2.0, whichever software it is: an Apache of its own on a loopback port, with one page that wants a sign-in.
protocol ServiceProvider: Sendable {
  var entityID: String { get }
  /// Scheme, host and port, without a slash at the end.
  var url: String { get }
  /// Where the visitor's browser is sent to sign out here and at the identity provider; it comes back to `returning`.
  func logoutURL(returning: String?) -> String
  /// Asks for a sign-in and comes back to `target`, the protected page where nothing is said.
  func loginURL(target: String?) -> String
  /// What a page says of its visitor; nil where it is not the protected one.
  func visitor(in source: String) -> VisitorPage?
  /// Ends the server and removes its folder.
  func remove() async
  /// What the servers have logged lately, for a failure's message.
  var logTail: String { get }
  /// Where the metadata that it tells of itself is read from.
  var metadataURL: String { get }
}

extension ServiceProvider {
  func visitor(in source: String) -> VisitorPage? { VisitorPage(source: source) }

  /// A page that prints everything that the relying party knows of its visitor (`VisitorPage` reads it).
  var protectedPageURL: String { url + "/secure/" }
  /// A page for everybody, to come back to after signing out.
  var openPageURL: String { url + "/" }

  /// The metadata that it tells of itself, as an administrator would fetch it to register it.
  func metadata() async throws -> String {
    var configuration = HTTPClient.Configuration(tlsConfiguration: .makeClientConfiguration())
    configuration.tlsConfiguration?.certificateVerification = .none
    let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    do {
      let response = try await client.execute(HTTPClientRequest(url: metadataURL), timeout: .seconds(10))
      let text = String(decoding: try await response.body.collect(upTo: 1 << 20).readableBytesView, as: UTF8.self)
      try await client.shutdown()
      guard response.status == .ok else {
        throw ServerProcess.Failure(description: "\(metadataURL) answered \(response.status): \(text)\n\(logTail)")
      }
      return text
    } catch {
      try? await client.shutdown()
      throw error
    }
  }
}

/// What a relying party's protected page says of its visitor.
struct VisitorPage: Sendable {
  /// Environment variables as the page printed them; several values stand in one, separated by `;`.
  var variables: [String: String]

  /// Nil where the text is not that page.
  init?(source: String) {
    guard source.contains("<title>A protected page</title>"), let begin = source.range(of: "<pre>"),
      let end = source.range(of: "</pre>", range: begin.upperBound..<source.endIndex)
    else { return nil }
    variables = [:]
    for line in source[begin.upperBound..<end.lowerBound].split(separator: "\n") {
      guard let equals = line.firstIndex(of: "=") else { continue }
      variables[String(line[..<equals])] = HTMLScan.unescaped(String(line[line.index(after: equals)...]))
    }
  }

  subscript(name: String) -> String? { variables[name] }
}

/// The attributes that relying parties of the tests know, by the `uri` names of the field (RFC 4524, X.520, eduPerson) and by AD FS's claim types.
enum KnownAttribute {
  static let names: [(name: String, variable: String)] = [
    ("urn:oid:0.9.2342.19200300.100.1.3", "mail"), ("urn:oid:2.16.840.1.113730.3.1.241", "displayName"), ("urn:oid:2.5.4.42", "givenName"),
    ("urn:oid:2.5.4.4", "sn"), ("urn:oid:0.9.2342.19200300.100.1.1", "uid"), ("urn:oid:1.3.6.1.4.1.5923.1.1.1.6", "eppn"),
    ("urn:oid:1.3.6.1.4.1.5923.1.1.1.9", "affiliation"), ("urn:oid:1.3.6.1.4.1.5923.1.1.1.7", "entitlement"),
    ("urn:oid:1.3.6.1.4.1.5923.1.5.1.1", "isMemberOf"), ("urn:oasis:names:tc:SAML:attribute:subject-id", "subject-id"),
    ("urn:oasis:names:tc:SAML:attribute:pairwise-id", "pairwise-id"), ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "upn"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "email"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "name"), ("http://schemas.xmlsoap.org/claims/Group", "group"),
    ("http://schemas.microsoft.com/ws/2008/06/identity/claims/groupsid", "groupsid"),
    ("http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "role"), ("IDPEmail", "IDPEmail"),
  ]
}

/// The identity provider's metadata, as a relying party is given them.
enum IdentityProviderMetadata: Sendable {
  /// The document itself.
  case document(String)
  /// Where it lies. The relying party reads it again after so many seconds.
  case url(String, reloadSeconds: Int)
}
