import ArgumentParser
import Bytes
import Foundation
import Identity
import KeyStore
import PassThrough
import SQLiteStore
import SignIn

/// Puts a gateway back from its backup, without bringing back to life what was revoked since.
struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Put the gateway back from a backup; the gateway must be stopped.",
    discussion: """
      Example: gatehouse restore --from /backup/gatehouse-2026-11-27 --passphrase-file /root/backup-passphrase
      Ends all sessions of browsers and voids enrolment tokens, and applies dataDirectory/revocations.journal: who was shut out since the backup stays so.
      Where somebody has put the store back by hand, `gatehouse restore --in-place` does the same to the store as it is.
      """)
  @Option(name: .long, help: "The backup file.") var from: String?
  @Option(name: .long, help: "A file whose first line is the backup's passphrase.") var passphraseFile: String?
  @Option(name: .long, help: "The gateway's configuration file; where there is none, the backup's is put there.") var config =
    "/etc/gatehouse/gateway.yaml"
  @Option(name: .long, help: "The revocation journal of the lost machine, where it was saved (default: dataDirectory/revocations.journal).")
  var journal: String?
  @Flag(name: .long, help: "Where a store exists: move it aside.") var replace = false
  @Flag(name: .long, help: "No backup: make the store as it is safe to run.") var inPlace = false

  func validate() throws {
    guard inPlace != (from != nil) else { throw ValidationError("Give either --from FILE or --in-place.") }
    guard (from == nil) == (passphraseFile == nil) else { throw ValidationError("Give --passphrase-file together with --from.") }
  }

  func run() async throws {
    umask(0o077)
    if let from, let passphraseFile {
      let passphrase = try PassphraseOptions.parse(["--passphrase-file", passphraseFile]).read()
      // From the beginning to the end before anything is touched: a backup that is not whole restores nothing.
      var text: [UInt8] = []
      let manifest = try BackupArchive.read(from, passphrase: passphrase) { name, bytes in
        if name == .configuration { text += bytes }
      }
      if !FileManager.default.fileExists(atPath: config) {
        guard FileManager.default.createFile(atPath: config, contents: Data(text), attributes: [.posixPermissions: 0o644]) else {
          throw StartProblem("\(config) does not exist and cannot be written. Name another place with --config.")
        }
        print("\(config): put there from the backup. Put the TLS files that it names beside it.")
      }
      let configuration = try ConfigurationFiles.gateway(at: config)
      guard configuration.node == manifest.node else {
        throw StartProblem(
          "The backup is of node \(harmless(manifest.node)), and \(config) is of node \(configuration.node). Write `node: \(harmless(manifest.node))`."
        )
      }
      let restore = Restoration(configuration: configuration, journalFile: journal)
      try restore.prepareFolder()
      let lock = try DataLock(restoreOf: configuration.storeFile)
      defer { withExtendedLifetime(lock) {} }
      try await restore.run(from: from, passphrase: passphrase, manifest: manifest, replace: replace)
    } else {
      let configuration = try ConfigurationFiles.gateway(at: config)
      try StoreOwner.check(configuration.storeFile)
      let lock = try DataLock(restoreOf: configuration.storeFile)
      defer { withExtendedLifetime(lock) {} }
      try await Restoration(configuration: configuration, journalFile: journal).runInPlace()
    }
  }
}

/// One restore.
private struct Restoration {
  let configuration: GatewayConfiguration
  /// Nil: the one in the data directory.
  let journalFile: String?

  func prepareFolder() throws {
    for folder in Set([configuration.dataDirectory, (configuration.storeFile as NSString).deletingLastPathComponent]) {
      if let facts = try? FileManager.default.attributesOfItem(atPath: folder), let owner = (facts[.ownerAccountID] as? NSNumber)?.uint32Value {
        guard owner == geteuid() else {
          throw StartProblem(
            "\(folder) belongs to user id \(owner), and this is \(geteuid()): the gateway could not open what would be put there. Run this as the user that runs "
              + "gatehouse: setpriv --reuid \(owner) --clear-groups gatehouse …")
        }
        continue
      }
      do {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      } catch { throw StartProblem("\(folder) does not exist and cannot be made. Make it: install -d -m 0700 \(folder)") }
    }
  }

