import Foundation

/// An Apache of its own, in a folder and on a port of its own, that serves one page to everybody and one to those who are signed in.
///
/// What Debian has under /etc is neither read nor changed. Started by root, the servers run as `_shibd`, which the Shibboleth package brings: what they
/// share, a socket and keys, must be theirs. The folder is therefore not below the other tests' one, which only its owner may enter.
struct ApacheSite: Sendable {
  let folder: String
  let port: Int
  let isTLS: Bool

  /// Makes the folder, the pages and a signing certificate (`sp.pem`, `sp.key`; RSA with 2048 bits).
  init(name: String, isTLS: Bool) async throws {
    let base = "/tmp/gatehouse-relying-parties-\(ProcessInfo.processInfo.processIdentifier)"
    folder = "\(base)/\(name)-\(UInt32.random(in: 0 ... .max))"
    port = try BuiltProgram.freePort()
    self.isTLS = isTLS
    for path in [base, folder, folder + "/run", folder + "/pages", folder + "/pages/secure"] {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    }
    try write("pages/index.html", "<!doctype html><html lang=\"en\"><title>An open page</title><p>Everybody may read this.")
    // SSI, since mod_cgid makes protected pages 503 after half a minute.
    try write(
      "pages/secure/index.shtml", "<!doctype html><html lang=\"en\"><title>A protected page</title>\n<pre>\n<!--#printenv -->\n</pre>")
    try await LeashedProcess.run(
      "/usr/bin/openssl",
      [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=\(name)", "-keyout", folder + "/sp.key", "-out",
        folder + "/sp.pem",
      ])
    if isTLS {
      let certificates = try await TestCertificates.shared.value
      let (certificate, key) = try await certificates.issue(
        "\(name)-\(port)", commonName: "127.0.0.1", alternativeName: "IP:127.0.0.1,DNS:localhost")
      try FileManager.default.copyItem(atPath: certificate, toPath: folder + "/tls.pem")
      try FileManager.default.copyItem(atPath: key, toPath: folder + "/tls.key")
    }
  }

  var url: String { "\(isTLS ? "https" : "http")://127.0.0.1:\(port)" }

  func write(_ name: String, _ text: String) throws { try text.write(toFile: folder + "/" + name, atomically: true, encoding: .utf8) }

  func log(_ name: String) -> String { (try? String(contentsOfFile: folder + "/" + name, encoding: .utf8)) ?? "" }

  /// Writes Apache's configuration: what every site has, and what `extra` says.
  func configure(modules: [String], _ extra: String) throws {
    let all =
      ["mpm_event", "authn_core", "authz_core", "authz_user", "dir", "include", "mime"].map { ($0 + "_module", "mod_\($0).so") }
      + (isTLS ? [("ssl_module", "mod_ssl.so"), ("socache_shmcb_module", "mod_socache_shmcb.so")] : [])
      + modules.map { ($0 == "shib" ? "mod_shib" : $0 + "_module", "mod_\($0).so") }
    try write(
      "apache.conf",
      """
      ServerRoot \(folder)
      PidFile \(folder)/run/apache.pid
      DefaultRuntimeDir \(folder)/run
      ServerName \(url)
      UseCanonicalName On
      Listen 127.0.0.1:\(port)
      \(all.map { "LoadModule \($0.0) /usr/lib/apache2/modules/\($0.1)" }.joined(separator: "\n"))
      TypesConfig /etc/mime.types
      ErrorLog \(folder)/apache.log
      LogLevel info
      DocumentRoot \(folder)/pages
      DirectoryIndex index.shtml index.html
      StartServers 1
      MinSpareThreads 1
      MaxSpareThreads 50
      ThreadsPerChild 25
      MaxRequestWorkers 50
      \(isTLS ? "SSLEngine on\nSSLCertificateFile \(folder)/tls.pem\nSSLCertificateKeyFile \(folder)/tls.key\nMutex pthread ssl-cache" : "")
      <Directory \(folder)/pages>
      Options +Includes
      AddOutputFilter INCLUDES .shtml
      AddType text/html .shtml
      Require all granted
      </Directory>
      \(extra)

      """)
  }

  /// Starts `before` (a command line of bash; `$dir` is the folder) and Apache, and waits until it listens.
  func start(before: String = "", ready: String = "true") async throws -> LeashedProcess {
    let (leashed, _) = try await LeashedProcess.start(
      """
      dir=$1 port=$2 as=() pids=()
      if [ "$(id -u)" -eq 0 ]; then
        chown -R _shibd:_shibd "$dir"
        as=(setpriv --reuid _shibd --regid _shibd --clear-groups --)
      fi
      \(before.isEmpty ? "" : "\"${as[@]}\" \(before) </dev/null >>\"$dir/output.log\" 2>&1 & pids+=($!)")
      "${as[@]}" /usr/sbin/apache2 -d "$dir" -f "$dir/apache.conf" -DFOREGROUND </dev/null >>"$dir/output.log" 2>&1 & pids+=($!)
      for try in $(seq 600); do
        { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && \(ready); } && break
        for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || { cat "$dir"/*.log; kill "${pids[@]}" 2>/dev/null; exit 1; }; done
        sleep 0.05
      done
      echo READY
      trap '' PIPE
      cat >/dev/null
      kill "${pids[@]}" 2>/dev/null; wait
      """, arguments: [folder, "\(port)"], until: "READY", within: .seconds(40))
    return leashed
  }

  /// Waits until nobody listens any more.
  func waitForEnd() async {
    _ = await eventually(within: .seconds(10)) {
      let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(probe) }
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
      address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
      return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(probe, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) != 0 }
      }
    }
  }

  func remove() {
    try? FileManager.default.removeItem(atPath: folder)
    // Where it was the last: rmdir removes nothing that is not empty.
    rmdir(URL(fileURLWithPath: folder).deletingLastPathComponent().path)
  }

  /// The ends of the logs.
  func tail(of names: [String]) -> String {
    names.map { "── \($0)\n\(log($0).suffix(3000))" }.joined(separator: "\n")
  }
}

extension String {
  /// Percent-encoded to stand as a value in a query: everything but the unreserved characters of RFC 3986 §2.3.
  var queryEncoded: String {
    var result = ""
    for byte in utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e: result.unicodeScalars.append(Unicode.Scalar(byte))
      default: result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
      }
    }
    return result
  }

  /// As text or as an attribute's value of XML and HTML.
  var markupEscaped: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
