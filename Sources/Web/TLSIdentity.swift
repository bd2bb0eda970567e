import Foundation
import NIOCore
import NIOSSL
import Synchronization

/// A listener's certificate and key, replaceable while it runs: connections made after `replace` use the new one, others finish with theirs.
package final class TLSIdentity: Sendable {
  private let context: Mutex<NIOSSLContext>
  private let minimum: TLSVersion
  private let clientCertificates: Bool

  /// - Parameters:
  ///   - chain: the certificate chain, leaf first.
  ///   - clientCertificates: whether the peer must present one (checked by the listener's own verifier).
  package init(chain: [NIOSSLCertificate], key: NIOSSLPrivateKey, minimum: TLSVersion = .tlsv12, clientCertificates: Bool = false) throws {
    self.minimum = minimum
    self.clientCertificates = clientCertificates
    context = Mutex(try TLSIdentity.makeContext(chain: chain, key: key, minimum: minimum, clientCertificates: clientCertificates))
  }

  /// Reads PEM files. Throws `TLSIdentityProblem` with path and remedy.
  package convenience init(certificateFile: String, keyFile: String, minimum: TLSVersion = .tlsv12) throws {
    let (chain, key) = try TLSIdentity.read(certificateFile: certificateFile, keyFile: keyFile)
    try self.init(chain: chain, key: key, minimum: minimum)
  }

  /// Uses other files from the next connection on; on any problem the present identity stays. Throws `TLSIdentityProblem`.
  package func replace(certificateFile: String, keyFile: String) throws {
    let (chain, key) = try TLSIdentity.read(certificateFile: certificateFile, keyFile: keyFile)
    try replace(chain: chain, key: key)
  }

  package func replace(chain: [NIOSSLCertificate], key: NIOSSLPrivateKey) throws {
    let fresh = try TLSIdentity.makeContext(chain: chain, key: key, minimum: minimum, clientCertificates: clientCertificates)
    context.withLock { $0 = fresh }
  }

  var currentContext: NIOSSLContext { context.withLock { $0 } }

  private static func read(certificateFile: String, keyFile: String) throws -> ([NIOSSLCertificate], NIOSSLPrivateKey) {
    let chain: [NIOSSLCertificate]
    do { chain = try NIOSSLCertificate.fromPEMFile(certificateFile) } catch {
      throw TLSIdentityProblem(
        "\(certificateFile) cannot be read as a PEM certificate chain: \(error). Give the path of a file with the listener's certificate first.")
    }
    guard !chain.isEmpty else { throw TLSIdentityProblem("\(certificateFile) holds no certificate. Put the listener's certificate (PEM) into it.") }
    do { return (chain, try NIOSSLPrivateKey(file: keyFile, format: .pem)) } catch {
      throw TLSIdentityProblem(
        "\(keyFile) cannot be read as a PEM private key: \(error). Give the path of the key of \(certificateFile), readable for the service's user.")
    }
  }

  private static func makeContext(
    chain: [NIOSSLCertificate], key: NIOSSLPrivateKey, minimum: TLSVersion, clientCertificates: Bool
  ) throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeServerConfiguration(certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    configuration.minimumTLSVersion = minimum
    // TLS 1.2 with forward secrecy and AEAD only; TLS 1.3's suites are fixed.
    configuration.cipherSuites =
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
    configuration.applicationProtocols = ["http/1.1"]
    // Clients that just go, as most do, do not answer the goodbye: a shutdown must not wait five seconds for each listener's.
    configuration.shutdownTimeout = .seconds(1)
    if clientCertificates {
      configuration.certificateVerification = .noHostnameVerification
      // The listener's own verifier decides; the system's roots must never be enough.
      configuration.trustRoots = .certificates([])
    }
    do { return try NIOSSLContext(configuration: configuration) } catch {
      throw TLSIdentityProblem("Certificate and key cannot be used together: \(error). Check that the key belongs to the certificate.")
    }
  }
}

/// A listener's certificate or key is not usable; says which file and what to do.
package struct TLSIdentityProblem: Error, Sendable, CustomStringConvertible {
  package let description: String
  init(_ description: String) { self.description = description }
}
