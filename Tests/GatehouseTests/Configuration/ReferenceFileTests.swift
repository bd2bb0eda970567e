import Foundation
import Testing

@testable import gatehouse

@Suite("The reference files in deploy/config")
struct ReferenceFileTests {
  static func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: Samples.references.appendingPathComponent(name)), as: UTF8.self)
  }

  /// The text with every commented key made active: `#key` and `#  key` are keys, `# Words` are words.
  static func everythingActive(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      let indentation = line.prefix { $0 == " " }
      let rest = line.dropFirst(indentation.count)
      guard rest.hasPrefix("#"), !(rest.hasPrefix("# ") && !rest.hasPrefix("#  ")), rest != "#" else { return String(line) }
      return String(indentation + rest.dropFirst())
    }.joined(separator: "\n")
  }

  /// The keys that a text mentions as `key:`, in comments or not.
  static func mentioned(_ text: String) -> Set<String> {
    Set(text.matches(of: /([A-Za-z0-9]+):/).map { String($0.output.1) })
  }

  @Test("are complete configurations as they stand")
  func parse() throws {
    let gateway = try Samples.readGateway(Self.text("gateway.yaml"))
    #expect(gateway.publicURL.text == "https://sign-in.contoso.com")
    let agent = try Samples.readAgent(Self.text("agent.yaml"))
    #expect(agent.realms.count == 1)
  }

  @Test("show the true default of every key of the gateway")
  func gatewayDefaults() throws {
    let text = try Self.text("gateway.yaml")
    var shown = try Samples.readGateway(Self.everythingActive(text))
    #expect(!shown.publicListener.trustedProxies.isEmpty, "the example of trusted proxies was read")
    shown.publicListener.trustedProxies = []
    #expect(
      shown.pages.logoFile != nil && shown.pages.help != nil && shown.federationAuthorityFile != nil, "the examples without a default were read")
    (shown.pages.logoFile, shown.pages.help, shown.federationAuthorityFile) = (nil, nil, nil)
    #expect(shown.signingToken?.token == "gatehouse")
    shown.signingToken = nil
    #expect(shown.alarms.webhook?.secretFile != nil && shown.alarms.webhook?.authorityFile != nil && shown.alarms.command != nil)
    (shown.alarms.webhook, shown.alarms.command) = (nil, nil)
    #expect(shown == (try Samples.readGateway(text)))
  }

  @Test("show the keys of the agent; only the alternatives contradict one another")
  func agentAlternatives() throws {
    let problems = Samples.problems { try Samples.readAgent(Self.everythingActive(Self.text("agent.yaml"))) }
    #expect(problems.count == 2)
    #expect(problems.contains { $0.contains("realms[0].srvDomain: Both `servers` and `srvDomain` are given") })
    #expect(problems.contains { $0.contains("realms[0].service: The service account is described by bindName, passwordFile, principal, keytab") })
  }

  @Test("mention every key that is known")
  func complete() throws {
    let gateway = ConfigurationFindings()
    _ = GatewayConfiguration.read(try Samples.raw(Self.text("gateway.yaml")), hostName: "g", findings: gateway)
    let gatewayKeys = Self.mentioned(try Self.text("gateway.yaml"))
    #expect(gateway.knownKeys.count > 30)
    for path in gateway.knownKeys { #expect(gatewayKeys.contains(Self.lastKey(path)), "gateway.yaml does not tell of \(path)") }
    let agent = ConfigurationFindings()
    _ = AgentConfiguration.read(try Samples.raw(Self.everythingActive(Self.text("agent.yaml"))), findings: agent)
    let agentKeys = Self.mentioned(try Self.text("agent.yaml"))
    #expect(agent.knownKeys.contains("realms[].domains[].netBIOSName"))
    for path in agent.knownKeys { #expect(agentKeys.contains(Self.lastKey(path)), "agent.yaml does not tell of \(path)") }
  }

  private static func lastKey(_ path: String) -> String {
    path.split(separator: ".").last.map { String($0).replacing("[]", with: "") } ?? path
  }
}
