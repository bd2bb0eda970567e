import ArgumentParser
import Bytes
import Foundation
import Web

/// The keys that tokens are signed with, and their life.
struct Certificates: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "certs", abstract: "The token-signing certificates: what signs now, what follows, and who is ready for it.",
    discussion: """
      The gateway rolls certificates over by itself, one relying party after the other, as each is known to have the next key.

      What is to come, and who has to act:  gatehouse certs plan
      Who is ready for the next key:        gatehouse certs readiness
      The coming year in fast clock:        gatehouse certs rehearse --days 400
      A key was stolen:                     gatehouse certs replace --urgent --dry-run
      Every command that changes something takes --dry-run, which says who would break.
      """,
    subcommands: [
      List.self, Show.self, Plan.self, Readiness.self, Rehearse.self, Policy.self, Prepare.self, Publish.self, Promote.self, Rollback.self,
      Resume.self,
      Retire.self, Replace.self, Import.self, ExportPublic.self, Confirm.self, Report.self, Probe.self, TrustClock.self,
    ], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the token-signing certificates.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let keys: [SigningKeyMessage] = try await admin.client.get("signing-keys")
      if admin.json { return try printJSON(keys) }
      printTable(
        ["KEY", "FAMILY", "STATE", "MADE", "ENDS", "SHA-256"],
        keys.map { [$0.id, $0.family, $0.withheld == nil ? $0.state : $0.state + ", withheld", shown($0.prepared), shown($0.notAfter), $0.sha256] })
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show everything about one certificate.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The key.") var key: String

    func run() async throws {
      let found = try await Certificates.find(key, admin)
      if admin.json { return try printJSON(found) }
      printTable(
        ["WHAT", "VALUE"],
        [
          ["key", found.id], ["family", found.family], ["state", found.state], ["made", "\(shown(found.prepared)) by \(found.origin)"],
          ["in metadata since", shown(found.published)], ["primary since", shown(found.promoted)], ["retiring since", shown(found.retiring)],
          ["retired", shown(found.retired)], ["certificate ends", shown(found.notAfter)], ["withheld", found.withheld ?? "no"],
          ["tokens suspect since", shown(found.suspectSince)], ["relying parties assigned", "\(found.assigned)"], ["SHA-256", found.sha256],
          ["SHA-1 (thumbprint)", found.sha1],
        ])
    }
  }

  struct ExportPublic: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "export-public", abstract: "Print a token-signing certificate as PEM, for relying parties that read no metadata.",
      aliases: ["export"])
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The key (default: the primary RSA key).") var key: String?

    func run() async throws {
      let found = try await Certificates.find(key, admin)
      if admin.json { return try printJSON(found) }
      print(pem(found.certificate))
    }
  }

  static func find(_ key: String?, _ admin: AdminOptions) async throws -> SigningKeyMessage {
    let keys: [SigningKeyMessage] = try await admin.client.get("signing-keys")
    guard let found = keys.first(where: { key == nil ? $0.family == "rsa" && $0.state == "primary" : $0.id == key }) else {
      throw ValidationError("There is no such key; see `gatehouse certs list`.")
    }
    return found
  }

  /// A certificate's base64 as PEM.
  static func pem(_ base64: String) -> String {
    var lines = ["-----BEGIN CERTIFICATE-----"]
    var rest = Substring(base64)
    while !rest.isEmpty {
      lines.append(String(rest.prefix(64)))
      rest = rest.dropFirst(64)
    }
    return (lines + ["-----END CERTIFICATE-----"]).joined(separator: "\n")
  }

  struct Plan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What will happen to the certificates, when, and who has to do something before.",
      discussion: "Exits with 1 where a relying party will break unless somebody acts.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let plan: RolloverPlanMessage = try await admin.client.get("rollover")
      if admin.json { try printJSON(plan) } else { tell(plan) }
      if !plan.chores.isEmpty || plan.families.contains(where: { !$0.laggards.isEmpty }) { throw ExitCode(1) }
    }

    private func tell(_ plan: RolloverPlanMessage) {
      for family in plan.families {
        let next = family.next.map { "; next \($0) (\(family.nextState ?? ""))" } ?? "; no next key yet"
        print("\(family.family): \(family.primary ?? "none") signs, its certificate ends \(shown(family.primaryEnds))\(next)")
      }
      print("")
      printTable(
        ["WHEN", "WHAT", "KEY", "RELYING PARTY", "UNTIL"],
        plan.events.map { [shown($0.time), $0.what, $0.key, $0.relyingParty ?? "-", shown($0.until)] })
      let laggards = plan.families.flatMap(\.laggards)
      if laggards.isEmpty, plan.chores.isEmpty { return print("\nNobody has to do anything now.") }
      if !plan.chores.isEmpty { print("\nWhat you have to do:") }
      for chore in plan.chores { tell(chore.subject, chore.deadline, chore.what, chore.command) }
      if !laggards.isEmpty { print("\nWho will break unless somebody acts:") }
      for laggard in laggards { tell(laggard.relyingParty, laggard.deadline, laggard.what, laggard.command) }
    }

    private func tell(_ subject: String, _ deadline: Instant?, _ what: String, _ command: String) {
      print("  \(harmless(subject))  by \(deadline.map { shown($0) } ?? "no date")  \(harmless(what))")
      print("    then: \(harmless(command))")
    }
  }

  struct Readiness: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Which relying parties are known to take the next key, and how that is known.",
      discussion: """
        Levels: 0 unknown · 1 fetched (its own metadata URL was read) · 2 configured (its configuration shows the key) · 3 confirmed (its owner says so) ·
        4 probed (a probe sign-in succeeded) · 5 used (real users signed in). Level 1 alone moves nobody.
        """)
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "Print the text to send to the owner of this relying party.") var letter: String?

    func run() async throws {
      let parties: [ReadinessMessage] = try await admin.client.get("rollover/readiness")
      if let letter { return try await write(letter, parties) }
      if admin.json { return try printJSON(parties) }
      printTable(
        ["RELYING PARTY", "SIGNED WITH", "NEXT", "READINESS", "READY", "KNOWN BY"],
        parties.map { party in
          let known = party.evidence.filter { $0.key == party.next ?? party.signer }.max { $0.level < $1.level }
          let regular = party.pollers.filter(\.isRegular).count
          return [
            party.relyingParty, party.signer, party.next ?? "-", "\(party.level) \(party.readiness)", party.ready ? "yes" : "no",
            known.map { "\($0.detail), \(shown($0.time))" } ?? (regular > 0 ? "\(regular) regular readers of its metadata" : "nothing"),
          ]
        })
      for party in parties {
        guard let what = party.what, let command = party.command else { continue }
        print("\n\(harmless(party.relyingParty)), by \(party.deadline.map { shown($0) } ?? "no date"): \(harmless(what))")
        print("  then: \(harmless(command))   text for its owner: gatehouse certs readiness --letter \(harmless(party.relyingParty))")
      }
    }

    private func write(_ name: String, _ parties: [ReadinessMessage]) async throws {
      guard let party = parties.first(where: { $0.relyingParty == name }) else { throw ValidationError("There is no relying party \(name).") }
      let key = try await Certificates.find(party.next ?? party.signer, admin)
      let present = try await Certificates.find(party.signer, admin)
      let federation: FederationMessage = try await admin.client.get("federation")
      print(
        """
        To: \(party.owner ?? "the owner of \(name)")
        Subject: New token-signing certificate of \(federation.entityId)

        Your application \(name) checks our SAML messages with our token-signing certificate. It changes: from \(shown(party.deadline ?? present.notAfter)) UTC on
        messages are signed with a new key. Without the new certificate your users cannot sign in from then on.

        Please do one of these two:
        1. Let your software read our metadata, and read it again at least daily. The address is for your servers only:
           \(party.ownMetadataUrl)
        2. Or install the certificate below beside the present one. Do not remove the present one (SHA-1 \(present.sha1)) before the date above.

        New certificate, valid until \(shown(key.notAfter)) UTC, SHA-256 \(key.sha256), SHA-1 \(key.sha1):

        \(Certificates.pem(key.certificate))

        Then tell us that it is done\(party.confirmationUrl.map { ", by the button on this page: \($0)" } ?? ".")
        """)
    }
  }

  struct Rehearse: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Play the coming days against what is known of every relying party: what happens when, who breaks unless somebody acts.")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "How many days.") var days: Int64 = 400
    @Flag(name: .long, help: "Put the prediction's SHA-256 into the audit.") var record = false

    func run() async throws {
      let rehearsal: RehearsalMessage = try await admin.client.post("rollover/rehearsal", RehearsalRequest(days: days, record: record))
      if admin.json { return try printJSON(rehearsal) }
      printTable(
        ["WHEN", "WHAT", "FAMILY", "KEY", "RELYING PARTY", "UNTIL"],
        rehearsal.events.map { [shown($0.time), $0.what, $0.family, $0.key, $0.relyingParty ?? "-", shown($0.until)] })
      if let digest = rehearsal.digest { print("\nRecorded in the audit: \(digest)") }
    }
  }
}
