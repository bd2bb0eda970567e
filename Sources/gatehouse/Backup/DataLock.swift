import Foundation

/// Held by whoever works on a store as its only owner: the gateway, and a restore. It ends with the process, however that ends.
final class DataLock: Sendable {
  private let descriptor: Int32

  /// - Parameter storeFile: the store; the lock is a file beside it.
  /// - Throws: `StartProblem` where another process has it.
  init(storeFile: String, what: String) throws {
    let path = storeFile + ".lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      let folder = (path as NSString).deletingLastPathComponent
      throw StartProblem(
        "\(path) cannot be opened (\(String(cString: strerror(errno)))). The folder must exist and belong to this user: install -d -m 0700 \(folder)")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw StartProblem("A gateway runs on the store \(storeFile), or a restore is under way. \(what)")
    }
  }

  /// What the gateway says where the lock is taken.
  static let secondGateway = "Two gateways on one SQLite store would spoil its audit: end the other one first (systemctl stop gatehouse)."
  /// What a restore says.
  static let restore = "Stop it first (systemctl stop gatehouse), then run this again."

  deinit { if descriptor >= 0 { close(descriptor) } }
}