  func run(from: String, passphrase: Secret, manifest: BackupManifest, replace: Bool) async throws {
    let (store, key) = (configuration.storeFile, configuration.masterKeyFile)
    let stamp = "before-restore-\(wallClock().milliseconds / 1000)"
    if FileManager.default.fileExists(atPath: store), !replace {
      throw StartProblem("There is a store at \(store) already. To put the backup in its place, add --replace: it is moved aside, not deleted.")
    }
    let (newStore, newKey) = ("\(store).restoring", "\(key).restoring")
    func discard() { for path in [newStore, newStore + "-wal", newStore + "-shm", newKey] { unlink(path) } }
    discard()
    defer { discard() }
    try unpack(from, passphrase: passphrase, store: newStore, key: newKey)
    let protector = try FileKeyProtector(path: newKey, mayCreate: false)
    let (facts, hasJournal) = try journal(protector)
    let (report, agents, frontEnds) = try await recover(newStore, facts: facts, hasJournal: hasJournal, made: manifest.made)
    // The key first: a store without its key is refused at the start, and this is run again.
    for (old, new, suffixes) in [(key, newKey, [""]), (store, newStore, ["", "-wal", "-shm"])] {
      for suffix in suffixes where FileManager.default.fileExists(atPath: old + suffix) {
        guard rename(old + suffix, "\(old).\(stamp)\(suffix)") == 0 else { throw moved(old + suffix) }
      }
      guard rename(new, old) == 0 else { throw moved(new) }
    }
    try await finish(protector)
    print("Restored node \(configuration.node) as of \(shown(manifest.made)) UTC, by gatehouse \(harmless(manifest.software)).")
    tell(report, facts: facts.count, hasJournal: hasJournal, since: manifest.made, agents: agents, frontEnds: frontEnds)
  }

  func runInPlace() async throws {
    let protector = try FileKeyProtector(path: configuration.masterKeyFile, mayCreate: false)
    let (facts, hasJournal) = try journal(protector)
    let (report, agents, frontEnds) = try await recover(configuration.storeFile, facts: facts, hasJournal: hasJournal, made: nil)
    try await finish(protector)
    print("The store of node \(configuration.node) is safe to run as it is.")
    tell(report, facts: facts.count, hasJournal: hasJournal, since: nil, agents: agents, frontEnds: frontEnds)
  }

  private func unpack(_ from: String, passphrase: Secret, store: String, key: String) throws {
    func make(_ path: String) throws -> FileHandle {
      let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else {
        throw StartProblem("\(path) cannot be written (\(String(cString: strerror(errno)))). Run this as the user that runs gatehouse.")
      }
      return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }
    let (storeHandle, keyHandle) = (try make(store), try make(key))
    _ = try BackupArchive.read(from, passphrase: passphrase) { name, bytes in
      switch name {
      case .store: try storeHandle.write(contentsOf: Data(bytes))
      case .masterKey: try keyHandle.write(contentsOf: Data(bytes))
      case .configuration: break
      }
    }
    for handle in [storeHandle, keyHandle] { try handle.synchronize() }
  }

  private func journal(_ protector: FileKeyProtector) throws -> ([JournaledRevocation], Bool) {
    let path = journalFile ?? configuration.journalFile
    let exists = FileManager.default.fileExists(atPath: path)
    if let journalFile {
      guard exists else { throw StartProblem("\(journalFile) does not exist. Leave --journal out where there is none.") }
      guard journalFile == configuration.journalFile || !FileManager.default.fileExists(atPath: configuration.journalFile) else {
        throw StartProblem("There is a journal at \(configuration.journalFile) too. Move one of the two away: the one that knows less.")
      }
    }
    return (try RevocationJournal.read(path, key: protector.derivedKey(for: RevocationJournal.purpose)), exists)
  }

