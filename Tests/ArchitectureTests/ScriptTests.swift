import Foundation
import Testing

@Suite("The scripts")
struct ScriptTests {
  static let programs = ["Tests/run", ".ci/run", "certs/generate", "deploy/quickstart", "deploy/sample-domain"]

  @Test("can be run, stop at the first error, and are free of slips in syntax", arguments: programs)
  func runnable(path: String) throws {
    let text = try Repository.text(path)
    #expect(FileManager.default.isExecutableFile(atPath: Repository.root.appendingPathComponent(path).path), "chmod +x \(path)")
    #expect(text.hasPrefix("#!"))
    #expect(text.contains("set -euo pipefail"))
    #expect(try Repository.output(of: "bash", ["-n", path]) != nil, "bash -n \(path)")
  }

  @Test("that are sourced are free of slips in syntax")
  func sourced() throws {
    #expect(try Repository.output(of: "bash", ["-n", "deploy/packages"]) != nil)
  }

  @Test("tell how they are used", arguments: ["Tests/run", "deploy/quickstart", "deploy/sample-domain", "certs/generate"])
  func help(path: String) throws {
    let output = try #require(try Repository.output(of: "bash", [path, "--help"]))
    #expect(output.count > 60)
  }

  @Test("that people are told to run exist")
  func readme() throws {
    let readme = try Repository.text("README.md")
    let commands = readme.matches(of: /(?m)^\.\/(\S+)/).map { String($0.output.1) }
    #expect(commands == ["deploy/quickstart", "Tests/run"])
    for command in commands { #expect(FileManager.default.isExecutableFile(atPath: Repository.root.appendingPathComponent(command).path)) }
  }
}
