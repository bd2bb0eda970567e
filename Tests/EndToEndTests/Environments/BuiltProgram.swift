import Foundation

/// Where the program under test and the repository's own tools lie.
enum BuiltProgram {
  /// The `gatehouse` that was built with these tests: it lies beside the test bundle. GATEHOUSE_UNDER_TEST names another, to measure a release build.
  static let gatehouse: String = {
    if let other = ProcessInfo.processInfo.environment["GATEHOUSE_UNDER_TEST"] { return other }
    let runner = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    return URL(fileURLWithPath: runner).deletingLastPathComponent().appendingPathComponent("gatehouse").path
  }()

  static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  static let certificateGenerator = repository + "/certs/generate"

  /// A folder of its own, on a disk, for everybody who asks; removed by whoever asked.
  static func folder(_ name: String) throws -> String {
    let path = "/tmp/gatehouse-tests-\(ProcessInfo.processInfo.processIdentifier)/\(name)-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    return path
  }

  /// Logs outlive the run, so that a failure can be looked into: beside the build, replaced by the next run of the same scenario.
  static func log(_ scenario: String, _ server: String) throws -> String {
    let folder = repository + "/.build/test-results/end-to-end-logs/" + scenario
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = folder + "/" + server + ".log"
    try? FileManager.default.removeItem(atPath: path)
    return path
  }

  /// A loopback port that was free a moment ago.
  static func freePort() throws -> Int {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, length) == 0 && getsockname(listener, $0, &length) == 0 }
    }
    guard bound else { throw ServerProcess.Failure(description: "no free port: \(String(cString: strerror(errno)))") }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}
