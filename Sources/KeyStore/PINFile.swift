import Bytes
import Foundation

/// The token's PIN, in a file of the gateway's user: read at each log-in, so that a new one is taken up without a restart.
struct PINFile: Sendable {
  /// Which writing of the file a PIN came from.
  struct Stamp: Sendable, Equatable {
    var inode: UInt64
    var size: Int64
    var seconds: Int
    var nanoseconds: Int
  }

  private static let longest = 1024

  let path: String

  /// The first line. Throws `.pin`.
  func read() throws(TokenFault) -> (pin: Secret, stamp: Stamp) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .pin("\(path) cannot be opened (\(String(cString: strerror(errno))))") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw .pin("\(path) is no plain file") }
    guard status.st_mode & 0o027 == 0 else {
      throw .pin("others may read or change \(path) (mode \(String(status.st_mode & 0o7777, radix: 8))); run: chmod 0600 \(path)")
    }
    var bytes = [UInt8](repeating: 0, count: PINFile.longest)
    defer { bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } } }
    let count = Glibc.read(descriptor, &bytes, bytes.count)
    let length = bytes.prefix(max(0, count)).prefix { $0 != 0x0a && $0 != 0x0d }.count
    guard (1..<PINFile.longest).contains(length) else { throw .pin("the first line of \(path) is no PIN") }
    let stamp = Stamp(
      inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
    return (Secret(bytes.prefix(length)), stamp)
  }

  /// Which writing of the file is there now; nil where there is none.
  var stamp: Stamp? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return Stamp(inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
  }
}
