import Foundation
import GatehouseTesting
import Identity
import SQLiteStore

/// A directory of its own for one test, deleted with its last reference.
final class Folder: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "gatehouse-store-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var file: String { path + "/gatehouse.sqlite" }

  func open(node: String = "node-1", lostTrust: @escaping @Sendable (String) -> Void = { _ in }) throws -> EmbeddedStore {
    try EmbeddedStore(path: file, node: node, lostTrust: lostTrust)
  }
}
