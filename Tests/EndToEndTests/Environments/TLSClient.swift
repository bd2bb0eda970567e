import Foundation

/// What a listener presents, as `openssl s_client` sees it.
enum TLSClient {
  /// The certificate of a fresh connection.
  struct Seen: Sendable {
    /// Whether the authority vouches for it.
    var verified: Bool
    /// SHA-256 of the certificate, hexadecimal with colons; empty where there was none.
    var fingerprint: String
  }

  static func certificate(port: Int, authorityFile: String) async throws -> Seen {
    let script = """
      openssl s_client -connect "127.0.0.1:$1" -servername localhost -CAfile "$2" -no-CApath </dev/null 2>&1 | tee "$3" | \
        openssl x509 -noout -fingerprint -sha256 2>/dev/null; cat "$3"; rm -f "$3"
      """
    let output = try await LeashedProcess.run(
      "/bin/bash", ["-c", script, "s_client", "\(port)", authorityFile, authorityFile + ".seen"])
    let line = output.split(separator: "\n").first { $0.lowercased().hasPrefix("sha256 fingerprint=") }
    return Seen(
      verified: output.contains("Verify return code: 0 (ok)"), fingerprint: line.map { String($0.drop { $0 != "=" }.dropFirst()) } ?? "")
  }
}
