import Foundation
import Synchronization
import Testing

@testable import KeyStore

/// Tokens of SoftHSM2, in a folder of this process, each test with a token and a copy of the module of its own: a module is one for a whole process, and what
/// one test does to it must not be another's.
struct SoftToken {
  let label: String
  let module: String
  let pinFile: String
  static let pin = "4711"

  /// SoftHSM finds its tokens by an environment variable, which is set once for the process.
  private static let folder: String = {
    let folder = NSTemporaryDirectory() + "gatehouse-softhsm-" + UUID().uuidString
    try? FileManager.default.createDirectory(atPath: folder + "/tokens", withIntermediateDirectories: true)
    let text = "directories.tokendir = \(folder)/tokens\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    _ = FileManager.default.createFile(atPath: folder + "/softhsm2.conf", contents: Data(text.utf8))
    setenv("SOFTHSM2_CONF", folder + "/softhsm2.conf", 1)
    removedAtExit.withLock { $0 = folder }
    atexit { SoftToken.removedAtExit.withLock { folder in if let folder { try? FileManager.default.removeItem(atPath: folder) } } }
    return folder
  }()
  private static let removedAtExit = Mutex<String?>(nil)

  private static let sharedModule = "/usr/lib/softhsm/libsofthsm2.so"

  /// - Parameter exists: false where the token is to be made later, by `make`.
  init(exists: Bool = true) throws {
    let name = UUID().uuidString
    label = String(name.prefix(18))
    module = SoftToken.folder + "/" + name + ".so"
    pinFile = SoftToken.folder + "/" + name + ".pin"
    try SoftToken.copyModule(to: module)
    try writePIN(SoftToken.pin)
    if exists { try make() }
  }

  /// With deadlines that tests can wait for.
  var settings: HardwareToken.Settings {
    var settings = HardwareToken.Settings(module: module, token: label, pinFile: pinFile)
    settings.probeInterval = .milliseconds(100)
    return settings
  }

  /// Another copy of the module, which knows nothing of what the first one does: as if in another process.
  func copyOfModule() throws -> String {
    let copy = SoftToken.folder + "/" + UUID().uuidString + ".so"
    try SoftToken.copyModule(to: copy)
    return copy
  }

  private static func copyModule(to path: String) throws {
    let shared = URL(fileURLWithPath: SoftToken.sharedModule).resolvingSymlinksInPath().path
    try FileManager.default.copyItem(atPath: shared, toPath: path)
  }

  func make() throws {
    try SoftToken.run("softhsm2-util", ["--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", SoftToken.pin])
  }

  func writePIN(_ pin: String) throws {
    try? FileManager.default.removeItem(atPath: pinFile)
    try #require(FileManager.default.createFile(atPath: pinFile, contents: Data((pin + "\n").utf8), attributes: [.posixPermissions: 0o600]))
  }

  /// Takes the token away by renaming its folder; returns what puts it back.
  func remove() throws -> () throws -> Void {
    let slots = try tool(["--list-token-slots"])
    let lines = slots.split(separator: "\n")
    let index = try #require(lines.firstIndex { $0.contains(label) })
    let line = try #require(lines[index...].first { $0.contains("serial num") })
    // The folder's name ends as the serial number does.
    let end = line.filter { !$0.isWhitespace }.suffix(12)
    let tokens = SoftToken.folder + "/tokens/"
    let name = try #require(try FileManager.default.contentsOfDirectory(atPath: tokens).first { $0.hasSuffix(end) })
    let aside = SoftToken.folder + "/away-" + name
    try FileManager.default.moveItem(atPath: tokens + name, toPath: aside)
    return { try FileManager.default.moveItem(atPath: aside, toPath: tokens + name) }
  }

  /// What OpenSC's tool says, another program with a module of its own.
  @discardableResult func tool(_ arguments: [String], fails: Bool = false) throws -> String {
    try SoftToken.run("pkcs11-tool", ["--module", SoftToken.sharedModule] + arguments, fails: fails)
  }

  func toolInside(_ arguments: [String], fails: Bool = false) throws -> String {
    try tool(["--token-label", label, "--login", "--pin", SoftToken.pin] + arguments, fails: fails)
  }

  @discardableResult static func run(_ program: String, _ arguments: [String], fails: Bool = false) throws -> String {
    _ = folder
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/" + program)
    process.arguments = arguments
    var environment = ProcessInfo.processInfo.environment
    environment["SOFTHSM2_CONF"] = folder + "/softhsm2.conf"
    process.environment = environment
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    let text = String(decoding: data, as: UTF8.self)
    if !fails { #expect(process.terminationStatus == 0, "\(program) \(arguments.joined(separator: " ")): \(text)") }
    return text
  }

  static func file(_ bytes: [UInt8]) throws -> String {
    let path = folder + "/" + UUID().uuidString
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }
}

/// Waits until something holds, for fifteen seconds at most.
func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
  for _ in 0..<300 {
    if try await condition() { return true }
    try await Task.sleep(for: .milliseconds(50))
  }
  return false
}
