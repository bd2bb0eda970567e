import ArgumentParser
import Bytes
import Foundation
import Identity
import Web

/// What happened, and the proof that nothing of it was changed.
struct Audit: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What happened: list, export, verify, prune.",
    subcommands: [List.self, Export.self, Verify.self, Prune.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List events, newest first.")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "Only events about this user name, agent or front-end, as it was typed.") var subject: String?
    @Option(name: .long, help: "Only events of this front-end, agent or administrator.") var actor: String?
    @Option(name: .long, help: "Only this kind, for instance sign-in or agent.revoked; may be repeated.") var kind: [String] = []
    @Option(name: .long, help: "Only events of the last so many minutes.") var minutes: Int?
    @Option(name: .long, help: "At most so many, 1 to 10000.") var limit: Int = 50

    func run() async throws {
      var query = [("limit", "\(limit)")] + kind.map { ("kind", $0) }
      if let subject { query.append(("subject", subject)) }
      if let actor { query.append(("actor", actor)) }
      if let minutes { query.append(("since", "\(wallClock().adding(.seconds(-60 * max(0, min(minutes, 5_256_000)))).milliseconds)")) }
      let rows: [AuditRow] = try await admin.client.get("audit", query: query)
      if admin.json { return try printJSON(rows) }
      printTable(
        ["TIME (UTC)", "KIND", "ACTOR", "SUBJECT", "OUTCOME", "REFERENCE", "ROW"],
        rows.map {
          [
            shown($0.event.time), $0.event.kind.rawValue, $0.event.actor, $0.event.subject ?? "-", $0.event.outcome,
            $0.event.reference?.text ?? "-", "\($0.chain):\($0.sequence)",
          ]
        })
    }
  }

  struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write what was not exported yet to a file (JSON lines), verify it, and remember how far it went.",
      discussion:
        "Example: gatehouse audit export --out /var/backups/audit-2026-11.jsonl. The file can be verified anywhere: gatehouse audit verify FILE")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "The file to write; it must not exist yet.") var out: String
    @Option(name: .long, help: "The chain (node); needed where there are several.") var chain: String?
    @Flag(name: .long, help: "From the first row that is held, exported before or not.") var all = false

    func run() async throws {
      let client = admin.client
      let status: StatusMessage = try await client.get("status")
      guard
        let state = chain.map({ name in status.auditChains.first { $0.chain == name } })
          ?? (status.auditChains.count == 1 ? status.auditChains.first : nil)
      else {
        throw StartProblem("Name one of the chains with --chain: \(status.auditChains.map(\.chain).joined(separator: ", ")).")
      }
      let from = all ? state.first : max(state.first, state.exportedThrough + 1)
      var anchor = state.anchor
      if from > state.first {
        let before: [AuditRow] = try await rows(client, state.chain, after: from - 2)
        guard let row = before.first, row.sequence == from - 1 else {
          throw StartProblem("Row \(from - 1) of chain \(state.chain) is missing in the store.")
        }
        anchor = row.hash
      }
      guard FileManager.default.createFile(atPath: out, contents: nil, attributes: [.posixPermissions: 0o600]),
        let file = FileHandle(forWritingAtPath: out)
      else {
        throw StartProblem("\(out) cannot be written. Name a new file in a folder that is yours.")
      }
      var export = AuditExport(chain: state.chain, first: from, anchor: anchor)
      try file.write(contentsOf: Data(export.header))
      var position = from - 1
      while position < state.last {
        let batch = try await rows(client, state.chain, after: position).filter { $0.sequence <= state.last }
        guard let last = batch.last else { break }
        for row in batch { try file.write(contentsOf: Data(try export.line(of: row))) }
        position = last.sequence
        try? FileHandle.standardError.write(contentsOf: Data("\rexported through row \(position) of \(state.last)".utf8))
      }
      try file.write(contentsOf: Data(export.closing))
      try file.synchronize()
      try file.close()
      try? FileHandle.standardError.write(contentsOf: Data("\n".utf8))
      // What is on the disk is what counts: it is read back before the store may forget anything.
      let segment = try verifyExport(out, continuing: nil)
      guard segment == export.segment else { throw StartProblem("\(out) does not hold what was written. Export again to another disk.") }
      let done: Done = try await client.post("audit/exported", AuditMark(chain: segment.chain, through: segment.last))
      if admin.json { return try printJSON(done) }
      print("\(out): rows \(segment.first) to \(segment.last) of chain \(segment.chain). \(done.message)")
    }

    private func rows(_ client: AdminClient, _ chain: String, after: Int64) async throws -> [AuditRow] {
      try await client.get("audit/rows", query: [("chain", chain), ("after", "\(after)")])
    }
  }

  struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Verify exported files, without a gateway. Several files of one chain are verified in their order.")
    @Argument(help: "The exported files, oldest first.") var files: [String]
    @Flag(name: .long, help: "Print JSON for programs.") var json = false

    private struct Report: Encodable {
      var file: String
      var good: Bool
      var chain: String?
      var first: Int64?
      var last: Int64?
      var problem: String?
    }

    func run() async throws {
      var reports: [Report] = []
      var previous: AuditSegment?
      for file in files {
        do {
          let segment = try verifyExport(file, continuing: previous)
          reports.append(Report(file: file, good: true, chain: segment.chain, first: segment.first, last: segment.last))
          previous = segment
        } catch let fault as AuditExportFault {
          reports.append(Report(file: file, good: false, problem: fault.description))
          previous = nil
        }
      }
      if json {
        try printJSON(reports)
      } else {
        for report in reports {
          if report.good {
            print("\(report.file): good, rows \(report.first ?? 0) to \(report.last ?? 0) of chain \(harmless(report.chain ?? ""))")
          } else {
            print("\(report.file): NOT GOOD, \(harmless(report.problem ?? ""))")
          }
        }
      }
      if reports.contains(where: { !$0.good }) { throw ExitCode(1) }
    }
  }

  struct Prune: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove rows that were exported; the chain goes on from the last removed row's hash.")
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "The chain (node).") var chain: String
    @Option(name: .long, help: "The last row to remove; it must have been exported.") var through: Int64

    func run() async throws {
      let done: Done = try await admin.client.post("audit/prune", AuditMark(chain: chain, through: through))
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }
}

/// Reads an export file through the verifier. Throws `AuditExportFault`, or `StartProblem` where it cannot be read.
private func verifyExport(_ path: String, continuing previous: AuditSegment?) throws -> AuditSegment {
  guard let file = FileHandle(forReadingAtPath: path) else { throw StartProblem("\(path) cannot be read.") }
  defer { try? file.close() }
  var verifier = AuditExportVerifier(continuing: previous)
  while let piece = try file.read(upToCount: 1 << 16), !piece.isEmpty { try verifier.read(piece) }
  return try verifier.finish()
}
