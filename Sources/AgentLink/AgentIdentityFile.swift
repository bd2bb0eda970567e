import Bytes
import Crypto
import Foundation
import Identity
import PassThrough

/// The agent's identity on its disk: one JSON file, mode 0600, replaced in one step.
package struct AgentIdentityFile: Sendable {
  package let path: String

  package init(path: String) { self.path = path }

  /// What is wrong with the file, with the remedy.
  package struct Problem: Error, Sendable, CustomStringConvertible {
    package let description: String
  }

  private struct Stored: Codable {
    var version = 1
    var agent: Identifier
    var name: String
    var realms: [RealmName]
    var signingKey: Data
    var openingKey: Data
    var certificate: Data
    var notAfter: Instant
    var renewed: Instant
    var roots: [Data]
    var gatewayKey: Data
    var nodes: [String]
  }

  /// Nil where there is no file yet. Throws `Problem`.
  package func load() throws -> AgentIdentity? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    var status = stat()
    guard lstat(path, &status) == 0 else { throw Problem(description: "\(path) cannot be looked at: \(String(cString: strerror(errno))).") }
    guard status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o077 == 0 else {
      throw Problem(
        description:
          "\(path) holds the agent's private keys and must be a plain file that only its owner can read. Run `chmod 600 \(path)`, and if others "
          + "could read it, enrol the agent anew."
      )
    }
    do {
      let stored = try JSONDecoder().decode(Stored.self, from: try Data(contentsOf: URL(fileURLWithPath: path)))
      return AgentIdentity(
        agent: stored.agent, name: stored.name, realms: stored.realms,
        signingKey: try P256.Signing.PrivateKey(rawRepresentation: stored.signingKey),
        openingKey: try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: stored.openingKey), certificate: Array(stored.certificate),
        notAfter: stored.notAfter, renewed: stored.renewed, roots: stored.roots.map { Array($0) },
        gatewayKey: try Curve25519.KeyAgreement.PublicKey(rawRepresentation: stored.gatewayKey), nodes: stored.nodes)
    } catch {
      throw Problem(
        description: "\(path) is damaged (\(type(of: error))). Remove it and enrol the agent anew with a token from `gatehouse agents token`.")
    }
  }

  /// Writes a new file beside the old one, makes it durable, and puts it in its place. Throws `Problem`.
  package func save(_ identity: AgentIdentity) throws {
    let stored = Stored(
      agent: identity.agent, name: identity.name, realms: identity.realms, signingKey: identity.signingKey.rawRepresentation,
      openingKey: identity.openingKey.rawRepresentation, certificate: Data(identity.certificate), notAfter: identity.notAfter,
      renewed: identity.renewed, roots: identity.roots.map { Data($0) }, gatewayKey: identity.gatewayKey.rawRepresentation, nodes: identity.nodes)
    let data: Data
    do { data = try JSONEncoder().encode(stored) } catch { throw Problem(description: "The agent's identity cannot be written as JSON.") }
    let folder = (path as NSString).deletingLastPathComponent
    func failure(_ what: String) -> Problem {
      Problem(
        description: "\(what) failed: \(String(cString: strerror(errno))). Check that \(folder) exists, has space, and belongs to the agent's user.")
    }
    let temporary = path + ".new"
    unlink(temporary)
    let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0o600)
    guard file >= 0 else { throw failure("Making \(temporary)") }
    defer { close(file) }
    let written = data.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    guard written == data.count, fsync(file) == 0 else { throw failure("Writing \(temporary)") }
    guard rename(temporary, path) == 0 else { throw failure("Renaming \(temporary)") }
    let directory = open(folder, O_RDONLY)
    if directory >= 0 {
      _ = fsync(directory)
      close(directory)
    }
  }
}
