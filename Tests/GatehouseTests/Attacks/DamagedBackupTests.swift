import Bytes
import Cryptography
import Foundation
import GatehouseTesting
import Testing

@testable import gatehouse

@Suite("A damaged backup", .serialized)
final class DamagedBackupTests {
  private let folder: String
  private let passphrase = Secret("correct horse battery staple".utf8)
  private let manifest = BackupManifest(
    made: Instant(milliseconds: 1_767_225_600_000), node: "gw-1", software: "0.1.0", epoch: 1, position: 2, members: [])

  init() throws {
    folder = NSTemporaryDirectory() + "gatehouse-backup-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  private func make(_ name: String = "good") throws -> (path: String, store: [UInt8]) {
    let store = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 17) }
    let file = folder + "/store"
    try Data(store).write(to: URL(fileURLWithPath: file))
    let path = folder + "/" + name
    try BackupArchive.write(
      path, passphrase: passphrase, manifest: manifest,
      members: [
        (.configuration, .bytes(Array("node: gw-1\n".utf8))), (.masterKey, .secret(Secret([UInt8](repeating: 3, count: 32)))), (.store, .file(file)),
      ])
    return (path, store)
  }

  /// The members' bytes, where the whole file is good.
  private func read(_ path: String, passphrase: Secret? = nil) throws -> [BackupManifest.Member.Name: [UInt8]] {
    var found: [BackupManifest.Member.Name: [UInt8]] = [:]
    let manifest = try BackupArchive.read(path, passphrase: passphrase ?? self.passphrase) { found[$0, default: []] += $1 }
    #expect(manifest.node == "gw-1")
    return found
  }

  @Test("that is whole is read back, is for its owner only, and is never overwritten")
  func whole() throws {
    let (path, store) = try make()
    let found = try read(path)
    #expect(found[.store] == store)
    #expect(found[.configuration] == Array("node: gw-1\n".utf8))
    #expect(found[.masterKey] == [UInt8](repeating: 3, count: 32))
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    #expect(throws: BackupProblem.self) { try self.make() }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["good", "store"])
  }

  @Test("or one under another passphrase leads to an error that names the file, never to a crash or to half a backup")
  func damaged() throws {
    let (path, _) = try make()
    #expect(throws: BackupProblem.self) { try self.read(path, passphrase: Secret("another passphrase".utf8)) }
    let good = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    let bad = folder + "/bad"
    var generator = SeededGenerator(seed: 5)
    for round in 0..<60 {
      var bytes = good
      switch round % 4 {
      case 0: bytes[Int.random(in: 0..<bytes.count, using: &generator)] ^= UInt8.random(in: 1...255, using: &generator)
      case 1: bytes.removeLast(Int.random(in: 1...bytes.count, using: &generator))
      case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: Int.random(in: 0...bytes.count, using: &generator))
      default:
        let (from, to) = (Int.random(in: 0..<bytes.count, using: &generator), Int.random(in: 0..<bytes.count, using: &generator))
        bytes.removeSubrange(min(from, to)...max(from, to))
      }
      try Data(bytes).write(to: URL(fileURLWithPath: bad))
      let problem = #expect(throws: BackupProblem.self, "round \(round)") { try self.read(bad) }
      #expect(problem?.description.hasPrefix(bad) == true)
    }
    let missing = #expect(throws: BackupProblem.self) { try self.read(self.folder + "/nowhere") }
    #expect(missing?.description.contains("cannot be read") == true)
  }

  @Test("sealed by whoever knows the passphrase, but with a manifest that lies, is refused too")
  func lies() throws {
    func seal(_ content: [UInt8]) throws -> String {
      let path = folder + "/lie"
      var writer = try SealedStreamWriter(passphrase: passphrase)
      let bytes = writer.header + (try writer.write(content)) + (try writer.finish())
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      return path
    }
    func content(_ manifest: String, _ rest: [UInt8] = []) -> [UInt8] {
      withUnsafeBytes(of: UInt32(manifest.utf8.count).bigEndian) { Array($0) } + Array(manifest.utf8) + rest
    }
    func manifest(_ members: String, version: Int = 1) -> String {
      #"{"format":"gatehouse-backup","version":\#(version),"made":1,"node":"gw-1","software":"9","epoch":0,"position":0,"members":[\#(members)]}"#
    }
    let store = #"{"name":"store","bytes":4}"#
    _ = try read(try seal(content(manifest(store), [1, 2, 3, 4])))
    for bad in [
      [], [0, 0], [255, 255, 255, 255], content("{}"), content(manifest(store), [1, 2, 3]), content(manifest(store), [1, 2, 3, 4, 5]),
      content(manifest(#"{"name":"store","bytes":-1}"#)), content(manifest(#"{"name":"other","bytes":0}"#)),
      content(manifest("\(store),\(store)"), [1, 2, 3, 4]),
      content(manifest(#"{"name":"store","bytes":9223372036854775807}"#), [1]), content(manifest(store, version: 2), [1, 2, 3, 4]),
    ] as [[UInt8]] {
      #expect(throws: BackupProblem.self) { try self.read(try seal(bad)) }
    }
  }
}
