import ArgumentParser
import Bytes
import Foundation
import Web

/// The applications that people sign in to by tokens of this gateway.
struct RelyingParties: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rp", abstract: "Relying parties: the applications that people sign in to with SAML or WS-Federation.",
    discussion: """
      Examples:
        gatehouse rp add --metadata https://app.example/saml/metadata
        gatehouse rp add --metadata sp.xml --name wiki --preset oid --encrypt assertion
        gatehouse rp add --name portal --realm urn:sharepoint:portal --reply https://portal.example/_trust/
        gatehouse rp add-entra --domain contoso.com
        gatehouse rp preview wiki --user alice@contoso.com
      """,
    subcommands: [List.self, Show.self, Add.self, AddEntra.self, Edit.self, Enable.self, Disable.self, Remove.self, Refresh.self, Preview.self],
    defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the relying parties.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let parties: [RelyingPartyMessage] = try await admin.client.get("relying-parties")
      if admin.json { return try printJSON(parties) }
      printTable(
        ["NAME", "ENTITY ID", "SIGNS", "ENCRYPTS", "NAME ID", "STATE"],
        parties.map { [$0.name, $0.entityId, $0.signs, $0.encrypts, $0.nameId, state($0)] })
    }

    private func state(_ party: RelyingPartyMessage) -> String {
      if party.disabled { return "disabled" }
      if party.pendingChanges != nil { return "changes to approve" }
      return party.metadataTrouble == nil ? "on" : "metadata unreadable"
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show everything that is registered of a relying party.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or entityID.") var name: String

    func run() async throws {
      try show(try await admin.client.get("relying-parties/\(pathSegment(name))"), json: admin.json)
    }
  }

  struct Add: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Register a relying party by its metadata, by entityID and consumer service (SAML), or by realm and reply address (WS-Federation).",
      discussion: "A document from a URL is read again every four hours. What would change where tokens go is never taken over unasked.")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "What it is called here (default: after its host).") var name: String?
    @Option(name: .long, help: "Its metadata: an https URL, a file, or - for standard input.") var metadata: String?
    @Option(name: .long, help: "PEM file of the certificate that must have signed the metadata.") var pin: String?
    @Option(name: .long, help: "Without metadata: its entityID.") var entityID: String?
    @Option(name: .long, help: "Without metadata: where tokens are posted; may be repeated, the first is the usual one.") var acs: [String] = []
    @Option(name: .long, help: "Without metadata: its realm (wtrealm), which is the entityID of WS-Federation.") var realm: String?
    @OptionGroup var options: PartyOptions

    func run() async throws {
      guard entityID == nil || realm == nil else { throw ValidationError("A realm is an entityID: give one of --entity-id and --realm.") }
      var change = try options.change()
      change.name = name
      try fill(&change, metadata: metadata, pin: pin)
      change.entityId = entityID ?? realm
      change.consumers = acs.isEmpty ? nil : acs
      let party: RelyingPartyMessage = try await admin.client.post("relying-parties", change)
      if admin.json { return try printJSON(party) }
      print("The relying party \(harmless(party.name)) (\(harmless(party.entityId))) was added.")
      let federation: FederationMessage = try await admin.client.get("federation")
      print("Give it our metadata: \(party.ownMetadataUrl ?? federation.metadataUrl)  (entityID \(federation.entityId))")
      print("The address is this relying party's alone: who reads it there tells us which keys it knows. So keep it between the two of you.")
    }
  }

  struct Edit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change what is registered of a relying party; what is not named stays.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or entityID.") var name: String
    @Option(name: .long, help: "Newer metadata: an https URL, a file, or - for standard input.") var metadata: String?
    @Option(name: .long, help: "PEM file of the certificate that must have signed the metadata.") var pin: String?
    @Option(name: .long, help: "Where tokens are posted, instead of what the metadata said; may be repeated.") var acs: [String] = []
    @OptionGroup var options: PartyOptions

    func run() async throws {
      var change = try options.change()
      try fill(&change, metadata: metadata, pin: pin)
      change.consumers = acs.isEmpty ? nil : acs
      let before: RelyingPartyMessage = try await admin.client.get("relying-parties/\(pathSegment(name))")
      let party: RelyingPartyMessage = try await admin.client.patch("relying-parties/\(pathSegment(name))", change)
      try show(party, json: admin.json)
      if party.signingKey != before.signingKey, !admin.json {
        print("\nAnother key signs for it now. It refuses that until it has read its metadata: \(party.ownMetadataUrl ?? "")")
      }
    }
  }

  struct Enable: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let people sign in to a relying party again.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or entityID.") var name: String
    func run() async throws { try await set(disabled: false, name, admin) }
  }

  struct Disable: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let nobody sign in to a relying party; what is registered of it stays.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or entityID.") var name: String
    func run() async throws { try await set(disabled: true, name, admin) }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove a relying party, and with it the persistent names of its people: registered anew, it would get other ones.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or entityID.") var name: String

    func run() async throws {
      let done: Done = try await admin.client.delete("relying-parties/\(pathSegment(name))")
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }

  struct Refresh: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Read a relying party's metadata now.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or entityID.") var name: String
    @Flag(name: .long, help: "Take over what would change where tokens go, or who it is.") var approve = false

    func run() async throws {
      let party: RelyingPartyMessage = try await admin.client.post("relying-parties/\(pathSegment(name))/refresh", RefreshRequest(approve: approve))
      try show(party, json: admin.json)
    }
  }

  struct Preview: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the exact assertion that somebody would get, without their password and without issuing it.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The relying party's name or entityID.") var name: String
    @Option(name: .long, help: "The user name, as typed at the sign-in page.") var user: String
    @Option(name: .long, help: "The realm, where the name does not tell it.") var realm: String?

    func run() async throws {
      let preview: PreviewMessage = try await admin.client.post(
        "relying-parties/\(pathSegment(name))/preview", PreviewRequest(user: user, realm: realm))
      if admin.json { return try printJSON(preview) }
      print(preview.assertion)
    }
  }

  private static func set(disabled: Bool, _ name: String, _ admin: AdminOptions) async throws {
    var change = RelyingPartyChange()
    change.disabled = disabled
    let party: RelyingPartyMessage = try await admin.client.patch("relying-parties/\(pathSegment(name))", change)
    if admin.json { return try printJSON(party) }
    print("The relying party \(harmless(party.name)) is \(disabled ? "disabled" : "enabled").")
  }

  private static func fill(_ change: inout RelyingPartyChange, metadata: String?, pin: String?) throws {
    if let pin {
      guard let text = try? String(contentsOfFile: pin, encoding: .utf8), let der = certificateDER(inPEM: text) else {
        throw ValidationError("\(pin) is no PEM file with a certificate.")
      }
      change.metadataSigner = der.base64
    }
    guard let metadata else { return }
    if metadata.hasPrefix("https://") || metadata.hasPrefix("http://") {
      change.metadataUrl = metadata
      return
    }
    let data: Data?
    if metadata == "-" { data = try FileHandle.standardInput.readToEnd() } else { data = FileManager.default.contents(atPath: metadata) }
    guard let data, !data.isEmpty else { throw ValidationError("\(metadata) cannot be read.") }
    change.metadata = Array(data).base64
  }

  private static func certificateDER(inPEM text: String) -> [UInt8]? {
    guard let begin = text.range(of: "-----BEGIN CERTIFICATE-----"),
      let end = text.range(of: "-----END CERTIFICATE-----", range: begin.upperBound..<text.endIndex)
    else { return nil }
    return StrictText.base64(text[begin.upperBound..<end.lowerBound].filter { !$0.isWhitespace })
  }

  private static func show(_ party: RelyingPartyMessage, json: Bool) throws {
    if json { return try printJSON(party) }
    var rows: [[String]] = [
      ["name", party.name], ["entityID", party.entityId], ["shown as", party.displayName ?? "-"], ["state", party.disabled ? "disabled" : "on"],
    ]
    for consumer in party.consumers {
      rows.append(["consumer", "\(consumer.location)\(consumer.isDefault ? " (default)" : "") \(consumer.binding)"])
    }
    for end in party.logout { rows.append(["logout", "\(end.location) \(end.binding)"]) }
    for (index, reply) in party.replyAddresses.enumerated() { rows.append(["reply address", reply + (index == 0 ? " (default)" : "")]) }
    if !party.replyAddresses.isEmpty || party.active {
      rows += [
        ["WS-Federation", "\(party.tokenType), answers as of WS-Trust \(party.responseFormat)"],
        ["WS-Trust", party.active ? "on" + (party.activeNetworks.isEmpty ? "" : " from " + party.activeNetworks.joined(separator: ", ")) : "off"],
      ]
    }
    if let url = party.signOutUrl { rows.append(["clean-up", url]) }
    for issuer in party.issuers { rows.append(["issuer", "\(issuer.issuer) for \(issuer.domain)"]) }
    for certificate in party.certificates { rows.append([certificate.use, "SHA-256 \(certificate.sha256)"]) }
    rows += [
      ["requests", party.requestsMustBeSigned ? "must be signed" : "may be unsigned"], ["signs", party.signs], ["encrypts", party.encrypts],
      ["algorithm", party.algorithm], ["SHA-1 until", party.acceptsSha1Until.map { shown($0) } ?? "never"],
      ["name ID", party.nameId + (party.nameIdSource.map { " from \($0)" } ?? "")],
      ["token life", "\(party.tokenLifeSeconds) s"], ["skew", "\(party.skewSeconds) s"],
      ["unsolicited", party.unsolicited ? "on" : "off"],
      ["permitted", party.permittedGroups.isEmpty ? "everybody" : party.permittedGroups.joined(separator: "; ")],
      ["signing key", party.signingKey ?? "none"], ["our metadata for it", party.ownMetadataUrl ?? "-"], ["owner", party.owner ?? "-"],
      ["metadata", party.metadataUrl ?? "given by hand"],
    ]
    if party.metadataUrl != nil { rows.append(["read", shown(party.metadataRead)]) }
    if let trouble = party.metadataTrouble { rows.append(["trouble", trouble]) }
    for change in party.pendingChanges ?? [] { rows.append(["to approve", change]) }
    for claim in party.claims {
      let source = claim.from?.joined(separator: ", ") ?? claim.values.map { "\"\($0.joined(separator: "\", \""))\"" } ?? "-"
      rows.append(["claim", "\(claim.name) ← \(source)"])
    }
    printTable(["WHAT", "VALUE"], rows)
  }
}
