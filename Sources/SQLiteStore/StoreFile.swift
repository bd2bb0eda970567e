import Foundation
import Identity

/// Why the store's file was not opened, with what to do about it.
package struct StoreFileError: Error, Sendable, Equatable, CustomStringConvertible {
  package let path: String
  package let problem: String
  package let remedy: String

  package var description: String { "\(path): \(problem). \(remedy)" }
}

/// The checks on the file before SQLite sees it: nobody but the gateway's user may read it, and nobody else may put another in its place
///.
enum StoreFile {
  /// Makes the file (mode 0600) where it does not exist, and refuses what others could read or exchange.
  static func prepare(_ path: String) throws {
    let directory = (path as NSString).deletingLastPathComponent
    try checkDirectory(directory.isEmpty ? "." : directory)
    // O_NOFOLLOW: a symbolic link as last component fails. SQLite gives its -wal and -shm files the mode of this one.
    let descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      let code = errno
      if code == ELOOP {
        throw StoreFileError(
          path: path, problem: "the store's file is a symbolic link", remedy: "Move the real file here, or configure the path of the real file.")
      }
      throw StoreFileError(
        path: path, problem: "the store's file cannot be opened (\(String(cString: strerror(code))))",
        remedy: "Make it readable and writable for the user that runs gatehouse.")
    }
    defer { close(descriptor) }
    try check(path, of: descriptor)
    for suffix in ["-wal", "-shm"] { try checkCompanion(path + suffix) }
  }

  private static func checkDirectory(_ path: String) throws {
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw StoreFileError(
        path: path, problem: "the directory of the store's file cannot be used (\(String(cString: strerror(errno))))",
        remedy: "Make it with: install -d -m 0700 \(path)")
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw StoreFileError(path: path, problem: "this is no directory", remedy: "Configure a path inside of a directory.")
    }
    guard status.st_mode & 0o022 == 0 else {
      throw StoreFileError(
        path: path, problem: "others may write to the directory of the store's file, and so put another file in its place",
        remedy: "Run: chmod go-w \(path)")
    }
    guard status.st_uid == geteuid() || status.st_uid == 0 else {
      throw StoreFileError(
        path: path, problem: "the directory of the store's file belongs to another user (uid \(status.st_uid))",
        remedy: "Run: chown \(geteuid()) \(path)")
    }
  }

  private static func checkCompanion(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else {
      guard errno != ENOENT else { return }
      throw StoreFileError(
        path: path, problem: "SQLite's companion of the store's file cannot be opened (\(String(cString: strerror(errno))))",
        remedy: "It must be a plain file of the user that runs gatehouse; do not delete it while the store's file is in use.")
    }
    defer { close(descriptor) }
    try check(path, of: descriptor)
  }

  private static func check(_ path: String, of descriptor: Int32) throws {
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw StoreFileError(path: path, problem: "this is no plain file", remedy: "Configure a path at which a plain file is or can be made.")
    }
    guard status.st_uid == geteuid() else {
      throw StoreFileError(
        path: path, problem: "the file belongs to another user (uid \(status.st_uid))", remedy: "Run: chown \(geteuid()) \(path)")
    }
    guard status.st_mode & 0o077 == 0 else {
      throw StoreFileError(
        path: path, problem: "others may read or write the file (mode \(String(status.st_mode & 0o7777, radix: 8)))",
        remedy: "Run: chmod 0600 \(path), and consider who may have read it.")
    }
  }
}
