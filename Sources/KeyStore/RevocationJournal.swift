import Bytes
import Cryptography
import Foundation
import Identity
import Synchronization

// The journal is text, one fact a line, each line ended by a line feed:
//
//   <64 hexadecimal digits> {"position":1,"revocation":{…}}
//
// The digits are HMAC-SHA256, under a key derived from the master key, over the digits' bytes of the line before (32 zero bytes before the first) and the
// JSON as it stands. A line that was changed, put in, taken out or moved breaks the chain; lines that were cut off at the end are missed by whoever knows
// how many there were, which is the store. A last line without its end was not finished when the machine stopped: it is cut off.

/// Why the journal is not used, with what to do.
package enum RevocationJournalFault: Error, Sendable, Equatable, CustomStringConvertible {
  case damaged(path: String, line: Int)
  case otherKey(path: String)
  case system(path: String, action: String, reason: String)

  package var description: String {
    switch self {
    case .damaged(let path, let line):
      "\(path): line \(line) of the revocation journal was changed. Find out by whom; put back a copy of the file, or move it away to go on without what it knew."
    case .otherKey(let path):
      "\(path): the revocation journal was written under another master key, or its first line was changed. Put back the key file that belongs to it, or move it away to go on without what it knew."
    case .system(let path, let action, let reason):
      "\(path): the revocation journal cannot be \(action) (\(reason)). Make it and its directory accessible for the user that runs gatehouse (mode 0600)."
    }
  }
}

/// The facts that outlive a restore, in a file outside of the store. It only grows; every line is on the disk when `append` returns.
package final class RevocationJournal: Sendable {
  private struct Tail {
    /// How long the file was when this was its end.
    var size: off_t = 0
    var position: Int64 = 0
    var code = [UInt8](repeating: 0, count: 32)
  }

  package let path: String
  private let key: Secret
  private let tail: Mutex<Tail>

  /// Reads the file; there may be none yet. A last line that was not finished is cut off before the next one is written.
  ///
  /// - Parameter key: `FileKeyProtector.derivedKey(for: RevocationJournal.purpose)`.
  /// - Throws: `RevocationJournalFault`.
  package init(path: String, key: Secret) throws(RevocationJournalFault) {
    self.path = path
    self.key = key
    let content = try RevocationJournal.content(path)
    self.tail = Mutex(try RevocationJournal.parse(content, path: path, key: key).tail)
  }

  /// What the journal's key is derived for.
  package static let purpose = "revocation journal"

  /// The position of the last fact; 0: there is none.
  package var last: Int64 { tail.withLock { $0.position } }

  /// All facts of a journal, verified. Throws `RevocationJournalFault`.
  package static func read(_ path: String, key: Secret) throws(RevocationJournalFault) -> [JournaledRevocation] {
    try parse(try content(path), path: path, key: key).facts
  }

  /// Appends the facts that follow the last one; those that are there already, by another gateway on the same store too, are passed over. Throws `RevocationJournalFault`, with nothing to be believed
  /// of what was appended: the next call begins with the same facts.
  package func append(_ facts: [JournaledRevocation]) throws(RevocationJournalFault) {
    guard !facts.isEmpty else { return }
    let failure: RevocationJournalFault? = tail.withLock { tail in
      do throws(RevocationJournalFault) {
        try append(facts, after: &tail)
        return nil
      } catch { return error }
    }
    if let failure { throw failure }
  }

  /// One gateway at a time: whoever comes second reads what the first has written.
  private func append(_ facts: [JournaledRevocation], after tail: inout Tail) throws(RevocationJournalFault) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw RevocationJournal.system(path, "opened") }
    defer { close(descriptor) }
    var status = stat()
    guard flock(descriptor, LOCK_EX) == 0, fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw RevocationJournal.system(path, "used: it is no plain file")
    }
    if status.st_size != tail.size {
      let content = try RevocationJournal.content(path)
      let (_, end, good) = try RevocationJournal.parse(content, path: path, key: key)
      tail = end
      // A line that its writer did not finish: that one is dead, or the lock would be its.
      if good < content.count, ftruncate(descriptor, off_t(good)) != 0 { throw RevocationJournal.system(path, "mended") }
    }
    var next = tail
    var lines: [UInt8] = []
    for fact in facts where fact.position == next.position + 1 {
      guard let json = RevocationJournal.json(fact) else { throw RevocationJournal.system(path, "written") }
      (next.position, next.code) = (fact.position, RevocationJournal.code(after: next.code, json, key: key))
      lines += Array(next.code.hexadecimal.utf8) + [0x20] + json + [0x0a]
    }
    guard !lines.isEmpty else { return }
    next.size = tail.size + off_t(lines.count)
    guard Glibc.write(descriptor, lines, lines.count) == lines.count, fsync(descriptor) == 0 else {
      let failure = RevocationJournal.system(path, "written")
      // What may stand there half is taken away, so that the next try begins at the end of a line.
      _ = ftruncate(descriptor, tail.size)
      throw failure
    }
    if tail.size == 0 {
      let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      if folder >= 0 {
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw RevocationJournal.system(path, "made durable") }
      }
    }
    tail = next
  }

  private static func content(_ path: String) throws(RevocationJournalFault) -> [UInt8] {
    guard access(path, F_OK) == 0 || errno != ENOENT else { return [] }
    guard let data = FileManager.default.contents(atPath: path) else { throw system(path, "read") }
    return Array(data)
  }

  /// The facts, the end of the chain, and how many bytes are whole lines.
  private static func parse(
    _ content: [UInt8], path: String, key: Secret
  ) throws(RevocationJournalFault) -> (facts: [JournaledRevocation], tail: Tail, good: Int) {
    var (facts, tail, good): ([JournaledRevocation], Tail, Int) = ([], Tail(), 0)
    while let end = content[good...].firstIndex(of: 0x0a) {
      let line = content[good..<end]
      let json = Array(line.dropFirst(65))
      let wanted = code(after: tail.code, json, key: key)
      guard line.count > 65, line[line.startIndex + 64] == 0x20, Array(line.prefix(64)) == Array(wanted.hexadecimal.utf8),
        let fact = try? JSONDecoder().decode(JournaledRevocation.self, from: Data(json)), fact.position == tail.position + 1
      else { throw facts.isEmpty ? .otherKey(path: path) : .damaged(path: path, line: facts.count + 1) }
      facts.append(fact)
      good = end + 1
      tail = Tail(size: off_t(good), position: fact.position, code: wanted)
    }
    return (facts, tail, good)
  }

  private static func code(after before: [UInt8], _ json: [UInt8], key: Secret) -> [UInt8] { Digests.hmacSHA256(before + json, key: key) }

  private static func json(_ fact: JournaledRevocation) -> [UInt8]? {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(fact)).map { Array($0) }
  }

  private static func system(_ path: String, _ action: String) -> RevocationJournalFault {
    .system(path: path, action: action, reason: String(cString: strerror(errno)))
  }
}
