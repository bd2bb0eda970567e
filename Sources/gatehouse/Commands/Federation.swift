import ArgumentParser
import Bytes
import Foundation
import Web

/// Who this identity provider is for its relying parties.
struct FederationCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "federation", abstract: "Who this identity provider is for its relying parties.",
    subcommands: [Show.self, SetEntityID.self, Endpoints.self, Enable.self, Disable.self, Networks.self], defaultSubcommand: Show.self)

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the entityID and the URLs to give to relying parties.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let federation: FederationMessage = try await admin.client.get("federation")
      if admin.json { return try printJSON(federation) }
      show(federation)
    }
  }

  struct SetEntityID: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "set-entity-id", abstract: "Set the entityID, for instance that of an AD FS whose relying parties are taken over.",
      discussion: "Example: gatehouse federation set-entity-id http://sts.contoso.com/adfs/services/trust")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "A URI of at most 1024 characters.") var entityID: String
    @Flag(name: .long, help: "Although relying parties are registered, which know the present one.") var force = false

    func run() async throws {
      let federation: FederationMessage = try await admin.client.patch("federation", FederationChange(entityId: entityID, force: force))
      if admin.json { return try printJSON(federation) }
      show(federation)
    }
  }

  struct Endpoints: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the endpoints of WS-Trust, and from where they may be asked.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let federation: FederationMessage = try await admin.client.get("federation")
      if admin.json { return try printJSON(federation.trustEndpoints) }
      list(federation)
    }
  }

  struct Enable: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Switch an endpoint of WS-Trust on.",
      discussion: """
        A client sends name and password there, past everything that protects a sign-in by browser; so narrow it to the networks that need it, and let relying
        parties use it one by one (`gatehouse rp edit NAME --active on`).

        Example: gatehouse federation enable 2005/usernamemixed --network 10.0.0.0/8
        """)
    @OptionGroup var admin: AdminOptions
    @Argument(help: "2005/usernamemixed or 13/usernamemixed.") var endpoint: String
    @Option(name: .long, help: "From where it may be asked (10.0.0.0/8); may be repeated (default: from everywhere).") var network: [String] = []

    func run() async throws {
      try await change(FederationChange(enable: .init(endpoint: endpoint, networks: network)), admin)
    }
  }

  struct Disable: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Switch an endpoint of WS-Trust off.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "2005/usernamemixed or 13/usernamemixed.") var endpoint: String

    func run() async throws { try await change(FederationChange(disable: endpoint), admin) }
  }

  struct Networks: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show or set the organisation's own networks.",
      discussion:
        "Tokens tell whether somebody is inside (insidecorporatenetwork), by the address that the gateway sees, or that a trusted proxy tells it. "
        + "Example: gatehouse federation networks --corporate 10.0.0.0/8 --corporate 2001:db8::/32")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "A network of the organisation; may be repeated, and replaces what was set.") var corporate: [String] = []
    @Flag(name: .long, help: "Have none: everybody is outside.") var none = false

    func run() async throws {
      if none || !corporate.isEmpty {
        let _: FederationMessage = try await admin.client.patch("federation", FederationChange(corporateNetworks: none ? [] : corporate))
      }
      let federation: FederationMessage = try await admin.client.get("federation")
      if admin.json { return try printJSON(federation.corporateNetworks) }
      print(federation.corporateNetworks.isEmpty ? "No network is the organisation's own: everybody is outside." : "The organisation's own networks:")
      for network in federation.corporateNetworks { print("  \(network)") }
    }
  }

  private static func change(_ change: FederationChange, _ admin: AdminOptions) async throws {
    let federation: FederationMessage = try await admin.client.patch("federation", change)
    if admin.json { return try printJSON(federation.trustEndpoints) }
    list(federation)
  }

  private static func list(_ federation: FederationMessage) {
    printTable(
      ["ENDPOINT", "STATE", "FROM", "URL"],
      federation.trustEndpoints.map {
        [$0.endpoint, $0.isOn ? "on" : "off", $0.isOn ? $0.networks.isEmpty ? "everywhere" : $0.networks.joined(separator: " ") : "-", $0.url]
      })
  }

  private static func show(_ federation: FederationMessage) {
    printTable(
      ["WHAT", "VALUE"],
      [
        ["entityID", federation.entityId], ["single sign-on and logout", federation.signOnUrl], ["metadata", federation.metadataUrl],
        ["WS-Federation metadata", federation.federationMetadataUrl], ["metadata exchange", federation.metadataExchangeUrl],
        ["WS-Trust endpoints on", federation.trustEndpoints.filter(\.isOn).map(\.endpoint).joined(separator: ", ")],
        ["own networks", federation.corporateNetworks.joined(separator: ", ")],
        ["relying parties", "\(federation.relyingParties)"],
      ])
  }
}

/// What was issued.
struct Tokens: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokens", abstract: "Tokens that were issued.", subcommands: [Find.self], defaultSubcommand: Find.self)

  struct Find: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Did we issue this? Looks an assertion up in the audit, by its ID or as a document.",
      discussion: "A document may be a SAML response or assertion as XML, or the base64 of a POST. Exits with 1 where nothing was issued.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "A file, - for standard input, or an assertion's ID.") var what: String

    func run() async throws {
      var query = TokenQuery(id: nil, document: nil)
      let data = what == "-" ? try FileHandle.standardInput.readToEnd() : FileManager.default.contents(atPath: what)
      if let data {
        let bytes = Array(data)
        let compact = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
        query.document = (bytes.first == UInt8(ascii: "<") ? bytes : StrictText.base64(compact) ?? bytes).base64
      } else {
        query.id = what
      }
      let found: [IssuedTokenMessage] = try await admin.client.post("tokens/find", query)
      if admin.json { try printJSON(found) } else { tell(found) }
      if found.isEmpty || found.contains(where: { $0.sameBytes == false }) { throw ExitCode(1) }
    }

    private func tell(_ found: [IssuedTokenMessage]) {
      guard !found.isEmpty else {
        print("No: the audit has no token with this ID. If the rows of its time were exported and pruned, look in the export.")
        return
      }
      for token in found {
        let verdict =
          switch token.sameBytes {
          case true?: "Yes, and byte for byte as it is here."
          case false?: "NO: a token of this ID was issued, but not with these bytes. Somebody changed it, or forged it."
          case nil: "Yes."
          }
        print(verdict)
        printTable(
          ["WHAT", "VALUE"],
          [
            ["assertion", token.assertionId], ["issued", shown(token.issued)], ["to", "\(token.relyingParty) (\(token.entityId))"],
            ["for", token.user], ["object", token.object ?? "-"], ["posted to", token.consumer], ["signing key", token.key],
          ])
      }
    }
  }
}
