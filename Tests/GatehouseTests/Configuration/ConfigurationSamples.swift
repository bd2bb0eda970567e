import Foundation

@testable import gatehouse

/// The shortest files that are complete, and ways to read texts as configuration.
enum Samples {
  static let gateway = """
    publicURL: https://sign-in.contoso.com
    listeners:
      public:
        address: 0.0.0.0:8443
        certificate: public.pem
        key: public.key
      mutualTLS:
        address: 0.0.0.0:8444
        names: [agents.contoso.com]

    """

  static let agent = """
    realms:
      - realm: contoso.com
        servers: [dc1.contoso.com]
        searchBases: ["DC=contoso,DC=com"]
        service:
          bindName: gatehouse@contoso.com
          passwordFile: service-password

    """

  /// The folder of deploy/config.
  static let references = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("deploy/config")

  static func raw(_ text: String) throws -> RawConfiguration { try raw(Array(text.utf8)) }

  static func raw(_ bytes: [UInt8]) throws -> RawConfiguration {
    try RawConfiguration(bytes: bytes, file: "sample.yaml", directory: "/etc/gatehouse")
  }

  static func readGateway(_ text: String) throws -> GatewayConfiguration { try GatewayConfiguration(raw(text), hostName: "gateway1") }

  static func readAgent(_ text: String) throws -> AgentConfiguration { try AgentConfiguration(raw(text)) }

  /// The lines in which the problems are told; empty where there are none.
  static func problems(_ read: () throws -> some Any) -> [String] {
    do {
      _ = try read()
      return []
    } catch let error as ConfigurationError {
      return error.problems.map(\.description)
    } catch {
      return ["\(error)"]
    }
  }
}
