import ArgumentParser
import Foundation
import NIOSSL
import Web

/// The front-ends that may ask for verdicts.
struct FrontEnds: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "front-ends", abstract: "Who may ask whether a password is right.",
    subcommands: [List.self, Add.self, Edit.self, Rotate.self, Revoke.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the front-ends.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let frontEnds: [FrontEndMessage] = try await admin.client.get("front-ends")
      if admin.json { return try printJSON(frontEnds) }
      printTable(
        ["FRONT-END", "REALMS", "RATE/S", "KEYS", "CERTIFICATES", "STATE"],
        frontEnds.map {
          [
            $0.name, $0.realms.joined(separator: " "), "\($0.ratePerSecond)",
            $0.keys.map { key in key.expires.map { "until \(shown($0))" } ?? "since \(shown(key.made))" }.joined(separator: ", "),
            "\($0.certificates.count)", $0.disabled ? "disabled" : "enabled",
          ]
        })
    }
  }

  struct Add: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Add a front-end and print its API key, this once.",
      discussion: "Example: gatehouse front-ends add portal --realm contoso --rate 200")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name.") var name: String
    @Option(name: .long, help: "A realm that it may ask about; may be repeated.") var realm: [String]
    @Option(name: .long, help: "Sign-ins a second.") var rate: Int?
    @Option(name: .long, help: "PEM file with a client certificate by which it is recognised on the mutual-TLS listener.") var certificate: String?
    @Flag(name: .long, help: "Make no API key: it uses its certificate only.") var withoutKey = false

    func run() async throws {
      let issued: IssuedKey = try await admin.client.post(
        "front-ends",
        FrontEndChange(
          name: name, realms: realm, ratePerSecond: rate, addCertificate: try certificate.map(certificateBase64), withKey: !withoutKey))
      if admin.json { return try printJSON(issued) }
      print("Front-end \(issued.frontEnd) was added.")
      if let key = issued.apiKey { print("Its API key, shown only now: \(key)") }
    }
  }

  struct Edit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change a front-end; what is not given stays.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name.") var name: String
    @Option(name: .long, help: "The realms that it may ask about (replaces all); may be repeated.") var realm: [String] = []
    @Option(name: .long, help: "Sign-ins a second.") var rate: Int?
    @Option(name: .long, help: "PEM file with a further client certificate.") var certificate: String?
    @Flag(name: .long, inversion: .prefixedEnableDisable, help: "Whether it may ask at all.") var state: Bool?

    func run() async throws {
      let done: Done = try await admin.client.patch(
        "front-ends/\(pathSegment(name))",
        FrontEndChange(
          realms: realm.isEmpty ? nil : realm, ratePerSecond: rate, disabled: state.map { !$0 },
          addCertificate: try certificate.map(certificateBase64)))
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }

  struct Rotate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Give a front-end a new API key; the one before stays good for the overlap.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name.") var name: String
    @Option(name: .long, help: "For how many hours the key before stays good.") var overlapHours: Double = 24

    func validate() throws {
      guard overlapHours.isFinite, (0...744).contains(overlapHours) else { throw ValidationError("--overlap-hours must be between 0 and 744.") }
    }

    func run() async throws {
      let issued: IssuedKey = try await admin.client.post(
        "front-ends/\(pathSegment(name))/rotate", KeyRotation(overlapSeconds: Int(overlapHours * 3600)))
      if admin.json { return try printJSON(issued) }
      if let key = issued.apiKey { print("The new API key of \(issued.frontEnd), shown only now: \(key)") }
      if let expires = issued.previousKeyExpires { print("The key before is good until \(shown(expires)) UTC.") }
    }
  }

  struct Revoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a front-end; its keys and certificates are refused at once.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name.") var name: String

    func run() async throws {
      let done: Done = try await admin.client.delete("front-ends/\(pathSegment(name))")
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }
}

/// The first certificate of a PEM file, DER in base64. Throws `ValidationError`.
private func certificateBase64(_ path: String) throws -> String {
  guard let certificate = try? NIOSSLCertificate.fromPEMFile(path).first, let der = try? certificate.toDERBytes() else {
    throw ValidationError("\(path) holds no PEM certificate.")
  }
  return Data(der).base64EncodedString()
}
