import ArgumentParser
import Bytes
import Foundation
import Web

/// What every step by hand has.
struct StepOptions: ParsableArguments {
  @OptionGroup var admin: AdminOptions
  @Flag(name: .long, help: "Change nothing; say what would happen, and who would break.") var dryRun = false
  @Flag(name: .long, help: "Although it may break somebody.") var force = false

  func take(_ step: String, _ request: RolloverRequest) async throws {
    var request = request
    (request.dryRun, request.force) = (dryRun, force)
    let report: RolloverReportMessage = try await admin.client.post("rollover/steps/\(step)", request)
    if admin.json { return try printJSON(report) }
    tell(report)
  }

  private func tell(_ report: RolloverReportMessage) {
    print((report.done ? "" : "Dry run, nothing was changed. ") + harmless(report.summary))
    if report.breaks.isEmpty {
      if !report.done { print("Nobody would break, as far as is known.") }
    } else {
      print("Sign-ins that \(report.done ? "may fail now" : "would fail"):")
      printTable(
        ["RELYING PARTY", "KEY", "READINESS", "READS METADATA AGAIN"],
        report.breaks.map { [$0.relyingParty, $0.key, $0.readiness, $0.recovers.map { shown($0) } ?? "its owner has to act"] })
    }
    guard !report.trustsStolen.isEmpty || !report.suspectTokens.isEmpty || report.endedSessions > 0 else { return }
    print("\nSessions ended: \(report.endedSessions)")
    print("\nThese go on trusting the old key until they have read metadata, or until their owner removes it:")
    printTable(
      ["RELYING PARTY", "UNTIL"], report.trustsStolen.map { [$0.relyingParty, $0.recovers.map { shown($0) } ?? "its owner acts"] })
    print("\nTokens signed with it that are suspect (`gatehouse tokens find` tells a forged one from one of ours):")
    printTable(
      ["RELYING PARTY", "TOKENS", "FIRST", "LAST"],
      report.suspectTokens.map { [$0.relyingParty, "\($0.count)", shown($0.first), shown($0.last)] })
  }
}

extension Certificates {
  struct Prepare: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make the next key. Nobody learns of it before it is published.")
    @OptionGroup var step: StepOptions
    @Option(name: .long, help: "rsa or ecdsa.") var family = "rsa"

