import Bytes
import Foundation
import Testing

@testable import KeyStore

@Suite final class `A key file` {
  let folder: String
  var path: String { folder + "/master.key" }

  init() throws {
    folder = NSTemporaryDirectory() + "gatehouse-key-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  private func text(_ secret: Secret) -> [UInt8] { secret.withBytes { Array($0) } }

  @Test func `is made at the first start, for its owner only, and used again at the next`() throws {
    let sealed = try FileKeyProtector(path: path).protect(Secret("hush".utf8), context: "row 1")
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    #expect(attributes[.size] as? Int == 32)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["master.key"])
    #expect(text(try FileKeyProtector(path: path).reveal(sealed, context: "row 1")) == Array("hush".utf8))
  }

  @Test func `made by twenty processes at once is one key`() async throws {
    let path = path
    let ciphertexts = try await withThrowingTaskGroup(of: [UInt8].self) { group in
      for _ in 0..<20 { group.addTask { try FileKeyProtector(path: path).protect(Secret([1]), context: "") } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    let protector = try FileKeyProtector(path: path)
    for ciphertext in ciphertexts { #expect(text(try protector.reveal(ciphertext, context: "")) == [1]) }
  }

  @Test func `that others may read is refused, with the command that mends it`() throws {
    _ = try FileKeyProtector(path: path)
    chmod(path, 0o640)
    let error = #expect(throws: KeyFileError.self) { try FileKeyProtector(path: self.path) }
    #expect(error == .openToOthers(path: path, mode: 0o640))
    #expect(error?.description.contains("chmod 0600 \(path)") == true)
  }

  @Test func `that is a symbolic link is refused, also a dangling one`() throws {
    symlink("/etc/hostname", path)
    #expect(throws: KeyFileError.symbolicLink(path: path)) { try FileKeyProtector(path: self.path) }
    unlink(path)
    symlink(folder + "/nowhere", path)
    #expect(throws: KeyFileError.symbolicLink(path: path)) { try FileKeyProtector(path: self.path) }
  }

  @Test(arguments: [0, 1, 31, 33, 4096])
  func `of another size is refused`(size: Int) throws {
    #expect(FileManager.default.createFile(atPath: path, contents: Data(count: size), attributes: [.posixPermissions: 0o600]))
    #expect(throws: KeyFileError.wrongSize(path: path, bytes: Int64(size), wanted: 32)) { try FileKeyProtector(path: self.path) }
  }

  @Test func `that is a directory or a pipe is refused without waiting`() throws {
    mkdir(path, 0o700)
    #expect(throws: KeyFileError.notPlainFile(path: path)) { try FileKeyProtector(path: self.path) }
    rmdir(path)
    mkfifo(path, 0o600)
    #expect(throws: KeyFileError.notPlainFile(path: path)) { try FileKeyProtector(path: self.path) }
  }

  @Test func `in a directory that others may write to is refused`() throws {
    chmod(folder, 0o777)
    #expect(throws: KeyFileError.directoryOpenToOthers(path: folder)) { try FileKeyProtector(path: self.path) }
  }

  @Test func `that must exist and does not is an error, not a new key`() throws {
    #expect(throws: KeyFileError.missing(path: path)) { try FileKeyProtector(path: self.path, mayCreate: false) }
    #expect(!FileManager.default.fileExists(atPath: path))
  }
}

@Suite struct `A protected secret` {
  private let protector = FileKeyProtector(key: Secret([UInt8](repeating: 7, count: 32)))

  private func reveal(_ ciphertext: [UInt8], _ context: String) throws -> [UInt8] {
    try protector.reveal(ciphertext, context: context).withBytes { Array($0) }
  }

  @Test(arguments: [0, 1, 16, 4096]) func `opens to what it was`(count: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
    let sealed = try protector.protect(Secret(bytes), context: "agent-ca")
    #expect(sealed.count == count + 37)
    #expect(try reveal(sealed, "agent-ca") == bytes)
  }

  @Test func `is another ciphertext each time`() throws {
    #expect(try protector.protect(Secret([1]), context: "") != protector.protect(Secret([1]), context: ""))
  }

  @Test func `does not open in another place`() throws {
    let sealed = try protector.protect(Secret([1, 2, 3]), context: "agent-ca")
    for context in ["", "agent-c", "agent-ca ", "sealing-key", "agent-ca\u{0}"] {
      #expect(throws: RevealError.damaged) { try reveal(sealed, context) }
    }
  }

  @Test func `with any bit changed, cut or lengthened does not open`() throws {
    let sealed = try protector.protect(Secret([1, 2, 3]), context: "c")
    for index in sealed.indices {
      for bit in 0..<8 {
        var changed = sealed
        changed[index] ^= 1 << bit
        #expect(throws: RevealError.self) { try reveal(changed, "c") }
      }
      #expect(throws: RevealError.self) { try reveal(Array(sealed.prefix(index)), "c") }
    }
    #expect(throws: RevealError.self) { try reveal(sealed + [0], "c") }
  }

  @Test func `of another key or a later version says so`() throws {
    let other = FileKeyProtector(key: Secret([UInt8](repeating: 8, count: 32)))
    #expect(throws: RevealError.otherKey) { try reveal(try other.protect(Secret([1]), context: ""), "") }
    var later = try protector.protect(Secret([1]), context: "")
    later[0] = 2
    #expect(throws: RevealError.unknownVersion(2)) { try reveal(later, "") }
  }
}
