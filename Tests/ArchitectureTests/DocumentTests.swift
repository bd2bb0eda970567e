import Foundation
import Testing

@Suite("The documents")
struct DocumentTests {
  static func documents() throws -> [(path: String, text: String)] {
    let paths = ["README.md", "certs/README.md"] + Repository.files(under: "docs", ending: ".md") + Repository.files(under: "Tests", ending: ".md")
    return try paths.map { ($0, try Repository.text($0)) }
  }

  /// The targets of a document's relative links that do not exist.
  static func brokenLinks(in text: String, at path: String, exists: (String) -> Bool) -> [String] {
    let folder = path.split(separator: "/").dropLast()
    return text.matches(of: /\]\(([^)\s]+)\)/).map { String($0.output.1) }.filter { link in
      guard !link.hasPrefix("https://"), !link.hasPrefix("http://"), !link.hasPrefix("#") else { return false }
      var parts = folder.map(String.init)
      for part in link.split(separator: "#", omittingEmptySubsequences: false)[0].split(separator: "/") {
        if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(String(part)) }
      }
      return !exists(parts.joined(separator: "/"))
    }.map { "\(path): \($0)" }
  }

  @Test("link to nothing that does not exist")
  func links() throws {
    let documents = try Self.documents()
    #expect(documents.count > 20)
    let broken = documents.flatMap { document in
      Self.brokenLinks(in: document.text, at: document.path) {
        FileManager.default.fileExists(atPath: Repository.root.appendingPathComponent($0).path)
      }
    }
    #expect(broken.isEmpty)
  }

  @Test("give every runbook its five headings")
  func runbooks() throws {
    let wanted = ["What you see", "How bad", "First five minutes", "Repair", "Afterwards"]
    let runbooks = try Self.documents().filter { $0.path.hasPrefix("docs/runbooks/") && !$0.path.hasSuffix("README.md") }
    #expect(runbooks.count >= 4)
    for runbook in runbooks {
      let headings = runbook.text.matches(of: /(?m)^## (.+)$/).map { String($0.output.1) }
      #expect(headings == wanted, "\(runbook.path)")
    }
  }

  @Test("tell for every alarm what to do")
  func alarms() throws {
    let codes = try Repository.text("Sources/Identity/Alarm.swift").matches(of: /case \w+ = "([a-z-]+)"/).map { String($0.output.1) }
    #expect(codes.count > 5)
    let runbooks = try Repository.text("docs/runbooks/README.md")
    for code in codes { #expect(runbooks.contains("`\(code)`"), "docs/runbooks/README.md does not tell of \(code)") }
  }

  @Test("tell for every outer code what it stands for")
  func outerCodes() throws {
    let source = try Repository.text("Sources/Identity/Verdict.swift")
    let codes = source.matches(of: /case \w+ = "([a-z]+(?:_[a-z]+)+)"/).map { String($0.output.1) }
    #expect(codes.count > 5)
    let conformance = try Repository.text("docs/conformance.md")
    for code in codes { #expect(conformance.contains("`\(code)`"), "docs/conformance.md does not tell of \(code)") }
  }

  @Test("tell for every check of a request what becomes of it, with a test")
  func requestChecks() throws {
    let source = try Repository.text("Sources/Federation/RequestChecks.swift")
    let list = source.prefix(upTo: try #require(source.range(of: "package var clause")).lowerBound)
    let checks = list.matches(of: /case \w+ = "([a-z.-]+)"/).map { String($0.output.1) }
    #expect(checks.count == 22)
    let conformance = try Repository.text("docs/conformance.md")
    for check in checks {
      let row = conformance.split(separator: "\n").first { $0.hasPrefix("| `\(check)` |") }
      #expect(row?.contains("Tests`") == true, "docs/conformance.md has no row of \(check)")
    }
  }

  @Test("name only tests that there are")
  func conformance() throws {
    let files = Set(Repository.files(under: "Tests", ending: ".swift").compactMap { $0.split(separator: "/").last.map(String.init) })
    let named = try Repository.text("docs/conformance.md").matches(of: /`(\w+Tests)`/).map { String($0.output.1) }
    #expect(named.count > 10)
    let missing = Set(named).filter { !files.contains($0 + ".swift") }
    #expect(missing.isEmpty)
  }

  @Test("are found wanting where a link is broken")
  func plantedLink() {
    let text = "[good](../a.md#part) [bad](b.md) [web](https://x.test/) [here](#part)"
    #expect(Self.brokenLinks(in: text, at: "docs/flows/x.md") { $0 == "docs/a.md" } == ["docs/flows/x.md: b.md"])
  }
}
