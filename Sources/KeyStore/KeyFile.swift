import Bytes
import Cryptography
import Foundation

/// Why the key file is not used, with path and remedy.
package enum KeyFileError: Error, Sendable, Equatable, CustomStringConvertible {
  case symbolicLink(path: String)
  case notPlainFile(path: String)
  case otherOwner(path: String, uid: UInt32)
  case openToOthers(path: String, mode: UInt32)
  case directoryOpenToOthers(path: String)
  case wrongSize(path: String, bytes: Int64, wanted: Int)
  case missing(path: String)
  case system(path: String, action: String, reason: String)

  package var description: String {
    switch self {
    case .symbolicLink(let path):
      "\(path): the key file is a symbolic link. Configure the path of the real file."
    case .notPlainFile(let path):
      "\(path): the key file is no plain file. Configure a path at which a plain file is or can be made."
    case .otherOwner(let path, let uid):
      "\(path): the key file belongs to another user (uid \(uid)). Run: chown \(geteuid()) \(path)"
    case .openToOthers(let path, let mode):
      "\(path): others may read or write the key file (mode \(String(mode, radix: 8))). Run: chmod 0600 \(path), and consider who may have read it."
    case .directoryOpenToOthers(let path):
      "\(path): others may write to the directory of the key file, and so put another file in its place. Run: chmod go-w \(path)"
    case .wrongSize(let path, let bytes, let wanted):
      "\(path): the key file has \(bytes) bytes instead of \(wanted). Restore it from a backup; a new one would not open what is in the store."
    case .missing(let path):
      "\(path): the key file is missing, but the store holds secrets that only it opens. Restore it from a backup."
    case .system(let path, let action, let reason):
      "\(path): the key file cannot be \(action) (\(reason)). Make it and its directory accessible for the user that runs gatehouse."
    }
  }
}

/// Reading and first making of the file with the master key.
enum KeyFile {
  static func load(_ path: String, length: Int, mayCreate: Bool) throws(KeyFileError) -> Secret {
    try checkDirectory(of: path)
    if let secret = try read(path, length: length) { return secret }
    guard mayCreate else { throw .missing(path: path) }
    try create(path, length: length)
    // Read back, whoever made it: of two processes that start at once both use the same key.
    guard let secret = try read(path, length: length) else { throw .missing(path: path) }
    return secret
  }

  private static func checkDirectory(of path: String) throws(KeyFileError) {
    let directory = directory(of: path)
    var status = stat()
    guard stat(directory, &status) == 0 else { throw system(directory, "reached") }
    guard status.st_mode & 0o022 == 0 else { throw .directoryOpenToOthers(path: directory) }
  }

  /// Nil where there is no file.
  private static func read(_ path: String, length: Int) throws(KeyFileError) -> Secret? {
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      if errno == ELOOP { throw .symbolicLink(path: path) }
      throw system(path, "opened")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw system(path, "read") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notPlainFile(path: path) }
    guard status.st_uid == geteuid() else { throw .otherOwner(path: path, uid: status.st_uid) }
    guard status.st_mode & 0o077 == 0 else { throw .openToOthers(path: path, mode: status.st_mode & 0o7777) }
    guard status.st_size == length else { throw .wrongSize(path: path, bytes: Int64(status.st_size), wanted: length) }
    var bytes = [UInt8](repeating: 0, count: length)
    let count = Glibc.read(descriptor, &bytes, length)
    defer { bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } } }
    guard count == length else { throw system(path, "read") }
    return Secret(bytes)
  }

  /// Written beside, made durable, then linked to its name: the file is there whole or not at all, and one that is there is never replaced.
  private static func create(_ path: String, length: Int) throws(KeyFileError) {
    let temporary = path + ".new-" + RandomBytes.generate(8).hexadecimal
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw system(path, "made") }
    defer { unlink(temporary) }
    var bytes = RandomBytes.generate(length)
    let written = write(descriptor, bytes, length)
    bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } }
    let durable = written == length && fsync(descriptor) == 0
    let failure = system(path, "written")
    close(descriptor)
    guard durable else { throw failure }
    guard link(temporary, path) == 0 || errno == EEXIST else { throw system(path, "made") }
    let folder = open(directory(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { throw system(path, "made durable") }
    defer { close(folder) }
    guard fsync(folder) == 0 else { throw system(path, "made durable") }
  }

  private static func directory(of path: String) -> String {
    let directory = (path as NSString).deletingLastPathComponent
    return directory.isEmpty ? "." : directory
  }

  private static func system(_ path: String, _ action: String) -> KeyFileError {
    .system(path: path, action: action, reason: String(cString: strerror(errno)))
  }
}
