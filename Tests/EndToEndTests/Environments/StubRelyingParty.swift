import Foundation

/// A relying party of one bad habit, played by the test: it takes a token when a certificate that it has by then has signed it, and no other.
///
/// It reads metadata and answers as its habit is; the browser brings it what it would have been posted. Its signatures are really verified (`DocumentOracle`)
/// the first time that a certificate signs; after that, by which certificate they are.
actor StubRelyingParty {
  enum Habit: Sendable, Equatable {
    /// Has one certificate, which its owner replaces by hand.
    case pinsOne
    /// Reads metadata so often and takes the first key of it.
    case readsFirst(everySeconds: Int)
    /// Reads metadata so often and takes every key of it.
    case readsAll(everySeconds: Int)
    /// Took the certificate once.
    case neverRefreshes
  }

  /// A sign-in that it refused.
  struct Refusal: Sendable, CustomStringConvertible {
    var time: Date
    var description: String
  }

  nonisolated let name: String
  nonisolated let habit: Habit
  nonisolated var entityID: String { "urn:stub:\(name)" }
  private let federation: FederationHouse
  private let user: String
  private let browser = CookieBrowser()
  private var metadataURL = ""
  private var trusted: Set<String> = []
  private var proven: Set<String> = []
  private var lastRead: Date?
  private(set) var refusals: [Refusal] = []
  private(set) var accepted = 0

  private struct Registered: Decodable { var ownMetadataUrl: String }

  /// Registers it with `options` of `gatehouse rp add`.
  init(_ name: String, _ habit: Habit, in federation: FederationHouse, user: String = "alice", options: [String] = []) async throws {
    self.name = name
    self.habit = habit
    self.federation = federation
    self.user = user
    let arguments = ["rp", "add", "--name", name, "--entity-id", "urn:stub:\(name)", "--acs", "https://\(name).example/acs", "--json"] + options
    let outcome = try await federation.admin.attempt(arguments)
    guard outcome.status == 0 else { throw ServerProcess.Failure(description: outcome.complaint) }
    metadataURL = try JSONDecoder().decode(Registered.self, from: Data(outcome.output.utf8)).ownMetadataUrl
    trusted = Set(try await readMetadata().prefix(1))
    if case .readsAll = habit { trusted = Set(try await readMetadata()) }
    lastRead = Date(timeIntervalSinceNow: 0)
  }

  /// Its owner installs certificates by hand (PEM).
  func install(_ pem: String) {
    trusted = [pem.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()]
  }

  /// Somebody signs in; it reads metadata before, where that is due.
  func signIn() async {
    do {
      try await refreshIfDue()
      await browser.forgetAnswers()
      let page = try await federation.signIn(browser, federation.request(of: entityID).url, as: user, following: false)
      guard let message = page.samlMessage else { return refuse("no token came: \(page.status) \(page.url)") }
      let signers = Set(message.matches(of: #/<ds:X509Certificate>([^<]*)</#).map { String($0.output.1) })
      guard signers.count == 1, let signer = signers.first else { return refuse("\(signers.count) certificates sign") }
      guard trusted.contains(signer) else { return refuse("the certificate \(signer.suffix(24)) is not one of its \(trusted.count)") }
      if !proven.contains(signer) {
        let file = federation.house.gateway.folder + "/\(name)-\(proven.count).pem"
        try "-----BEGIN CERTIFICATE-----\n\(signer)\n-----END CERTIFICATE-----\n".write(toFile: file, atomically: true, encoding: .utf8)
        try await DocumentOracle(certificate: file).check(message)
        proven.insert(signer)
      }
      accepted += 1
    } catch { refuse("\(error)") }
  }

  private func refuse(_ text: String) { refusals.append(Refusal(time: Date(timeIntervalSinceNow: 0), description: text)) }

  private func refreshIfDue() async throws {
    let (seconds, first): (Int, Bool)
    switch habit {
    case .readsFirst(let every): (seconds, first) = (every, true)
    case .readsAll(let every): (seconds, first) = (every, false)
    case .pinsOne, .neverRefreshes: return
    }
    guard let lastRead, -lastRead.timeIntervalSinceNow >= Double(seconds) else { return }
    self.lastRead = Date(timeIntervalSinceNow: 0)
    let read = try await readMetadata()
    trusted = Set(first ? Array(read.prefix(1)) : read)
  }

  /// The signing certificates of its own metadata, in their order.
  private func readMetadata() async throws -> [String] {
    let page = try await browser.request(metadataURL, fields: [(name: "user-agent", value: "stub \(name)")])
    guard page.status == 200 else { throw ServerProcess.Failure(description: "\(metadataURL) answered \(page.status)") }
    let keys = page.body.matches(of: #/<md:KeyDescriptor use="signing">.*?<ds:X509Certificate>([^<]*)</#.dotMatchesNewlines())
    return keys.map { String($0.output.1) }
  }
}
