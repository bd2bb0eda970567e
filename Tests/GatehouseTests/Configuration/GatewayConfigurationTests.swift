import Bytes
import Logging
import SignIn
import Testing

@testable import gatehouse

@Suite("A gateway's configuration")
struct GatewayConfigurationTests {
  @Test("has a default for everything but addresses, names and certificate")
  func defaults() throws {
    let configuration = try Samples.readGateway(Samples.gateway)
    #expect(configuration.node == "gateway1")
    #expect(configuration.publicURL.text == "https://sign-in.contoso.com")
    #expect(configuration.storeFile == "/var/lib/gatehouse/gatehouse.sqlite")
    #expect(configuration.masterKeyFile == "/var/lib/gatehouse/master.key")
    #expect(configuration.adminSocket == "/var/lib/gatehouse/admin.sock")
    #expect(configuration.publicListener.certificateFile == "/etc/gatehouse/public.pem", "relative paths count from the file's folder")
    #expect(configuration.mutualTLSListener.url.text == "https://agents.contoso.com:8444")
    #expect(configuration.operationsAddress.description == "127.0.0.1:9443")
    #expect(configuration.limits.headerBlock == 16 << 10)
    #expect(configuration.limits.body == 8 << 10)
    #expect(configuration.limits.readTimeout == .seconds(10))
    #expect(configuration.limits.idleTimeout == .seconds(30))
    #expect(configuration.signInDeadline == .seconds(8))
    #expect(configuration.auditDiskReserve == 64 << 20)
    #expect(configuration.log == LogConfiguration(level: .info, format: .json))
    #expect(configuration.shutdownGrace == .seconds(10))
    #expect(configuration.publicListener.minimumTLS == .tls12)
  }

