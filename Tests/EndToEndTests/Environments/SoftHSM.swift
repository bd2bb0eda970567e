import Foundation

/// A token of SoftHSM2 in a folder of its own, for one gateway.
struct SoftHSM: Sendable {
  let folder: String
  private static let module = "/usr/lib/softhsm/libsofthsm2.so"
  private static let pin = "4711"

  /// Makes and initialises the token.
  init() async throws {
    folder = try BuiltProgram.folder("softhsm")
    try FileManager.default.createDirectory(atPath: folder + "/tokens", withIntermediateDirectories: true)
    let settings = "directories.tokendir = \(folder)/tokens\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    try settings.write(toFile: folder + "/softhsm2.conf", atomically: true, encoding: .utf8)
    guard FileManager.default.createFile(atPath: folder + "/pin", contents: Data((Self.pin + "\n").utf8), attributes: [.posixPermissions: 0o600])
    else {
      throw ServerProcess.Failure(description: "no PIN in \(folder)")
    }
    try await LeashedProcess.run(
      "/usr/bin/softhsm2-util", ["--init-token", "--free", "--label", "gatehouse", "--so-pin", "12345678", "--pin", Self.pin],
      environment: environment)
  }

  /// For the gateway's environment.
  var environment: [String: String] { ["SOFTHSM2_CONF": folder + "/softhsm2.conf"] }

  /// For the gateway's configuration.
  var configuration: String { "signingKeys: {pkcs11: {module: \(Self.module), token: gatehouse, pinFile: \(folder)/pin}}" }

  /// Takes the token away.
  func remove() throws { try FileManager.default.moveItem(atPath: folder + "/tokens", toPath: folder + "/away") }

  func putBack() throws { try FileManager.default.moveItem(atPath: folder + "/away", toPath: folder + "/tokens") }

  /// The labels of the private keys in it, as another program sees them.
  func privateKeys() async throws -> Int {
    let text = try await LeashedProcess.run(
      "/usr/bin/pkcs11-tool",
      ["--module", Self.module, "--token-label", "gatehouse", "--login", "--pin", Self.pin, "--list-objects", "--type", "privkey"],
      environment: environment)
    return text.split(separator: "\n").count { $0.hasPrefix("Private Key Object") }
  }
}
