import Bytes
import Cryptography
import Foundation

// A backup is one sealed content (`SealedStream`) of:
//
//   length of the manifest (4 bytes, big-endian) ‖ manifest (JSON) ‖ its members, one behind the other, in the manifest's order

/// What a backup says of itself.
struct BackupManifest: Codable, Sendable, Equatable {
  struct Member: Codable, Sendable, Equatable {
    enum Name: String, Codable, Sendable { case configuration, masterKey, store }
    var name: Name
    var bytes: Int64
  }

  static let format = "gatehouse-backup"
  static let version = 1
  /// No manifest is longer.
  static let mostBytes = 65_536

  var format = BackupManifest.format
  var version = BackupManifest.version
  var made: Instant
  var node: String
  /// The version of gatehouse that made it.
  var software: String
  /// How often the store had been put back before, and the last fact that it knew.
  var epoch: Int64
  var position: Int64
  var members: [Member]
}

/// Why a backup is not used, with what to do.
struct BackupProblem: Error, CustomStringConvertible {
  let description: String
  init(_ file: String, _ problem: String) { description = "\(file): \(problem)." }
}

/// Makes backup files.
enum BackupArchive {
  /// Where a member's bytes come from.
  enum Source {
    case bytes([UInt8])
    case secret(Secret)
    case file(String)
  }

  /// Writes a new file, mode 0600, whole or not at all. Throws `BackupProblem` or `SealedStreamFault`.
  static func write(_ path: String, passphrase: Secret, manifest: BackupManifest, members: [(BackupManifest.Member.Name, Source)]) throws {
    var manifest = manifest
    manifest.members = try members.map { name, source in
      switch source {
      case .bytes(let bytes): .init(name: name, bytes: Int64(bytes.count))
      case .secret(let secret): .init(name: name, bytes: Int64(secret.count))
      case .file(let file):
        .init(name: name, bytes: (try FileManager.default.attributesOfItem(atPath: file)[.size] as? NSNumber)?.int64Value ?? 0)
      }
    }
    guard access(path, F_OK) != 0 else { throw BackupProblem(path, "there is such a file already; name a new one") }
    let part = "\(path).part-\(RandomBytes.generate(4).hexadecimal)"
    let descriptor = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw BackupProblem(path, "it cannot be written (\(String(cString: strerror(errno)))); name a file in a folder that is yours")
    }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    defer { unlink(part) }
    var writer = try SealedStreamWriter(passphrase: passphrase)
    try file.write(contentsOf: Data(writer.header))
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let head = Array(try encoder.encode(manifest))
    try file.write(contentsOf: Data(try writer.write(withUnsafeBytes(of: UInt32(head.count).bigEndian) { Array($0) } + head)))
    for (_, source) in members {
      switch source {
      case .bytes(let bytes): try file.write(contentsOf: Data(try writer.write(bytes)))
      case .secret(let secret):
        var bytes = secret.withBytes { Array($0) }
        defer { bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } } }
        try file.write(contentsOf: Data(try writer.write(bytes)))
      case .file(let name):
        guard let input = FileHandle(forReadingAtPath: name) else { throw BackupProblem(name, "it cannot be read") }
        defer { try? input.close() }
        while let piece = try input.read(upToCount: 1 << 20), !piece.isEmpty { try file.write(contentsOf: Data(try writer.write(piece))) }
      }
    }
    try file.write(contentsOf: Data(try writer.finish()))
    try file.synchronize()
    guard link(part, path) == 0 else { throw BackupProblem(path, "it cannot be given its name (\(String(cString: strerror(errno))))") }
    if let folder = FileHandle(forReadingAtPath: (path as NSString).deletingLastPathComponent) { try? folder.synchronize() }
  }

  /// Reads a whole backup and hands every member's bytes over, piece by piece. Nothing of it may be used before this returns: only then it is known to be whole.
  ///
  /// - Throws: `BackupProblem` for whatever is wrong with the file; what `take` throws.
  static func read(
    _ path: String, passphrase: Secret, take: (BackupManifest.Member.Name, [UInt8]) throws -> Void = { _, _ in }
  ) throws -> BackupManifest {
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw BackupProblem(path, "it cannot be read; name a backup file that this user may read")
    }
    defer { try? file.close() }
    do {
      var reader = try SealedStreamReader(header: Array(try file.read(upToCount: SealedStream.headerBytes) ?? Data()), passphrase: passphrase)
      var unpacking = Unpacking(path: path)
      while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty { try unpacking.take(try reader.read(piece), take) }
      try unpacking.take(try reader.finish(), take)
      return try unpacking.finish()
    } catch let fault as SealedStreamFault { throw BackupProblem(path, "\(fault)") }
  }

  /// Tells manifest and members apart as the content comes.
  private struct Unpacking {
    let path: String
    private var head: [UInt8] = []
    private var manifest: BackupManifest?
    private var rest: [BackupManifest.Member] = []

    init(path: String) { self.path = path }

    mutating func take(_ bytes: [UInt8], _ hand: (BackupManifest.Member.Name, [UInt8]) throws -> Void) throws {
      var bytes = bytes[...]
      if manifest == nil {
        head += bytes
        var reader = ByteReader(head)
        guard let length = reader.readInteger(UInt32.self) else { return }
        guard length <= BackupManifest.mostBytes else { throw malformed }
        guard let text = reader.readBytes(Int(length)) else { return }
        guard let read = try? JSONDecoder().decode(BackupManifest.self, from: Data(text)), read.format == BackupManifest.format else {
          throw malformed
        }
        guard read.version == BackupManifest.version else {
          throw BackupProblem(path, "it was made by a newer gatehouse (\(read.software)); restore it with that version")
        }
        guard read.members.allSatisfy({ $0.bytes >= 0 }), Set(read.members.map(\.name)).count == read.members.count else { throw malformed }
        (manifest, rest) = (read, read.members)
        bytes = head.dropFirst(4 + Int(length))
        head = []
      }
      while let member = rest.first {
        guard member.bytes > 0 else {
          rest.removeFirst()
          continue
        }
        guard !bytes.isEmpty else { return }
        let part = bytes.prefix(Int(clamping: member.bytes))
        try hand(member.name, Array(part))
        bytes = bytes.dropFirst(part.count)
        rest[0].bytes -= Int64(part.count)
      }
      guard bytes.isEmpty else { throw malformed }
    }

    func finish() throws -> BackupManifest {
      guard let manifest, rest.allSatisfy({ $0.bytes == 0 }) else { throw malformed }
      return manifest
    }

    private var malformed: BackupProblem { BackupProblem(path, "it was sealed by gatehouse, but holds no backup") }
  }
}
