import Foundation
import Testing

@Suite("The laws of the code")
struct SourceRuleTests {
  @Test("hold in every source")
  func sources() throws {
    let sources = try Repository.sources()
    #expect(sources.count > 20)
    let rules = SourceRule.all()
    let violations = sources.flatMap { file in rules.flatMap { $0.violations(in: file.text, path: file.path) } }
    #expect(violations.isEmpty)
  }

  @Test("leave no file over 400 lines")
  func lengths() throws {
    let long = try Repository.sources().filter { $0.text.utf8.count { $0 == 0x0a } > 400 }.map(\.path)
    #expect(long.isEmpty)
  }

  @Test("name only files that still need their escape from the concurrency rules, with the reason beside it")
  func escapes() throws {
    for path in SourceRule.escapes.keys.sorted() {
      guard FileManager.default.fileExists(atPath: Repository.root.appendingPathComponent(path).path) else { continue }
      let text = try Repository.text(path)
      #expect(text.contains("@unchecked Sendable") || text.contains("nonisolated(unsafe)"), "\(path) needs no place in the list any more")
      #expect(text.contains("//"), "\(path) gives no reason")
    }
  }

  @Test("put a plate on the door of every target")
  func plates() throws {
    let package = try #require(try Repository.description())
    // What lies under Tests has no door: it is nobody's to use.
    let doors = package.ownTargets.filter { $0.type != "system-target" && $0.type != "system" && $0.path?.hasPrefix("Tests/") != true }
    #expect(doors.count > 10)
    for target in doors {
      let plate = "Sources/\(target.name)/\(target.name).docc/\(target.name).md"
      let text = (try? Repository.text(plate)) ?? ""
      #expect(text.hasPrefix("# "), "\(plate) is missing or has no title")
    }
  }

  @Test("ship a contract with every store port")
  func contracts() throws {
    let sources = try Repository.sources()
    let contracts = sources.filter { Repository.target(of: $0.path) == "GatehouseTesting" }.map(\.text).joined(separator: "\n")
    let ports = sources.filter { Repository.target(of: $0.path) != "GatehouseTesting" }.flatMap { Self.ports(in: $0.text) }
    #expect(ports.contains("LockoutStore"))
    for port in ports { #expect(Self.hasContract(port, in: contracts), "\(port) has no \(port)Contract in GatehouseTesting") }
  }

  static func ports(in source: String) -> [String] {
    SourceText.withoutComments(source).matches(of: /package\s+protocol\s+(\w+(?:Store|Log))\b/).map { String($0.output.1) }
  }

  static func hasContract(_ port: String, in text: String) -> Bool { text.contains("\(port)Contract") }

  @Test("keep private keys out of the repository")
  func keys() throws {
    let listed = try #require(try Repository.output(of: "git", ["ls-files", "-z"]), "git ls-files failed")
    let paths = listed.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    #expect(paths.count > 30)
    let found = paths.filter { path in (try? Repository.text(path)).map(Self.holdsPrivateKey) ?? false }
    #expect(found.isEmpty)
  }

  static func holdsPrivateKey(_ text: String) -> Bool { text.contains(/-----BEGIN [A-Z ]*PRIVATE[ ]KEY-----/) }

  // Each rule must be able to fail.

  @Test(
    "are told from planted violations",
    arguments: [
      ("import FoundationXML", "FoundationXML"), ("let a = try! b()", "no try!"), ("let a = b as! C", "no as!"), ("fatalError(\"x\")", "no traps"),
      ("precondition(x)", "no traps"), ("Task { await a() }", "unstructured"), ("Task(priority: .high) { a() }", "unstructured"),
      ("Task<Void, Never> { a() }", "unstructured"), ("Task.detached { a() }", "unstructured"), ("DispatchSemaphore(value: 0)", "semaphores"),
      ("let now = Date()", "wall clock"), ("let now = Date.now", "wall clock"), ("final class A: @unchecked Sendable {}", "concurrency"),
      ("nonisolated(unsafe) var a = 1", "concurrency"),
    ])
  func planted(source: String, rule: String) {
    let violations = SourceRule.all().flatMap { $0.violations(in: "// first line\n" + source, path: "Sources/Planted/Planted.swift") }
    #expect(violations.count == 1)
    #expect(violations.first?.hasPrefix("Sources/Planted/Planted.swift:2: ") == true)
    #expect(violations.first?.contains(rule) == true)
  }

  @Test(
    "are not told from what only looks like one",
    arguments: [
      "group.addTask { a() }", "// try! fatalError(", "let text = \"Task { } Date() \\\" as! \"", "try await Task.sleep(for: .seconds(1))",
      "let a = \"\"\"\n  try! Date()\n  \"\"\"", "withTaskGroup { a in }", "Date(timeIntervalSince1970: 1)", "Task.isCancelled", "basin!",
    ])
  func innocent(source: String) {
    #expect(SourceRule.all().flatMap { $0.violations(in: source, path: "Sources/Planted/Planted.swift") }.isEmpty)
  }

  @Test("let the house read the wall clock, and the listed files escape")
  func exemptions() {
    func violations(_ source: String, _ path: String) -> [String] { SourceRule.all().flatMap { $0.violations(in: source, path: path) } }
    #expect(violations("let now = Date()", "Sources/gatehouse/Assembly.swift").isEmpty)
    #expect(violations("class A: @unchecked Sendable {}", "Sources/Bytes/Secret.swift").isEmpty)
    #expect(violations("class A: @unchecked Sendable {}", "Sources/Bytes/Other.swift").count == 1)
  }

  @Test("find a planted key and a port without contract")
  func plantedKey() {
    #expect(Self.holdsPrivateKey("-----BEGIN EC PRIVATE " + "KEY-----\nMHc"))
    #expect(Self.holdsPrivateKey("-----BEGIN PRIVATE " + "KEY-----\nMHc"))
    #expect(!Self.holdsPrivateKey("-----BEGIN CERTIFICATE-----"))
    #expect(Self.ports(in: "package protocol SessionStore: Sendable {}\n// package protocol OldStore {}") == ["SessionStore"])
    #expect(!Self.hasContract("SessionStore", in: "package struct LockoutStoreContract {}"))
  }
}
