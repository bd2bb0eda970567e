import Foundation
import Testing

@Suite("The rings")
struct RingTests {
  /// What every target may import.
  static let everywhere: Set<String> = ["Swift", "Foundation", "FoundationEssentials", "Glibc", "Synchronization"]

  @Test("hold in the table of docs/architecture.md itself")
  func table() throws {
    let map = HouseMap(markdown: try Repository.text("docs/architecture.md"))
    #expect(map.rows.count >= 14)
    #expect(map.problems().isEmpty)
  }

  @Test("hold in the package's description: no dependency that the table does not have")
  func dependencies() throws {
    let map = HouseMap(markdown: try Repository.text("docs/architecture.md"))
    let package = try #require(try Repository.description(), "swift package dump-package failed")
    #expect(package.ownTargets.count >= 13)
    let edges = package.ownTargets.flatMap { target in target.dependencies.map { (from: target.name, to: $0.name) } }
    #expect(map.violations(of: edges).isEmpty)
    let unmapped = package.ownTargets.map(\.name).filter { map.row($0) == nil }
    #expect(unmapped.isEmpty, "targets without a row in docs/architecture.md")
  }

  @Test("hold in the sources: no import that the table does not have")
  func imports() throws {
    let map = HouseMap(markdown: try Repository.text("docs/architecture.md"))
    let edges = try Repository.sources().flatMap { file in
      SourceText.imports(of: file.text).map { (from: Repository.target(of: file.path), to: $0) }
    }
    #expect(edges.count > 50)
    #expect(Set(map.violations(of: edges, ignoring: Self.everywhere)).isEmpty)
  }

  @Test(
    "are told from a bad table",
    arguments: [
      ("| A | core | x | B | – |\n| B | room | x | – | – |", "A (core) may not know B (room)"),
      ("| A | room | x | B | – |\n| B | room | x | – | – |", "A (room) may not know B (room)"),
      ("| A | room | x | B | – |\n| B | door | x | – | – |", "A (room) may not know B (door)"),
      ("| A | room | x | B | – |\n| B | shim | x | – | – |", "A (room) may not know B (shim)"),
      ("| A | core | x | B | – |\n| B | shim | x | – | – |", "A (core) may not know B (shim)"),
      ("| Cryptography | core | x | B | – |\n| B | shim | x | – | – |", "Cryptography (core) may not know B (shim)"),
      ("| A | door | x | B | – |\n| B | door | x | – | – |", "A (door) may not know B (door)"),
      ("| A | door | x | B | – |\n| B | house | x | – | – |", "A (door) may not know B (house)"),
      ("| A | driver | x | B | – |\n| B | core | x | – | – |", "A (driver) may not know B (core)"),
      ("| A | core | x | – | – |\n| A | core | x | – | – |", "a target has two rows"),
    ])
  func badTable(table: String, problem: String) {
    #expect(HouseMap(markdown: table).problems() == [problem])
  }

  @Test("are told from an edge that is not in the table, and from a target that has no row")
  func badEdge() {
    let map = HouseMap(markdown: "| A | core | x | B | C |\n| B | core | x | – | – |")
    #expect(map.violations(of: [("A", "B"), ("A", "C"), ("A", "Foundation")], ignoring: ["Foundation"]).isEmpty)
    #expect(map.violations(of: [("B", "A"), ("X", "A")]) == ["B → A is not in docs/architecture.md", "X has no row in docs/architecture.md"])
  }

  @Test("see every form of import and no import in comments and texts")
  func importForms() {
    let source = """
      import A
        package import B
      @testable import C
      @_spi(X) public import struct D.E
      // import F
      /* import G
         import H */
      let text = "import I"
      let important = 1
      """
    #expect(SourceText.imports(of: source) == ["A", "B", "C", "D"])
  }
}
