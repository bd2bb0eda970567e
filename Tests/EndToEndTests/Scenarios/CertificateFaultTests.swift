import Foundation
import Testing

/// The public listener's certificate and key, put into states in which they cannot be used.
private struct TLSFiles: Sendable {
  let folder: String
  var certificate: String { folder + "/public.pem" }
  var key: String { folder + "/public.key" }

  /// What is done to a good pair, as a script in its folder; and the file that is to be named.
  struct Fault: Sendable, CustomStringConvertible {
    var description: String
    var script: String
    var named: String

    init(_ description: String, _ script: String, naming named: String) { (self.description, self.script, self.named) = (description, script, named) }
  }

  private static let request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost"

  static let faults: [Fault] = [
    Fault("the key may not be read", "chmod 000 public.key", naming: "public.key"),
    Fault("the certificate may not be read", "chmod 000 public.pem", naming: "public.pem"),
    Fault("the key is gone", "rm public.key", naming: "public.key"),
    Fault("the certificate is empty", ": >public.pem", naming: "public.pem"),
    Fault("the certificate is cut short", "truncate -s 300 public.pem", naming: "public.pem"),
    Fault("the key is cut short", "truncate -s 100 public.key", naming: "public.key"),
    Fault("the key is another one's", "\(request) -keyout public.key -out /dev/null", naming: "public.key"),
    Fault("the two are exchanged", "mv public.pem x && mv public.key public.pem && mv x public.key", naming: "public.pem"),
    // It ends before it begins: this command knows no other way to make one that is over.
    Fault(
      "it has expired", "\(request) -keyout public.key -out x && openssl x509 -in x -signkey public.key -days -1 -out public.pem",
      naming: "public.pem"),
    Fault(
      "the key is locked with a password", "openssl ec -in public.key -aes256 -passout pass:secret -out x && mv x public.key", naming: "public.key"),
    Fault("everybody may read the key", "chmod 644 public.key", naming: "public.key"),
    Fault("a folder is in its place", "rm public.pem && mkdir public.pem", naming: "public.pem"),
  ]

  static let endsSoon = Fault("it ends soon", "\(request) -keyout public.key -out public.pem -days 5", naming: "public.pem")

  func apply(_ fault: Fault) async throws { try await run(fault.script) }

  /// Keeps the good pair, for `mend`.
  func keep() async throws { try await run("cp -p public.pem good.pem && cp -p public.key good.key") }

  func mend() async throws { try await run("rm -rf public.pem public.key x && cp -p good.pem public.pem && cp -p good.key public.key") }

  /// Pieces of the key, as a message or a log could show them: its lines and its bytes.
  func pieces() throws -> [String] {
    let lines = try String(contentsOfFile: folder + "/good.key", encoding: .utf8).split(separator: "\n").filter { !$0.hasPrefix("-----") }
    return lines.flatMap { line in stride(from: 0, to: max(1, line.count - 20), by: 4).map { String(line.dropFirst($0).prefix(20)) } }
  }

  private func run(_ script: String) async throws {
    try await LeashedProcess.run("/bin/bash", ["-c", "set -e; umask 077; cd \"$1\"; \(script)", "tls", folder])
  }
}

@Suite("Certificate files that cannot be used", .serialized)
struct CertificateFaultScenario {
  /// Root may read everything, as the gateway's own user may not.
  private static let launcher = ["/usr/bin/setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]

  @Test("A reload is refused with an alarm that names the file, the old certificate stays in use, and a good one is taken up afterwards")
  func reload() async throws {
    try await House.with("certificate-faults", agents: [], options: .init(launcher: CertificateFaultScenario.launcher)) { house in
      let files = TLSFiles(folder: house.gateway.folder + "/tls")
      func alarm() async throws -> Told.Status.Alarm? { try await house.status().alarms.first { $0.code == "certificate-reload-failed" } }
      func presented() async throws -> String {
        try await TLSClient.certificate(port: house.gateway.publicPort, authorityFile: files.folder + "/ca.pem").fingerprint
      }
      try await files.keep()
      let first = try await presented()
      #expect(!first.isEmpty)
      for fault in TLSFiles.faults {
        try await files.apply(fault)
        house.gateway.process?.signal(SIGHUP)
        #expect(try await eventually(within: .seconds(5)) { try await alarm()?.message.contains(fault.named) ?? false }, "\(fault): no alarm")
        #expect(try await presented() == first, "\(fault): another certificate is presented")
        try await files.mend()
        house.gateway.process?.signal(SIGHUP)
        #expect(try await eventually(within: .seconds(5)) { try await alarm() == nil }, "\(fault): the alarm stands though all is well")
      }
      // One that can be used, and will soon have to be replaced.
      func ending() async throws -> Bool { try await house.status().alarms.contains { $0.code == "certificate-expiring" } }
      #expect(try await !ending())
      try await files.apply(TLSFiles.endsSoon)
      house.gateway.process?.signal(SIGHUP)
      #expect(try await eventually(within: .seconds(5)) { try await ending() })
      #expect(try await presented() != first)
      #expect(try await alarm() == nil)
      try await files.mend()
      house.gateway.process?.signal(SIGHUP)
      #expect(try await eventually(within: .seconds(5)) { try await !ending() })
      #expect(house.gateway.process?.isRunning == true)
      let log = house.gateway.process?.logText ?? ""
      for piece in try files.pieces() { #expect(!log.contains(piece)) }
    }
  }

  @Test("A start is refused with the file and the reason and not a byte of the key, and `gatehouse check` says the same")
  func start() async throws {
    let gateway = try await GatewayProcess(scenario: "certificate-start")
    do {
      let files = TLSFiles(folder: gateway.folder + "/tls")
      try await files.keep()
      let pieces = try files.pieces()
      for fault in TLSFiles.faults {
        try await files.apply(fault)
        var told: [String] = []
        for command in ["serve", "check"] {
          let log = gateway.folder + "/\(command).log"
          try? FileManager.default.removeItem(atPath: log)
          let words = CertificateFaultScenario.launcher + [BuiltProgram.gatehouse, command, "--config", gateway.folder + "/gateway.yaml"]
          let process = try await ServerProcess.start(words[0], Array(words.dropFirst()), log: log)
          let status = await process.ended(within: .seconds(10))
          #expect(status == 1, "\(fault): `\(command)` ended with \(status.map(String.init) ?? "nothing")")
          await process.stop()
          #expect(process.logText.contains("listeners.public.") && process.logText.contains(fault.named), "\(fault): \(process.logText)")
          for piece in pieces { #expect(!process.logText.contains(piece), "\(fault): \(command) shows the key") }
          told.append(process.logText)
        }
        #expect(told.first == told.last, "\(fault)")
        try await files.mend()
      }
      try await gateway.start()
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }
}
