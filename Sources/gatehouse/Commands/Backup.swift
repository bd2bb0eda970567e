import ArgumentParser
import Bytes
import Cryptography
import Foundation
import Identity
import KeyStore
import SQLiteStore
import Web

/// One file with everything that a gateway needs to be itself again.
struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Back the gateway up into one encrypted file: make, verify.",
    discussion: "Example: gatehouse backup --to /backup/gatehouse-2026-11-27 --passphrase-file /root/backup-passphrase",
    subcommands: [Make.self, Verify.self], defaultSubcommand: Make.self)

  struct Make: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a backup, while the gateway runs or while it does not.",
      discussion:
        "Holds the store with all that it keeps, the master key and the configuration file; not the TLS files. Run it as the user that runs gatehouse."
    )
    @OptionGroup var passphrase: PassphraseOptions
    @Option(name: .long, help: "The file to write; it must not exist yet.") var to: String
    @Option(name: .long, help: "The gateway's configuration file.") var config = "/etc/gatehouse/gateway.yaml"
    @Flag(name: .long, help: "Print JSON for programs.") var json = false

    func run() async throws {
      let secret = try passphrase.read()
      let configuration = try ConfigurationFiles.gateway(at: config)
      umask(0o077)
      try StoreOwner.check(configuration.storeFile)
      guard let text = FileManager.default.contents(atPath: config) else { throw StartProblem("\(config) cannot be read.") }
      let key = try FileKeyProtector.masterKey(in: configuration.masterKeyFile)
      let copy = "\(configuration.storeFile).backup-\(RandomBytes.generate(4).hexadecimal)"
      defer { for suffix in ["", "-wal", "-shm", "-journal"] { unlink(copy + suffix) } }
      try EmbeddedStore.copy(of: configuration.storeFile, to: copy)
      // Looked into before it is packed: a copy that cannot be opened is no backup.
      let store = try EmbeddedStore(path: copy, node: configuration.node)
      let manifest = BackupManifest(
        made: wallClock(), node: configuration.node, software: Gatehouse.version, epoch: try await store.epoch(),
        position: Int64(try await RevocationKeeper.facts(of: store).count), members: [])
      try store.gather()
      try store.close()
      try BackupArchive.write(
        to, passphrase: secret, manifest: manifest,
        members: [(.configuration, .bytes(Array(text))), (.masterKey, .secret(key)), (.store, .file(copy))])
      // Read back whole: what is on the disk is what counts.
      let written = try BackupArchive.read(to, passphrase: secret)
      await tell(configuration.adminSocket)
      if json { return try printJSON(written) }
      print(
        "\(to): \(written.members.reduce(0) { $0 + $1.bytes }) bytes of node \(written.node) as of \(shown(written.made)) UTC, read back and whole.")
      print("Not in it: the TLS files, and the passphrase. Keep the passphrase apart from the file, and try a restore on another machine.")
    }

    /// A gateway that runs writes it into its audit; one that does not has nothing to write.
    private func tell(_ socket: String) async {
      guard FileManager.default.fileExists(atPath: socket) else { return }
      let _: Done? = try? await AdminClient(socket: socket).post("backups", BackupMessage(file: to))
    }
  }

  struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Decrypt a backup from its beginning to its end and tell what is in it. Nothing is written.")
    @OptionGroup var passphrase: PassphraseOptions
    @Argument(help: "The backup file.") var file: String
    @Flag(name: .long, help: "Print JSON for programs.") var json = false

    func run() async throws {
      let manifest = try BackupArchive.read(file, passphrase: try passphrase.read())
      if json { return try printJSON(manifest) }
      print("\(file): good. Node \(harmless(manifest.node)), made \(shown(manifest.made)) UTC by gatehouse \(harmless(manifest.software)).")
      printTable(["MEMBER", "BYTES"], manifest.members.map { [$0.name.rawValue, "\($0.bytes)"] })
    }
  }
}

/// The passphrase of a backup.
struct PassphraseOptions: ParsableArguments {
  /// The key is derived from it slowly, but what everybody thinks of first is guessed all the same.
  static let fewestBytes = 12

  @Option(
    name: .long,
    help: "A file whose first line is the passphrase: \(PassphraseOptions.fewestBytes) bytes or more, such as of `openssl rand -base64 24`.")
  var passphraseFile: String

  /// Throws `StartProblem`.
  func read() throws -> Secret {
    guard let data = FileManager.default.contents(atPath: passphraseFile) else { throw StartProblem("\(passphraseFile) cannot be read.") }
    let line = data.prefix { $0 != 0x0a && $0 != 0x0d }
    guard line.count >= PassphraseOptions.fewestBytes, line.count <= 4096 else {
      throw StartProblem(
        "The first line of \(passphraseFile) is no passphrase of \(PassphraseOptions.fewestBytes) to 4096 bytes. Make one: openssl rand -base64 24 > "
          + passphraseFile)
    }
    return Secret(line)
  }
}

/// Files of the gateway's user are read and written by that user only.
enum StoreOwner {
  /// Throws `StartProblem` where the store is another user's: what root would leave beside it, the gateway could not open.
  static func check(_ storeFile: String) throws {
    guard let facts = try? FileManager.default.attributesOfItem(atPath: storeFile), let owner = (facts[.ownerAccountID] as? NSNumber)?.uint32Value
    else {
      throw StartProblem("There is no store at \(storeFile). Name the gateway's configuration with --config.")
    }
    guard owner == geteuid() else {
      throw StartProblem(
        "\(storeFile) belongs to user id \(owner), and this is \(geteuid()). Run this as the user that runs gatehouse: setpriv --reuid \(owner) "
          + "--clear-groups gatehouse …")
    }
  }
}
