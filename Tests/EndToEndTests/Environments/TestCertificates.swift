import Foundation

/// Certificates for test servers, made by openssl: good ones and ones with one fault each.
struct TestCertificates: Sendable {
  /// One authority for the whole run.
  static let shared = Task { try await make() }

  let directory: String
  var authority: String { "\(directory)/ca.pem" }

  private static func make() async throws -> TestCertificates {
    let directory = "\(NSTemporaryDirectory())/gatehouse-certificates-\(ProcessInfo.processInfo.processIdentifier)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let made = TestCertificates(directory: directory)
    try await made.openssl(
      "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout ca.key -out ca.pem -subj /CN=authority")
    atexit { try? FileManager.default.removeItem(atPath: TestCertificates.path) }
    return made
  }

  private static var path: String { "\(NSTemporaryDirectory())/gatehouse-certificates-\(ProcessInfo.processInfo.processIdentifier)" }

  /// Paths of certificate and key.
  func issue(
    _ file: String, commonName: String, alternativeName: String?, usage: String = "serverAuth", days: Int = 30, selfSigned: Bool = false
  ) async throws -> (certificate: String, key: String) {
    let extensions =
      (alternativeName.map { "subjectAltName=\($0)\n" } ?? "") + "extendedKeyUsage=\(usage)\nbasicConstraints=CA:FALSE\n"
    try extensions.write(toFile: "\(directory)/\(file).ext", atomically: true, encoding: .utf8)
    try await openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout \(file).key -out \(file).csr -subj /CN=\(commonName)")
    let signer = selfSigned ? "-signkey \(file).key" : "-CA ca.pem -CAkey ca.key -set_serial \(UInt32.random(in: 1...UInt32.max))"
    // A negative number of days makes a certificate that has ended before it began, which is as invalid as an expired one.
    try await openssl("x509 -req -in \(file).csr \(signer) -days \(days) -out \(file).pem -extfile \(file).ext")
    return ("\(directory)/\(file).pem", "\(directory)/\(file).key")
  }

  private func openssl(_ arguments: String) async throws {
    try await LeashedProcess.run("/bin/bash", ["-c", "cd \(directory) && openssl \(arguments)"])
  }
}
