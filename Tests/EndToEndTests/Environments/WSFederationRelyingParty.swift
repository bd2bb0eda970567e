import Foundation
import Synchronization

/// A relying party that speaks WS-Federation: `Programs/ws-federation-relying-party` on a loopback port of its own. It believes a token only after every
/// check that one of the field makes, and says why it does not.
final class WSFederationRelyingParty: Sendable {
  let name: String
  let realm: String
  let port: Int
  private let gateway: GatewayProcess
  private let log: String
  private let certificate: (certificate: String, key: String)
  private let running = Mutex<ServerProcess?>(nil)

  /// Where answers go.
  var reply: String { url + "/" }
  var url: String { "https://127.0.0.1:\(port)" }
  var protectedPageURL: String { url + "/" }
  var openPageURL: String { url + "/open" }
  /// Leads to the identity provider to sign out of everything; the session here ends when that says so.
  var signOutURL: String { url + "/sign-out" }
  var logTail: String { String((running.withLock { $0 }?.logText ?? "").suffix(3000)) }

  /// Finds a port and makes its certificate; `start` starts it. It believes the gateway's public authority.
  init(name: String, scenario: String, gateway: GatewayProcess) async throws {
    self.name = name
    self.gateway = gateway
    realm = "urn:\(scenario):\(name)"
    port = try BuiltProgram.freePort()
    log = try BuiltProgram.log(scenario, name)
    certificate = try await TestCertificates.shared.value.issue(
      "\(name)-\(port)", commonName: "127.0.0.1", alternativeName: "IP:127.0.0.1,DNS:localhost")
  }

  func start() async throws {
    let process = try await ServerProcess.start(
      "/usr/bin/python3",
      [
        BuiltProgram.repository + "/Tests/EndToEndTests/Programs/ws-federation-relying-party", "--port", "\(port)", "--certificate",
        certificate.certificate, "--key", certificate.key, "--realm", realm, "--metadata",
        gateway.url + "/FederationMetadata/2007-06/FederationMetadata.xml", "--authority", gateway.folder + "/tls/ca.pem",
      ], log: log)
    guard await eventually(within: .seconds(15), { !process.isRunning || process.logText.contains("READY") }), process.isRunning else {
      await process.crash()
      throw ServerProcess.Failure(description: "\(name) did not start: \(process.logText.suffix(3000))")
    }
    running.withLock { $0 = process }
  }

  func stop() async { await running.withLock { $0 }?.stop(patience: .seconds(3)) }

  /// `gatehouse rp add` with what an administrator is told by its owner: where answers go, and whither it leads who has signed out.
  func register(at admin: AdminTool, _ options: [String] = ["--preset", "ws-federation"]) async throws {
    let outcome = try await admin.attempt(["rp", "add", "--name", name, "--realm", realm, "--reply", reply, "--reply", openPageURL] + options)
    guard outcome.status == 0 else { throw ServerProcess.Failure(description: "\(name) was not registered: \(outcome.complaint)") }
  }

  /// Asks for a sign-in whether or not there is a session; `parameters` stand in place of what it sends by itself, `without` is left out.
  func signInURL(_ parameters: [(name: String, value: String)] = [], without: [String] = []) -> String {
    url + "/sign-in?" + CookieBrowser.encoded(parameters + without.map { (name: "without", value: $0) })
  }

  /// Has it read the metadata of its identity provider again; answers how many keys it believes since.
  func refresh() async throws -> Int {
    let page = try await CookieBrowser().request(url + "/refresh")
    guard let count = page.body.firstMatch(of: /<p>(\d+) keys/).flatMap({ Int($0.output.1) }) else {
      throw ServerProcess.Failure(description: "\(name) read no metadata: \(page.status) \(page.body)\n\(logTail)")
    }
    return count
  }

  /// Why it did not believe what was brought; nil where it did not refuse.
  static func refusal(in page: String) -> String? {
    page.firstMatch(of: #/<p id="reason">([^<]*)/#).map { HTMLScan.unescaped(String($0.output.1)) }
  }

  /// A claim of the presets, by the last part of its name.
  static func claim(_ name: String) -> String { "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/\(name)" }
}
