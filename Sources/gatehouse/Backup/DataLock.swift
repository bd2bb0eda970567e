import Foundation

/// Held by whoever works on a store: a gateway together with others, a restore alone. It ends with the process, however that ends.
final class DataLock: Sendable {
  private let descriptors: [Int32]

  /// A gateway's: there is no restore, and no other gateway of the same name, whose audit would be in the same chain.
  ///
  /// - Parameter storeFile: the store; the locks are files beside it.
  /// - Throws: `StartProblem` where another process has one.
  init(gateway node: String, storeFile: String) throws {
    let shared = try DataLock.take(
      storeFile + ".lock", LOCK_SH, or: "A restore of the store \(storeFile) is under way. Start the gateway when it is done.")
    do {
      let own = try DataLock.take(
        storeFile + ".\(node).lock", LOCK_EX,
        or: "A gateway of the name \(node) runs on the store \(storeFile). End it first (systemctl stop gatehouse), or give this one another `node`.")
      descriptors = [shared, own]
    } catch {
      close(shared)
      throw error
    }
  }

  /// A restore's: nobody else works on the store.
  init(restoreOf storeFile: String) throws {
    descriptors = [
      try DataLock.take(
        storeFile + ".lock", LOCK_EX,
        or:
          "A gateway runs on the store \(storeFile), or another restore is under way. Stop it first (systemctl stop gatehouse), then run this again.")
    ]
  }

  private static func take(_ path: String, _ kind: Int32, or complaint: String) throws -> Int32 {
    let descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      let folder = (path as NSString).deletingLastPathComponent
      throw StartProblem(
        "\(path) cannot be opened (\(String(cString: strerror(errno)))). The folder must exist and belong to this user: install -d -m 0700 \(folder)")
    }
    guard flock(descriptor, kind | LOCK_NB) == 0 else {
      close(descriptor)
      throw StartProblem(complaint)
    }
    return descriptor
  }

  deinit { for descriptor in descriptors { close(descriptor) } }
}
