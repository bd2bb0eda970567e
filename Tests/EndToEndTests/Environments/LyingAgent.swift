import AgentLink
import Bytes
import Foundation
import Identity
import Logging
import PassThrough
import Synchronization

/// An agent whose program was patched: our own agent, with a directory of its own invention.
///
/// It runs inside the test process, with the identity that an `AgentProcess` enrolled.
final class LyingAgent: Sendable {
  /// Says yes to everything from the moment on that it is told to; until then what an honest directory would say.
  final class Directory: PasswordValidator {
    private struct State {
      var lies: Bool
      var asked: [String] = []
    }

    private let passwords: [String: String]
    private let state: Mutex<State>

    /// - Parameter passwords: the right ones, by name.
    init(lies: Bool, passwords: [String: String] = [:]) {
      self.passwords = passwords
      state = Mutex(State(lies: lies))
    }

    /// The names that it was asked about, in their order.
    var asked: [String] { state.withLock { $0.asked } }

    func turn() { state.withLock { $0.lies = true } }

    func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
      let lies = state.withLock { state in
        state.asked.append(credential.userName.text)
        return state.lies
      }
      let right = passwords[credential.userName.text].map { credential.password.secret.matches(Secret($0.utf8)) } ?? false
      guard lies || right else { return Judgement(.refused(Refusal(.wrongPassword))) }
      return Judgement(
        .accepted(
          AcceptedPerson(
            object: DirectoryObject(realm: credential.realm, id: Identifier()), immutableID: "AAAA", userPrincipalName: credential.userName.text)))
    }
  }

  let directory: Directory
  private let connection: HTTPGatewayConnection
  private let work: Task<Void, any Error>

  init(_ process: AgentProcess, of gateway: GatewayProcess, directory: Directory) throws {
    guard let identity = try AgentIdentityFile(path: process.identityFile).load() else {
      throw ServerProcess.Failure(description: "agent \(process.name) is not enrolled")
    }
    self.directory = directory
    let connection = try HTTPGatewayConnection(node: gateway.mutualURL, identity: identity, proxy: nil)
    self.connection = connection
    let validators: [RealmName: any PasswordValidator] = Dictionary(uniqueKeysWithValues: identity.realms.map { ($0, directory) })
    let agent = PassThroughAgent(
      connection: connection, validators: validators, alarms: [], software: "patched", now: { Instant(Date()) }, told: { _ in },
      logger: Logger(label: "patched") { _ in SwiftLogNoOpLogHandler() })
    work = Task { try await agent.run() }
  }

  func stop() async {
    work.cancel()
    _ = try? await work.value
    await connection.shutdown()
  }
}
