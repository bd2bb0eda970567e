import AsyncHTTPClient
import Foundation
import NIOCore
import Synchronization

/// A real identity provider that is not ours: SimpleSAMLphp in a folder of its own, by PHP's own server. It proves the relying parties and the browsers of
/// these tests before anything of ours is judged by them.
final class SimpleSAMLIdentityProvider: Sendable {
  static let person = (name: "alice", password: "Correct.Horse.1", mail: "alice@example.test", displayName: "Zoë <Alice> & Co; \"quoted\"")

  let folder: String
  let port: Int
  private let running = Mutex<LeashedProcess?>(nil)

  var url: String { "http://localhost:\(port)" }
  var entityID: String { url + "/idp" }
  var metadataURL: String { url + "/saml2/idp/metadata.php" }
  var key: String { folder + "/idp.key" }
  var certificate: String { folder + "/idp.crt" }

  /// Makes folder, key and configuration; `start` starts it.
  init(encryptsAssertions: Bool = false, signsResponses: Bool = true) async throws {
    folder = try BuiltProgram.folder("simplesamlphp")
    port = try BuiltProgram.freePort()
    for name in ["configuration", "metadata", "parties", "sessions", "log", "temporary"] {
      try FileManager.default.createDirectory(atPath: folder + "/" + name, withIntermediateDirectories: true)
    }
    try await LeashedProcess.run(
      "/usr/bin/openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=idp", "-keyout", key, "-out", certificate])
    try write(
      "configuration/config.php",
      """
      <?php
      $config = [
        'baseurlpath' => '\(url)/', 'certdir' => '\(folder)/', 'loggingdir' => '\(folder)/log/', 'datadir' => '\(folder)/',
        'tempdir' => '\(folder)/temporary', 'metadatadir' => '\(folder)/metadata/', 'attributenamemapdir' => '/etc/simplesamlphp/attributemap/',
        'secretsalt' => '\(UInt64.random(in: 0 ... .max))', 'auth.adminpassword' => '\(UInt64.random(in: 0 ... .max))',
        'technicalcontact_email' => 'nobody@example.test', 'timezone' => 'UTC', 'language.default' => 'en',
        'logging.level' => SimpleSAML\\Logger::INFO, 'logging.handler' => 'file',
        'enable.saml20-idp' => true, 'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
        'session.cookie.secure' => false, 'session.cookie.samesite' => null, 'language.cookie.secure' => false, 'language.cookie.samesite' => null,
        'store.type' => 'phpsession', 'session.phpsession.savepath' => '\(folder)/sessions', 'authproc.idp' => [],
        'metadata.sources' => array_merge([['type' => 'flatfile']],
          array_map(fn($file) => ['type' => 'xml', 'file' => $file], glob('\(folder)/parties/*.xml'))),
      ];

      """)
    func quoted(_ text: String) -> String { "'" + text.replacing("\\", with: "\\\\").replacing("'", with: "\\'") + "'" }
    let person = SimpleSAMLIdentityProvider.person
    try write(
      "configuration/authsources.php",
      """
      <?php
      $config = ['people' => ['exampleauth:UserPass', \(quoted(person.name + ":" + person.password)) => [
        'urn:oid:0.9.2342.19200300.100.1.1' => [\(quoted(person.name))], 'urn:oid:0.9.2342.19200300.100.1.3' => [\(quoted(person.mail))],
        'urn:oid:2.16.840.1.113730.3.1.241' => [\(quoted(person.displayName))], 'urn:oid:1.3.6.1.4.1.5923.1.1.1.9' => ['member', 'staff'],
      ]]];

      """)
    try write(
      "metadata/saml20-idp-hosted.php",
      """
      <?php
      $metadata['\(entityID)'] = [
        'host' => '__DEFAULT__', 'privatekey' => 'idp.key', 'certificate' => 'idp.crt', 'auth' => 'people',
        'attributes.NameFormat' => 'urn:oasis:names:tc:SAML:2.0:attrname-format:uri', 'sign.logout' => true, 'redirect.sign' => true,
        'SingleSignOnServiceBinding' => ['urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect', 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST'],
        'validate.logout' => true, 'saml20.sign.response' => \(signsResponses), 'assertion.encryption' => \(encryptsAssertions),
      ];

      """)
  }

  private func write(_ name: String, _ text: String) throws { try text.write(toFile: folder + "/" + name, atomically: true, encoding: .utf8) }

  func start() async throws {
    let log = try BuiltProgram.log("peer-identity-provider", "php")
    let (leashed, _) = try await LeashedProcess.start(
      """
      folder=$1 port=$2 log=$3
      export SIMPLESAMLPHP_CONFIG_DIR=$folder/configuration PHP_CLI_SERVER_WORKERS=2
      /usr/bin/php -S "localhost:$port" -t /usr/share/simplesamlphp/www </dev/null >"$log" 2>&1 &
      pid=$!
      for try in $(seq 400); do (exec 3<>"/dev/tcp/localhost/$port") 2>/dev/null && break; kill -0 $pid || { cat "$log"; exit 1; }; sleep 0.05; done
      echo READY
      trap '' PIPE
      cat >/dev/null
      # Its workers are processes of their own, in the session that this shell leads.
      for other in $(ps -o pid= -s $$); do [ "$other" = $$ ] || kill "$other" 2>/dev/null; done
      wait
      """, arguments: [folder, "\(port)", log], until: "READY", within: .seconds(30))
    running.withLock { $0 = leashed }
  }

  func remove() async {
    running.withLock { running in
      running?.stop()
      running = nil
    }
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// Its own metadata.
  func metadata() async throws -> String {
    let response = try await HTTPClient.shared.execute(HTTPClientRequest(url: metadataURL), timeout: .seconds(15))
    return String(decoding: try await response.body.collect(upTo: 1 << 20).readableBytesView, as: UTF8.self)
  }

  /// Registers a relying party by its metadata.
  func register(_ party: String, metadata: String) throws { try write("parties/\(party).xml", metadata) }

  var logTail: String { String(((try? String(contentsOfFile: folder + "/log/simplesamlphp.log", encoding: .utf8)) ?? "").suffix(3000)) }
}