  private func recover(
    _ path: String, facts: [JournaledRevocation], hasJournal: Bool, made: Instant?
  ) async throws -> (RecoveryReport, [AgentRecord], [FrontEnd]) {
    let store = try EmbeddedStore(path: path, node: configuration.node)
    let (now, node) = (wallClock(), configuration.node)
    let report: RecoveryReport
    do {
      report = try await store.recover(with: facts, now: now) { report in
        var details = [
          "epoch": "\(report.epoch)", "sessionsEnded": "\(report.sessionsEnded)", "tokensVoided": "\(report.tokensVoided)",
          "factsApplied": "\(report.applied.count)", "journal": hasJournal ? "applied" : "none",
        ]
        if let made { details["backup"] = made.description }
        return [AuditEvent(time: now, kind: .storeRestored, actor: "admin:uid=\(geteuid())", subject: node, outcome: "done", details: details)]
      }
    } catch StoreError.conflict(let reason) {
      throw StartProblem(
        "The journal does not fit: \(reason). Name the journal that belongs to this backup, or move it away to go on without what it knew.")
    }
    let (agents, frontEnds) = (try await store.agents(), try await store.frontEnds())
    try store.gather()
    try store.close()
    return (report, agents, frontEnds)
  }

  /// The journal on this machine knows what the store knows, the restore included.
  private func finish(_ protector: FileKeyProtector) async throws {
    let target = configuration.journalFile
    if let journalFile, journalFile != target { try FileManager.default.copyItem(atPath: journalFile, toPath: target) }
    chmod(target, 0o600)
    let journal = try RevocationJournal(path: target, key: protector.derivedKey(for: RevocationJournal.purpose))
    let store = try EmbeddedStore(path: configuration.storeFile, node: configuration.node)
    for fact in try await RevocationKeeper.facts(of: store) where fact.position > journal.last { try journal.append([fact]) }
    try store.close()
  }

  private func tell(_ report: RecoveryReport, facts: Int, hasJournal: Bool, since: Instant?, agents: [AgentRecord], frontEnds: [FrontEnd]) {
    print("Epoch \(report.epoch): \(report.sessionsEnded) sessions of browsers were ended and \(report.tokensVoided) enrolment tokens voided.")
    let until = shown(wallClock())
    if hasJournal {
      print("The revocation journal (\(facts) facts) told \(report.applied.count) things that the store did not know:")
      for fact in report.applied { print("  \(harmless(RestoreWords.of(fact)))") }
      for refusal in report.refused { print("  NOT APPLIED: \(harmless(refusal))") }
    } else {
      print(
        "There is no revocation journal. What was done between \(since.map { "\(shown($0)) UTC" } ?? "the time of this store") and now (\(until) UTC) is not known:"
      )
      print(
        "agents that were revoked, people who were blocked, keys that were rotated or revoked and relying parties that were removed are as they were then. Look at each:"
      )
      for agent in agents where agent.revoked == nil {
        print(
          "  agent \(harmless(agent.name)), enrolled \(shown(agent.enrolled)): if it was revoked since, gatehouse agents revoke \(harmless(agent.name))"
        )
      }
      for frontEnd in frontEnds where !frontEnd.disabled && !(frontEnd.keys.isEmpty && frontEnd.certificates.isEmpty) {
        print(
          "  front-end \(harmless(frontEnd.name)), key of \(shown(frontEnd.keys.first?.made)): if its key was changed since, gatehouse front-ends rotate \(harmless(frontEnd.name))"
        )
      }
      print("  relying parties: `gatehouse rp list`; remove or disable those that were.")
      print("  people: repeat `gatehouse users block` for whom the exported audit since then names (kind user.blocked).")
    }
    print(
      "Not known in any case: other changes since then of realms and relying parties, and persistent names that were made. Now start the gateway and look at `gatehouse status`."
    )
  }

  private func moved(_ path: String) -> StartProblem { StartProblem("\(path) cannot be moved (\(String(cString: strerror(errno)))).") }
}

/// Facts in words.
private enum RestoreWords {
  static func of(_ fact: Revocation) -> String {
    switch fact.kind {
    case .agent:
      "agent \(fact.name): \(fact.details["revoked"] != nil ? "revoked" : fact.details["quarantined"] != nil ? "in quarantine" : "certificates as of \(shown(fact.time))")"
    case .frontEnd: "front-end \(fact.name): \(fact.details["removed"] != nil ? "revoked" : "keys as of \(shown(fact.time))")"
    case .relyingParty:
      "relying party \(fact.name): \(fact.details["removed"] != nil ? "removed" : fact.details["disabled"] == "true" ? "disabled" : "enabled")"
    case .block: "\(fact.name): \(fact.details["blocked"] == "true" ? "blocked" : "no longer blocked")"
    case .signingKeyRetired: "token-signing key \(fact.name): retired"
    case .restored: "an earlier restore: \(fact.name)"
    }
  }
}
