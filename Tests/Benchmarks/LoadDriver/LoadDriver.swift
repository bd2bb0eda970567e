import ArgumentParser
import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A load driver for sign-ins, with an oracle that knows every right password.
@main
struct LoadDriver: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Sends sign-ins and judges the answers by what it knows of every person.", subcommands: [Run.self, Compare.self],
    defaultSubcommand: Run.self)
}

// Of the file, since a signal's handler may capture nothing.
private let interruptionAsked = Atomic<Bool>(false)

/// Whether somebody asked the run to end early: it then stops asking and still tells what came of it.
enum Interruption {
  static var isAsked: Bool { interruptionAsked.load(ordering: .relaxed) }
  static func listen() {
    for number in [SIGINT, SIGTERM] { signal(number) { _ in interruptionAsked.store(true, ordering: .relaxed) } }
  }
}

/// Prints a line at once, also into a pipe.
private func tell(_ line: String) { try? FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8)) }

extension LoadDriver {
  struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "One run against a gateway, or with --raw-bind straight against its directory.",
      discussion: """
        Example: LoadDriver --url https://localhost:8443 --ca tls/ca.pem --key front-end.curl --people people.tsv --realm contoso.com --rate 2000

        With --rate the loop is open: attempts are due by a Poisson schedule, whatever the answers do, and latency counts from when they were due.
        Exit status 1: a wrong yes, a wrong no, or an acknowledged verdict that the audit does not have. 2: no verdicts, or answers nobody expects.
        """)

    @Option(help: "The gateway's public listener.") var url: String?
    @Option(name: .customLong("raw-bind"), help: "ldap:// or ldaps:// of a directory to bind at instead.") var rawBind: String?
    @Option(help: "PEM file of the CA that vouches for the server.") var ca: String?
    @Option(help: "File with the front-end's API key, alone or behind \"Bearer\" as in front-end.curl.") var key: String?
    @Option(name: .customLong("ws-trust"), help: "Ask for tokens here instead, by user name and password: /adfs/services/trust/2005/usernamemixed")
    var trust: String?
    @Option(help: "For --ws-trust: the relying party that the tokens are for.") var audience: String?
    @Option(help: "File of name TAB password.") var people: String
    @Option(help: "Take so many people from the file.") var users: Int?
    @Option(help: "Stands behind the @ of names that have none.") var realm: String?
    @Option(name: .customLong("bind-name"), help: "For --raw-bind: the name that is bound, with {name} for the person's.") var bindName: String?
    @Option(help: "Attempts a second (open loop).") var rate: Double?
    @Option(help: "So many attempts at a time, each after an answer (closed loop), for the highest rate.") var closed: Int?
    @Option(help: "Shares of right and wrong passwords and of unknown names.") var mix = "right=85,wrong=10,unknown=5"
    @Option(
      help: """
        Besides, one who guesses: guesses=1000000,users=5000,rate=1000,addresses=1000. The run ends with the guesses. networks=500 spreads the \
        addresses over so many /24; sharing=1 tries each password with so many people only; first=100 leaves the first hundred alone, and nobody else \
        is honest then.
        """) var spray: String?
    @Option(help: "Connections at most. All are opened before the run.") var connections: Int?
    @Option(help: "Seconds; 30 where there is no spray, and as long as that takes where there is one.") var duration: Double?
    @Option(name: .customLong("warm-up"), help: "The first seconds of it, whose latencies are not counted.") var warmUp = 2.0
    @Option(help: "Seconds after which an answer is no longer awaited.") var timeout = 15.0
    @Option(help: "What comes and when is the same for the same seed.") var seed: UInt64 = 1
    @Option(help: "A line of progress each so many seconds.") var every = 0.0
    @Option(help: "File for what was acknowledged: a line of reference TAB verdict each.") var ledger: String?
    @Option(help: "The gatehouse program: after the run the ledger is compared with its audit.") var gatehouse: String?
    @Option(help: "The gateway's admin socket, for --gatehouse.") var socket: String?
    @Flag(help: "Print JSON, a line each.") var json = false

    func validate() throws {
      guard (url == nil) != (rawBind == nil) else { throw ValidationError("Give either --url or --raw-bind.") }
      guard (rate == nil) != (closed == nil) else { throw ValidationError("Give either --rate or --closed.") }
      if let rate, !(rate > 0 && rate < 1e6) { throw ValidationError("--rate must be between 0 and a million.") }
      if let closed, !(1...10_000).contains(closed) { throw ValidationError("--closed must be between 1 and 10000.") }
      if let connections, !(1...10_000).contains(connections) { throw ValidationError("--connections must be between 1 and 10000.") }
      guard [length, warmUp, timeout, every].allSatisfy({ $0 >= 0 && $0 < 1e6 }) else { throw ValidationError("That is no length of time.") }
      guard Mix(mix) != nil else { throw ValidationError("--mix is like right=85,wrong=10,unknown=5.") }
      if let spray, Spray.Plan(spray) == nil { throw ValidationError("--spray is like guesses=1000000,users=5000,rate=1000,addresses=1000.") }
      if rawBind != nil, spray != nil { throw ValidationError("--spray goes to a gateway.") }
      guard (trust == nil) == (audience == nil) else { throw ValidationError("--ws-trust and --audience belong together.") }
      if url != nil, trust == nil, key == nil { throw ValidationError("--url needs --key.") }
      if trust != nil, ledger != nil || gatehouse != nil {
        throw ValidationError("Who asks by --ws-trust is told no references: there is no ledger.")
      }
      guard (gatehouse == nil) == (socket == nil) else { throw ValidationError("--gatehouse and --socket belong together.") }
    }

    func run() throws {
      Interruption.listen()
      let people = try People(text: String(contentsOfFile: people, encoding: .utf8), realm: realm, bindName: bindName, limit: users)
      guard let mix = Mix(mix) else { return }
      var report = try rawBind.map { try bind($0, people, mix) } ?? signIn(people, mix)
      report.driverCPUSeconds = Report.ownCPUSeconds
      tell(json ? report.json : report.text)
      if report.isBad { throw ExitCode(1) }
      if report.isVoid { throw ExitCode(2) }
    }

    private func bind(_ uri: String, _ people: People, _ mix: Mix) throws -> Report {
      let connections = connections ?? closed ?? 8
      let outcome = RawBind(
        settings: RawBind.Settings(
          uri: uri, authorityFile: ca, connections: connections, rate: rate, duration: nanoseconds(length), warmUp: nanoseconds(warmUp), seed: seed),
        people: people, mix: mix
      ).run()
      let seconds = max(0, Double(outcome.elapsed) / 1e9 - warmUp)
      return Report(
        target: uri, seed: seed, mix: mix.description, connections: connections, seconds: seconds,
        parts: [Report.Part(name: "binds", offered: rate, seconds: seconds, tally: outcome.tally, groups: people.groups)],
        connectionFaults: outcome.faults, driverCPUSeconds: 0)
    }

    private func signIn(_ people: People, _ mix: Mix) throws -> Report {
      guard let url, let address = URLComponents(string: url), address.scheme == "https", let host = address.host else {
        throw DriverProblem("--url is like https://localhost:8443")
      }
      var tls = TLSConfiguration.makeClientConfiguration()
      if let ca { tls.trustRoots = .file(ca) }
      let connections = connections ?? closed ?? 128
      let port = address.port ?? 443
      let request = try trust.map { path in
        guard let request = TrustRequest(path: path, host: host, port: port, audience: audience ?? "") else {
          throw DriverProblem("--ws-trust is like /adfs/services/trust/2005/usernamemixed")
        }
        return request
      }
      let settings = SignInEngine.Settings(
        host: host, port: port, tls: try NIOSSLContext(configuration: tls), key: try key.map(Run.apiKey) ?? "", trust: request,
        connections: connections,
        timeout: nanoseconds(timeout), duration: nanoseconds(length), warmUp: nanoseconds(warmUp), every: nanoseconds(every), seed: seed)
      let plan = spray.flatMap(Spray.Plan.init)
      let honest = plan.flatMap { $0.first > 0 ? $0.first : nil }
      var streams = [
        SignInEngine.Stream(
          name: "sign-ins", pace: rate.map { .open(rate: $0) } ?? .closed(connections: closed ?? 1),
          source: HonestPeople(people: people, count: honest, mix: mix, seed: seed), groups: people.groups.count)
      ]
      if let plan {
        guard plan.users <= people.people.count - plan.first else {
          throw DriverProblem("the file has only \(max(0, people.people.count - plan.first)) people to guess at")
        }
        streams.append(
          SignInEngine.Stream(
            name: "guesses", pace: .open(rate: plan.rate), source: Spray(plan: plan, people: people, seed: seed &+ 1), groups: people.groups.count))
      }
      let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
      defer { try? group.syncShutdownGracefully() }
      let loop = group.next()
      let finished = loop.makePromise(of: Void.self)
      let ledgerPath = ledger
      let json = json
      let names = people.groups
      let prepared = streams
      let engine = try loop.submit {
        let engine = SignInEngine(
          loop: loop, settings: settings, streams: prepared, ledger: try Ledger(path: ledgerPath), finished: finished,
          onProgress: { parts, at in
            for part in parts {
              tell(Progress(part.name, part.tally, at: at, seconds: Double(settings.every) / 1e9).line(json: json))
            }
          })
        engine.begin()
        return NIOLoopBound(engine, eventLoop: loop)
      }.wait()
      try finished.futureResult.wait()
      let mixed = mix.description
      let gatehouse = gatehouse
      let socket = socket
      return try loop.submit {
        let engine = engine.value
        let measuredFrom = engine.start + settings.warmUp
        let parts = engine.streams.map { stream in
          let end = max(stream.lastVerdict, engine.end)
          var offered: Double?
          if case .open(let rate) = stream.pace { offered = rate }
          return Report.Part(
            name: stream.name, offered: offered, seconds: end > measuredFrom ? Double(end - measuredFrom) / 1e9 : 0, tally: stream.tally,
            groups: names)
        }
        var comparison: Ledger.Comparison?
        if let gatehouse, let socket { comparison = try engine.ledger.compare(withGateway: gatehouse, socket: socket) }
        return Report(
          target: url, seed: settings.seed, mix: mixed, connections: settings.connections,
          seconds: engine.end > measuredFrom ? Double(engine.end - measuredFrom) / 1e9 : 0, parts: parts,
          connectionFaults: engine.connectionFaults, ledger: comparison, sendingDelay: Report.Latency(engine.sendingDelay),
          driverCPUSeconds: 0)
      }.wait()
    }

    private var length: Double { duration ?? spray.flatMap(Spray.Plan.init).map { Double($0.guesses) / $0.rate * 1.2 + 10 } ?? 30 }

    private func nanoseconds(_ seconds: Double) -> UInt64 { UInt64(seconds * 1e9) }

    private static func apiKey(_ path: String) throws -> String {
      let text = try String(contentsOfFile: path, encoding: .utf8)
      let key =
        text.firstMatch(of: /Bearer ([A-Za-z0-9._~+\/=-]+)/).map { String($0.output.1) } ?? text.trimmingCharacters(in: .whitespacesAndNewlines)
      guard !key.isEmpty, key.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { throw DriverProblem("\(path) holds no API key") }
      return key
    }
  }

  struct Compare: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Compare a ledger that a run wrote with an export of the gateway's audit.")
    @Option(help: "What a run wrote with --ledger.") var ledger: String
    @Option(help: "What `gatehouse audit export --all --out FILE` wrote.") var audit: String

    func run() throws {
      let comparison = try Ledger(reading: ledger).compare(withExport: audit)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys]
      print(String(decoding: try encoder.encode(comparison), as: UTF8.self))
      if comparison.lost + comparison.contradicted > 0 { throw ExitCode(1) }
    }
  }
}
