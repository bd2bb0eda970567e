import Foundation
import Testing

@Suite("Audit")
struct AuditScenario {
  @Test("Every sign-in has one row; what is exported can be verified anywhere, and only what was exported is pruned")
  func audit() async throws {
    try await House.with("audit") { house in
      let references = try await signIns(house)
      let rows = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "sign-in", "--limit", "10000")
      #expect(rows.compactMap(\.event.reference).sorted() == references.sorted())
      try await lines(house, rows.count)
      try await segments(house, references.count)
    }
  }

  /// Of every kind; some of them with names that want to be more than one line.
  private func signIns(_ house: House) async throws -> [String] {
    let person = try await house.people("audited", 1)[0]
    var references: [String] = []
    for (name, password) in [
      (person.name, person.password), (person.name, "wrong"), ("nobody", "wrong"), ("a\r\n{\"x\":1}", "wrong"), ("a\u{1b}[2Jb", "wrong"),
      ("a\u{2028}b\u{202e}c", "wrong"), ("", "wrong"), (person.name, ""), ("x@elsewhere.test", "wrong"), ("disabled", "Correct.Horse.3"),
    ] {
      references.append(try await house.frontEnd.signIn(name, password).reference)
    }
    // Answered 503, which is a verdict like any other.
    await house.agents[0].stop()
    references.append(try await house.frontEnd.signIn(person.name, person.password).reference)
    try await house.agents[0].start()
    try await house.waitFor(house.agents[0])
    let parallel = try await withThrowingTaskGroup(of: String.self) { group in
      for _ in 0..<30 { group.addTask { try await house.frontEnd.signIn(person.name, person.password).reference } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    return references + parallel
  }

  /// What people and programs read line by line has one line a row, whatever somebody typed.
  private func lines(_ house: House, _ count: Int) async throws {
    let table = try await house.admin("audit", "list", "--kind", "sign-in", "--limit", "10000")
    #expect(table.split(whereSeparator: \.isNewline).count == count + 1, "a head and a line for each row")
    #expect(!table.unicodeScalars.contains { $0 == "\u{1b}" || $0 == "\u{202e}" })
    let log = house.gateway.process?.logText ?? ""
    #expect(!log.contains("{\"x\":1}"))
    #expect(!log.unicodeScalars.contains { $0 == "\u{1b}" })
  }

  private func segments(_ house: House, _ signIns: Int) async throws {
    let folder = house.gateway.folder
    let first = folder + "/first.jsonl"
    let chain = house.scenario
    let early = try await house.admin.attempt("audit", "prune", "--chain", chain, "--through", "5")
    #expect(early.status == 1)
    #expect(early.complaint.lowercased().contains("export"), "\(early.complaint)")

    try await house.admin("audit", "export", "--out", first)
    let good = try await AdminTool.run(["audit", "verify", first])
    #expect(good.status == 0)
    #expect(good.output.hasPrefix("\(first): good, rows 1 to "), "\(good.output)")
    let text = try String(contentsOfFile: first, encoding: .utf8)
    #expect(text.split(separator: "\n").filter { $0.contains("\"kind\":\"sign-in\"") }.count == signIns)

    // One bit of one letter, anywhere between the first and the last line.
    let bytes = Array(text.utf8)
    let ends = bytes.indices.filter { bytes[$0] == 10 }
    for line in [2, ends.count / 2, ends.count - 2] {
      var flipped = bytes
      flipped[(ends[line - 1] + ends[line]) / 2] ^= 1
      let damaged = folder + "/damaged.jsonl"
      try Data(flipped).write(to: URL(fileURLWithPath: damaged))
      let bad = try await AdminTool.run(["audit", "verify", damaged])
      #expect(bad.status == 1)
      #expect(bad.output.contains("NOT GOOD"))
      #expect(bad.output.contains("line \(line + 1)"), "line \(line + 1): \(bad.output)")
    }

    let last = try #require(good.output.firstMatch(of: /rows 1 to ([0-9]+) of/)).output.1
    let pruned = try await house.admin("audit", "prune", "--chain", chain, "--through", String(last))
    #expect(pruned.contains("through \(last) were removed"))
    _ = try await house.frontEnd.signIn("nobody", "wrong")
    let second = folder + "/second.jsonl"
    try await house.admin("audit", "export", "--out", second)
    let both = try await AdminTool.run(["audit", "verify", first, second])
    #expect(both.status == 0, "\(both.output)")
    let swapped = try await AdminTool.run(["audit", "verify", second, first])
    #expect(swapped.status == 1)
  }
}