  @Test("takes what the file says over its defaults")
  func given() throws {
    let configuration = try Samples.readGateway(
      Samples.gateway.replacing("8443\n", with: "8443\n    minimumTLS: \"1.3\"\n    proxyProtocol: true\n    trustedProxies: [10.0.0.0/8, \"::1\"]\n")
        + """
        node: gw-2
        dataDirectory: state
        limits: {headerBlock: 32kB, connections: 100, connectionsPerAddress: 10}
        lockout: {threshold: 3, firstLock: 90s}
        signingKeys: {pkcs11: {module: /usr/lib/hsm.so, token: gatehouse, pinFile: token.pin}}
        audit: {diskReserve: 1GB}
        log: {level: debug, format: text}
        shutdown: {grace: 0s}
        """)
    #expect(configuration.node == "gw-2")
    #expect(configuration.dataDirectory == "/etc/gatehouse/state")
    #expect(configuration.storeFile == "/etc/gatehouse/state/gatehouse.sqlite", "what lies in the data folder moves with it")
    #expect(configuration.publicListener.trustedProxies.map(\.prefixLength) == [8, 128])
    #expect(configuration.publicListener.proxyProtocol)
    #expect(configuration.publicListener.minimumTLS == .tls13)
    #expect(configuration.lockout.threshold == 3)
    #expect(configuration.lockout.firstLock == .seconds(90))
    #expect(
      configuration.signingToken
        == SigningTokenConfiguration(module: "/usr/lib/hsm.so", token: "gatehouse", pinFile: "/etc/gatehouse/token.pin"))
    #expect(configuration.auditDiskReserve == 1 << 30)
    #expect(configuration.log == LogConfiguration(level: .debug, format: .text))
    #expect(configuration.shutdownGrace == .zero)
  }

  /// A change to the complete sample, and the lines that it must lead to.
  struct Mistake: CustomTestStringConvertible, Sendable {
    var name: String
    var change: @Sendable (String) -> String
    var problems: [String]
    var testDescription: String { name }
  }

  static let mistakes: [Mistake] = [
    Mistake(
      name: "a token without module and PIN", change: { $0 + "signingKeys: {pkcs11: {token: \"gatehouse \", pin: 4711}}\n" },
      problems: [
        "line 10: signingKeys.pkcs11.module: The key is missing. Name the token's PKCS #11 module, such as libsofthsm2.so.",
        "line 10: signingKeys.pkcs11.token: `gatehouse ` does not fit. It must be a token's label of 1 to 32 bytes, without blanks at its end, or its serial number.",
        "line 10: signingKeys.pkcs11.pinFile: The key is missing. Name a file with mode 0600 whose only line is the user PIN.",
        "line 10: signingKeys.pkcs11.pin: The key is not known here. Known here: module, pinFile, token.",
      ]),
    Mistake(
      name: "a missing key", change: { $0.replacing("publicURL: https://sign-in.contoso.com\n", with: "") },
      problems: ["publicURL: The key is missing. Write the https address under which front-ends reach this gateway."]),
    Mistake(
      name: "a key without value", change: { $0.replacing("publicURL: https://sign-in.contoso.com", with: "publicURL:") },
      problems: [
        "line 1: publicURL: The key has no value. It must be an https address without user, path and query, such as `https://sign-in.contoso.com`; or leave the key out."
      ]),
    Mistake(
      name: "http instead of https", change: { $0.replacing("https://sign-in", with: "http://sign-in") },
      problems: [
        "line 1: publicURL: `http://sign-in.contoso.com` does not fit. It must be an https address without user, path and query, such as `https://sign-in.contoso.com`."
      ]),
    Mistake(
      name: "a slip in a key", change: { $0.replacing("certificate: public.pem", with: "certificat: public.pem") },
      problems: [
        "line 3: listeners.public.certificate: The key is missing. Name the PEM file with the certificate chain, leaf first.",
        "line 5: listeners.public.certificat: The key is not known here. Write `certificate` if you meant that.",
      ]),
    Mistake(
      name: "a key from nowhere", change: { $0 + "signIn:\n  zebra: 1\n" },
      problems: ["line 11: signIn.zebra: The key is not known here. Known here: deadline."]),
    Mistake(
      name: "a number without unit", change: { $0 + "signIn: {deadline: 8}\n" },
      problems: ["line 10: signIn.deadline: `8` does not fit. It must be a length of time with its unit (ms, s, m, h, d) from 1s to 30s."]),
    Mistake(
      name: "a value out of range", change: { $0 + "signIn: {deadline: 1h}\n" },
      problems: ["line 10: signIn.deadline: `1h` does not fit. It must be a length of time with its unit (ms, s, m, h, d) from 1s to 30s."]),
    Mistake(
      name: "a word instead of a number", change: { $0 + "limits:\n  connections: many\n" },
      problems: ["line 11: limits.connections: `many` does not fit. It must be a whole number from 16 to 100000."]),
    Mistake(
      name: "yes instead of true", change: { $0.replacing("8443\n", with: "8443\n    proxyProtocol: yes\n") },
      problems: ["line 5: listeners.public.proxyProtocol: `yes` does not fit. It must be `true` or `false`."]),
    Mistake(
      name: "a list where one value is wanted", change: { $0.replacing("0.0.0.0:8443", with: "[0.0.0.0, 8443]") },
      problems: [
        "line 4: listeners.public.address: A list stands where one value is wanted. It must be an IP address and a port, `0.0.0.0:8443` or `[::]:8443`."
      ]),
    Mistake(
      name: "a section where one value is wanted", change: { $0 + "node:\n  name: x\n" },
      problems: ["line 10: node: A section stands where one value is wanted. It must be a name of 1 to 64 letters, digits, `.`, `_` and `-`."]),
    Mistake(
      name: "one value where a section is wanted", change: { $0 + "log: debug\n" },
      problems: ["line 10: log: A section is wanted. Write its keys below it, two blanks further in."]),
    Mistake(
      name: "one value where a list is wanted", change: { $0.replacing("[agents.contoso.com]", with: "agents.contoso.com") },
      problems: ["line 9: listeners.mutualTLS.names: A list is wanted. Write `names: [first, second]`, or one member a line behind `- `."]),
    Mistake(
      name: "an empty list", change: { $0.replacing("[agents.contoso.com]", with: "[]") },
      problems: ["line 9: listeners.mutualTLS.names: The list has 0 members. Give it 1 to 32, or leave the key out."]),
    Mistake(
      name: "a member twice", change: { $0.replacing("[agents.contoso.com]", with: "[a.test, A.test]") },
      problems: ["line 9: listeners.mutualTLS.names[1]: The list has this member twice. Remove one of them."]),
    Mistake(
      name: "a prefix with bits behind it", change: { $0.replacing("8443\n", with: "8443\n    trustedProxies: [10.0.0.1/8]\n") },
      problems: [
        "line 5: listeners.public.trustedProxies[0]: `10.0.0.1/8` does not fit. It must be an IP address or a block of them such as `10.0.0.0/8`, with no bit set behind the prefix."
      ]),
    Mistake(
      name: "PROXY protocol believed from nobody", change: { $0.replacing("8443\n", with: "8443\n    proxyProtocol: true\n") },
      problems: [
        "line 5: listeners.public.proxyProtocol: PROXY protocol without trustedProxies would be believed from nobody. List the proxies' addresses."
      ]),
    Mistake(
      name: "two listeners on one address", change: { $0.replacing("0.0.0.0:8444", with: "0.0.0.0:8443") },
      problems: ["line 7: listeners.mutualTLS: The address 0.0.0.0:8443 is that of listeners.public. Give each listener an address of its own."]),
    Mistake(
      name: "a URL that the certificate would not bear", change: { $0.replacing("    names:", with: "    url: https://other.test:8444\n    names:") },
      problems: [
        "line 9: listeners.mutualTLS.url: Its host `other.test` is not among `names`, so no agent would accept the certificate. Add it to `names`."
      ]),
    Mistake(
      name: "a webhook without a URL, a command that is no absolute path, and a repetition that is none",
      change: { $0 + "alarms:\n  webhook: {secretFile: s}\n  command: tell me\n  repeat: 1s\n" },
      problems: [
        "line 11: alarms.webhook.url: The key is missing. Write the https address of what receives alarms, or leave `webhook` out.",
        "line 12: alarms.command: `tell me` does not fit. It must be an absolute path without control characters, such as `/usr/local/bin/tell`; arguments belong into a script.",
        "line 13: alarms.repeat: `1s` does not fit. It must be a length of time with its unit (ms, s, m, h, d) from 10s to 30d.",
      ]),
    Mistake(
      name: "a webhook in clear text, and its secret in this file",
      change: { $0 + "alarms:\n  webhook: {url: \"http://alarms.test/hook\", secret: hush}\n" },
      problems: [
        "line 11: alarms.webhook.url: `http://alarms.test/hook` does not fit. It must be an https URL without user name and fragment (http is taken for localhost).",
        "line 11: alarms.webhook.secret: Secrets never stand in this file. Put the secret into a file of its own with mode 0600 and name that file, for a service account with `passwordFile`.",
      ]),
    Mistake(
      name: "a first lock longer than the longest", change: { $0 + "lockout: {firstLock: 2h}\n" },
      problems: ["line 10: lockout.firstLock: The first lock (2h) is longer than the longest (30m). Set firstLock to at most longestLock."]),
    Mistake(
      name: "more connections for one address than in all", change: { $0 + "limits: {connections: 16}\n" },
      problems: ["line 10: limits.connections: One address may hold more connections (512) than there are (16). Set connectionsPerAddress to less."]),
    Mistake(
      name: "a secret in the file", change: { $0 + "admin:\n  password: hunter2\n" },
      problems: [
        "line 11: admin.password: Secrets never stand in this file. Put the secret into a file of its own with mode 0600 and name that file, for a service account with `passwordFile`."
      ]),
    Mistake(
      name: "a socket path that no socket can have", change: { $0 + "admin: {socket: /\(String(repeating: "s", count: 107))}\n" },
      problems: [
        "line 10: admin.socket: The path of the admin socket has more than 107 bytes. Name a shorter one, such as /run/gatehouse/admin.sock."
      ]),
    Mistake(
      name: "many mistakes at once, told in the order of their lines",
      change: { $0.replacing("https://sign-in.contoso.com", with: "nowhere").replacing(":8444", with: "") + "lockout: {treshold: 3}\nnoode: x\n" },
      problems: [
        "line 1: publicURL: `nowhere` does not fit. It must be an https address without user, path and query, such as `https://sign-in.contoso.com`.",
        "line 8: listeners.mutualTLS.address: `0.0.0.0` does not fit. It must be an IP address and a port, `0.0.0.0:8443` or `[::]:8443`.",
        "line 10: lockout.treshold: The key is not known here. Write `threshold` if you meant that.",
        "line 11: noode: The key is not known here. Write `node` if you meant that.",
      ]),
  ]

  @Test("tells every mistake with its place and what to do", arguments: mistakes)
  func told(mistake: Mistake) {
    #expect(Samples.problems { try Samples.readGateway(mistake.change(Samples.gateway)) } == mistake.problems)
  }

  @Test("never repeats what stands behind a key that looks like a secret")
  func secretsStayUntold() {
    for key in ["password", "bindPassword", "apiKey", "clientSecret", "TOKEN"] {
      let problems = Samples.problems { try Samples.readGateway(Samples.gateway + "\(key): hunter2\n") }
      #expect(problems.count == 1)
      #expect(problems.allSatisfy { !$0.contains("hunter2") && $0.contains("Secrets never stand in this file") })
    }
  }
}