    func run() async throws {
      var request = RolloverRequest()
      request.family = family
      try await step.take("prepare", request)
    }
  }

  struct Publish: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show a prepared key in metadata, beside the present one.")
    @OptionGroup var step: StepOptions
    @Argument(help: "The key (default: the next one).") var key: String?
    @Option(name: .long, help: "rsa or ecdsa.") var family: String?

    func run() async throws {
      var request = RolloverRequest()
      (request.key, request.family) = (key, family)
      try await step.take("publish", request)
    }
  }

  struct Promote: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Sign with a published key: for everybody that is ready, or for some relying parties.",
      discussion: "Who is not ready stays on the former key as long as that is valid; with --force nobody does.")
    @OptionGroup var step: StepOptions
    @Argument(help: "The key (default: the next one).") var key: String?
    @Option(name: .long, help: "A relying party; may be repeated.") var rp: [String] = []
    @Option(name: .long, help: "rsa or ecdsa.") var family: String?

    func run() async throws {
      var request = RolloverRequest()
      (request.key, request.family, request.relyingParties) = (key, family, rp)
      try await step.take("promote", request)
    }
  }

  struct Rollback: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Sign with the former key again, for everybody or for some relying parties. The newer one stays in metadata and waits.")
    @OptionGroup var step: StepOptions
    @Option(name: .long, help: "A relying party; may be repeated.") var rp: [String] = []
    @Option(name: .long, help: "rsa or ecdsa.") var family: String?
    @Option(name: .long, help: "Why, for the audit.") var reason: String?

    func run() async throws {
      var request = RolloverRequest()
      (request.family, request.relyingParties, request.reason) = (family, rp, reason)
      try await step.take("rollback", request)
    }
  }

  struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let a key that was taken back go on to be promoted.")
    @OptionGroup var step: StepOptions
    @Argument(help: "The key.") var key: String

    func run() async throws {
      var request = RolloverRequest()
      request.key = key
      try await step.take("resume", request)
    }
  }

  struct Retire: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Take a key that no longer signs out of metadata, and destroy it.")
    @OptionGroup var step: StepOptions
    @Argument(help: "The key.") var key: String

    func run() async throws {
      var request = RolloverRequest()
      request.key = key
      try await step.take("retire", request)
    }
  }

  struct Replace: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Somebody else has the key that signs: give it up at once. Breaks who has not got the next one.",
      discussion: """
        Takes the key out of metadata and destroys it, signs with the next key (one that is published already, unless --fresh), ends every session, and lists who
        goes on trusting the old key and which tokens are suspect. The steps around it: docs/runbooks/certificate-compromised.md.
        """)
    @OptionGroup var step: StepOptions
    @Flag(name: .long, help: "It is urgent; nothing is replaced without this.") var urgent = false
    @Flag(name: .long, help: "Make a new key even where a published one waits: that one may be stolen, too.") var fresh = false
    @Option(name: .long, help: "rsa or ecdsa.") var family: String?
    @Option(name: .long, help: "Since when somebody else may have had it, such as 2026-11-20 or 2026-11-20T14:00:00Z (default: now).")
    var since: String?

    func run() async throws {
      guard urgent else {
        throw ValidationError(
          "This breaks every relying party that has not got the next key. For an ordinary change use `gatehouse certs prepare`; if the key is stolen, add --urgent."
        )
      }
      var request = RolloverRequest()
      (request.family, request.fresh) = (family, fresh)
      request.suspectSince = try since.map(Replace.instant)
      if !step.admin.json { try await tellEntraFirst() }
      try await step.take("replace", request)
    }

    /// Entra keeps the present and the next certificate of a domain: what it does not know when the key changes refuses everybody.
    private func tellEntraFirst() async throws {
      let parties: [RelyingPartyMessage] = try await step.admin.client.get("relying-parties")
      for party in parties where !party.entraDomains.isEmpty {
        print(
          "First, for the Entra tenant \(harmless(party.name)): as soon as the new certificate is printed (`gatehouse certs export-public`), run in PowerShell"
        )
        for domain in party.entraDomains {
          print("  Update-MgDomainFederationConfiguration -DomainId \(harmless(domain)) -SigningCertificate $new -NextSigningCertificate $new")
        }
        print("Both fields, so that the stolen one is trusted in neither.\n")
      }
    }

    private static func instant(_ text: String) throws -> Instant {
      if let time = try? Date(text, strategy: .iso8601) { return Instant(time) }
      if let day = try? Date(text, strategy: Date.ISO8601FormatStyle().year().month().day()) { return Instant(day) }
      throw ValidationError("\"\(text)\" is no time; write it like 2026-11-20 or 2026-11-20T14:00:00Z.")
    }
  }

  struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take over a key with its certificate, for instance AD FS's or one that a CA issued. It is published by hand afterwards.")
    @OptionGroup var step: StepOptions
    @Argument(help: "A file with both: PFX (PKCS#12), or PEM.") var file: String?
    @Option(name: .long, help: "PEM file of the certificate.") var certificate: String?
    @Option(name: .long, help: "PEM file of the private key (PKCS#8, without a password).") var key: String?
    @Option(name: .long, help: "The same as the file alone, where it is PFX.") var pfx: String?
    @Option(name: .long, help: "A file with the PFX file's password in its first line.") var passwordFile: String?

    func run() async throws {
      var request = RolloverRequest()
      guard [file, pfx, certificate].count(where: { $0 != nil }) == 1 else {
        throw ValidationError("Give one file with key and certificate, or --certificate and --key.")
      }
      let both = try file.flatMap { try KeyFiles.isPEM($0) ? $0 : nil }
      (request.privateKey, request.certificate) = try KeyFiles.read(
        certificate: both ?? certificate, key: both ?? key, pfx: both == nil ? file ?? pfx : nil, passwordFile: passwordFile)
      try await step.take("import", request)
    }
  }

  struct Confirm: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say that a relying party has the next key: its owner told you, or its configuration shows it.")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "The relying party.") var rp: String
    @Option(name: .long, help: "The key (default: the next one).") var key: String?
    @Option(
      name: .long,
      help: "A file with its configuration or metadata, which must show the certificate; of an Entra tenant what the script of the guide writes.")
    var document: String?
    @Option(name: .long, help: "Who says so, for the audit.") var by: String?

    func run() async throws {
      var request = ConfirmationRequest()
      request.key = key
      request.detail = by.map { "confirmed by \($0)" }
      if let document {
        guard let data = FileManager.default.contents(atPath: document) else { throw ValidationError("\(document) cannot be read.") }
        request.document = Array(data).base64
      }
      let done: Done = try await admin.client.post("rollover/readiness/\(pathSegment(rp))", request)
      if admin.json { return try printJSON(done) }
      print(harmless(done.message))
    }
  }

  struct Report: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say that sign-ins at a relying party fail with its present key: it is taken back to the former one.")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "The relying party.") var rp: String
    @Option(name: .long, help: "What fails, for the alarm and the audit.") var failed: String

    func run() async throws {
      var request = ConfirmationRequest()
      request.failed = failed
      let done: Done = try await admin.client.post("rollover/readiness/\(pathSegment(rp))", request)
      if admin.json { return try printJSON(done) }
      print(harmless(done.message))
    }
  }

  struct Probe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Sign the probe user in at a relying party, with the present key and with the next one.",
      discussion: "Exits with 1 where the next key is refused, with 2 where the present one fails already.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The relying party.") var rp: String
    @Option(name: .long, help: "The key to try (default: the next one).") var key: String?

    func run() async throws {
      let outcome: ProbeMessage = try await admin.client.post("rollover/probe/\(pathSegment(rp))", ProbeRequest(key: key))
      if admin.json {
        try printJSON(outcome)
      } else {
        print("With the present key: \(harmless(outcome.control))")
        if let trial = outcome.trial { print("With \(outcome.key): \(harmless(trial))") }
        print(
          outcome.verdict == "works"
            ? "The key works." : outcome.verdict == "refused" ? "The key is refused." : "Nothing is known: mend the probe or the sign-in first.")
      }
      if outcome.verdict != "works" { throw ExitCode(outcome.verdict == "refused" ? 1 : 2) }
    }
  }

  struct TrustClock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "trust-clock", abstract: "Say that the clock is right after it has jumped, so that certificates are rolled over again.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let done: Done = try await admin.client.post("rollover/clock", [String: String]())
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }

  struct Policy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show or change when certificates are made, promoted and retired.", discussion: "The names are those of AD FS's Set-AdfsProperties.")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "Whether the gateway rolls over by itself: on or off.") var auto: String?
    @Option(name: .long, help: "The life of a new certificate (365d).") var certificateDuration: String?
    @Option(name: .long, help: "How long before the end of the primary the next key is made (20d).") var certificateGenerationThreshold: String?
    @Option(name: .long, help: "How long a key is in metadata before it signs (5d).") var certificatePromotionThreshold: String?
    @Option(name: .long, help: "When it becomes critical (2d).") var certificateCriticalThreshold: String?
    @Option(name: .long, help: "How often the gateway looks (12h).") var certificateRolloverInterval: String?
    @Option(name: .long, help: "How long a key stays in metadata after it last signed (5d).") var certificateRetirement: String?
    @Option(name: .long, help: "How long before a relying party breaks people are told; may be repeated (60d, 30d, 7d, 2d).") var warning: [String] =
      []
    @Option(name: .long, help: "New RSA keys: rsa2048, rsa3072 or rsa4096.") var rsaKey: String?
    @Option(name: .long, help: "New ECDSA keys: p256 or p384.") var ecdsaKey: String?

    func run() async throws {
      var change = RolloverPolicyMessage()
      if let auto {
        guard auto == "on" || auto == "off" else { throw ValidationError("--auto is on or off.") }
        change.autoCertificateRollover = auto == "on"
      }
      change.certificateDurationSeconds = try seconds(certificateDuration)
      change.certificateGenerationThresholdSeconds = try seconds(certificateGenerationThreshold)
      change.certificatePromotionThresholdSeconds = try seconds(certificatePromotionThreshold)
      change.certificateCriticalThresholdSeconds = try seconds(certificateCriticalThreshold)
      change.certificateRolloverIntervalSeconds = try seconds(certificateRolloverInterval)
      change.certificateRetirementSeconds = try seconds(certificateRetirement)
      change.warningsSeconds = warning.isEmpty ? nil : try warning.compactMap { try seconds($0) }
      (change.rsaKey, change.ecdsaKey) = (rsaKey, ecdsaKey)
      let policy: RolloverPolicyMessage = try await admin.client.patch("rollover/policy", change)
      if admin.json { return try printJSON(policy) }
      func row(_ name: String, _ seconds: Int64?) -> [String] { [name, describe(.seconds(seconds ?? 0))] }
      printTable(
        ["PROPERTY", "VALUE"],
        [
          ["AutoCertificateRollover", policy.autoCertificateRollover == true ? "on" : "off"],
          row("CertificateDuration", policy.certificateDurationSeconds),
          row("CertificateGenerationThreshold", policy.certificateGenerationThresholdSeconds),
          row("CertificatePromotionThreshold", policy.certificatePromotionThresholdSeconds),
          row("CertificateCriticalThreshold", policy.certificateCriticalThresholdSeconds),
          row("CertificateRolloverInterval", policy.certificateRolloverIntervalSeconds),
          row("CertificateRetirement", policy.certificateRetirementSeconds),
          ["Warnings", (policy.warningsSeconds ?? []).map { describe(.seconds($0)) }.joined(separator: " ")],
          ["RSA keys", policy.rsaKey ?? ""], ["ECDSA keys", policy.ecdsaKey ?? ""],
        ])
    }

    private func seconds(_ text: String?) throws -> Int64? {
      guard let text else { return nil }
      guard let duration = parseDuration(text) else { throw ValidationError("\"\(text)\" is no duration; write it like 90s, 30m, 2h or 5d.") }
      return duration.components.seconds
    }
  }
}
