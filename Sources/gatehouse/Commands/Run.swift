import AgentLink
import ArgumentParser
import Bytes
import Foundation
import Identity
import PassThrough
import SignIn

/// Runs a gateway node.
struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a gateway node.",
    discussion: "SIGTERM ends it gracefully: /readyz fails first, requests under way are answered. SIGHUP reloads the public certificate.")
  @Option(name: .long, help: "The gateway's configuration file (see deploy/config/gateway.yaml).") var config: String

  func run() async throws {
    let configuration = try ConfigurationFiles.gateway(at: config)
    let problems = configuration.problemsOfFiles(now: wallClock())
    guard problems.isEmpty else { throw ConfigurationError(file: config, problems: problems) }
    Logs.start(configuration.log)
    // Sockets and files are for this user only from the first instant on.
    umask(0o077)
    try await GatewayAssembly(configuration, file: config).run()
  }
}

/// The agent, at the customer's site.
struct Agent: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The agent: enrol it once, then run it beside the directory.", subcommands: [Enrol.self, Run.self])

  struct Enrol: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Enrol this agent with a one-time token from `gatehouse agents token`.",
      discussion: "Makes the agent's keys here, and keeps them with the certificate in dataDirectory/identity.json (mode 0600).")
    @Option(name: .long, help: "The agent's configuration file (see deploy/config/agent.yaml).") var config: String
    @Option(name: .long, help: "The token; or - to read it from standard input, so that it stands in no process list.") var token: String
    @Option(name: .long, help: "The name to propose; default: the configuration's, else the host's.") var name: String?
    @Flag(name: .long, help: "Replace an identity that exists.") var replace = false

    func run() async throws {
      let configuration = try ConfigurationFiles.agent(at: config)
      let file = AgentIdentityFile(path: configuration.identityFile)
      if !replace, let known = try file.load() {
        throw StartProblem("This agent is enrolled as \(known.name) already (\(file.path)). To enrol it anew, add --replace.")
      }
      let text = token == "-" ? readLine() ?? "" : token
      let parsed = try EnrolmentToken(text)
      let proxy = configuration.proxy.map { HTTPGatewayConnection.Proxy(host: $0.host, port: $0.port) }
      let proposed = name ?? configuration.name ?? ProcessInfo.processInfo.hostName
      umask(0o077)
      do {
        let identity = try await Enroller.enrol(token: parsed, name: proposed, proxy: proxy, now: wallClock())
        try file.save(identity)
        print(
          "Enrolled as \(identity.name) for \(identity.realms.map(\.text).joined(separator: ", ")); the certificate is good until "
            + "\(shown(identity.notAfter)) UTC and renews itself."
        )
        print("Now run: gatehouse agent run --config \(config)")
      } catch let fault as GatewayFault {
        throw StartProblem("The gateway at \(parsed.url) did not enrol this agent: \(fault.message)")
      } catch let problem as AgentIdentityFile.Problem {
        throw problem
      } catch {
        throw StartProblem(
          "Enrolment at \(parsed.url) failed: \(error). Check that this host reaches that address (proxy: "
            + "\(proxy.map { "\($0.host):\($0.port)" } ?? "none"))."
        )
      }
    }
  }

  struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run the agent.", discussion: "SIGTERM ends it gracefully: what it has been asked is answered first.")
    @Option(name: .long, help: "The agent's configuration file.") var config: String

    func run() async throws {
      let configuration = try ConfigurationFiles.agent(at: config)
      let problems = configuration.problemsOfFiles(now: wallClock())
      guard problems.isEmpty else { throw ConfigurationError(file: config, problems: problems) }
      Logs.start(configuration.log)
      umask(0o077)
      try await AgentAssembly(configuration).run()
    }
  }
}

/// Looks a configuration file over without starting anything.
struct Check: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a configuration file, and the files that it names, without starting.",
    discussion: "Tells everything that is wrong, with path and remedy, and exits with 1. With --online an agent's directories are asked too.")
  @Option(name: .long, help: "The configuration file, of a gateway or of an agent.") var config: String
  @Flag(name: .long, help: "Connect to the directories, verify their certificates and log the service account on, once.") var online = false
  @Flag(name: .long, help: "Print JSON for programs.") var json = false

  private struct Report: Encodable {
    struct Problem: Encodable {
      var path: String
      var line: Int?
      var problem: String
      var remedy: String
    }
    var file: String
    var kind: String?
    var problems: [Problem]
    /// What a good configuration means that is not plain from its words.
    var notes: [String] = []
  }

  /// What the lockout lets through to the directory, to be held against the directory's own threshold.
  private func notes(_ kind: ConfigurationKind) throws -> [String] {
    guard kind == .gateway else { return [] }
    let policy = try ConfigurationFiles.gateway(at: config).lockout
    return [
      "At most \(policy.mostFailures(within: policy.window)) wrong passwords of one user reach the directory within \(describe(policy.window)). Keep "
        + "the directory's own lockout threshold above that, or lower lockout.threshold: else guessing here locks accounts there."
    ]
  }

  func run() async throws {
    do {
      let kind = try ConfigurationFiles.check(at: config, now: wallClock())
      var problems: [Report.Problem] = []
      if online, kind == .agent {
        for realm in try ConfigurationFiles.agent(at: config).realms {
          if let problem = await AgentAssembly.firstProblem(of: realm) {
            problems.append(
              .init(path: "realms.\(realm.realm)", line: nil, problem: problem, remedy: "Look at the realm's servers, caFile and service."))
          }
        }
      }
      if json {
        try printJSON(Report(file: config, kind: kind.rawValue, problems: problems, notes: try notes(kind)))
      } else if problems.isEmpty {
        print("\(config): a good \(kind.rawValue) configuration\(online ? "; the directories answer" : "").")
        for note in try notes(kind) { print(note) }
      } else {
        for problem in problems { print("\(problem.path): \(problem.problem). \(problem.remedy)") }
      }
      if !problems.isEmpty { throw ExitCode(1) }
    } catch let error as ConfigurationError {
      guard json else { throw error }
      try printJSON(
        Report(
          file: config, kind: nil,
          problems: error.problems.map { .init(path: $0.path, line: $0.line, problem: $0.message, remedy: $0.remedy) }))
      throw ExitCode(1)
    }
  }
}
