import ArgumentParser
import Bytes
import Foundation
import Web

/// Who this identity provider is for its relying parties.
struct FederationCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "federation", abstract: "Who this identity provider is for its relying parties.", subcommands: [Show.self, SetEntityID.self],
    defaultSubcommand: Show.self)

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
      let federation: FederationMessage = try await admin.client.patch("federation", EntityIDChange(entityId: entityID, force: force))
      if admin.json { return try printJSON(federation) }
      show(federation)
    }
  }

  private static func show(_ federation: FederationMessage) {
    printTable(
      ["WHAT", "VALUE"],
      [
        ["entityID", federation.entityId], ["single sign-on and logout", federation.signOnUrl], ["metadata", federation.metadataUrl],
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
