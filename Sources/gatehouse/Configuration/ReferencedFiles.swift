import Bytes
import Foundation
import Outbound
import SwiftASN1
import X509

// The files that a configuration names are checked before anything starts, so that `gatehouse check` and `gatehouse serve` say the same.

extension GatewayConfiguration {
  /// What is wrong with the files that the configuration names; empty when all is well.
  func problemsOfFiles(now: Instant) -> [ConfigurationProblem] {
    var check = FileCheck()
    check.directory("dataDirectory", dataDirectory)
    if let federationAuthorityFile { check.authorities("federation.caFile", federationAuthorityFile) }
    if let logoFile = pages.logoFile, PageLogo.read(logoFile) == nil {
      check.note(
        "pages.logo", "\(logoFile) is no PNG, JPEG, WebP or SVG file of at most 256 kB that can be read",
        remedy: "Name such a file, or leave the key out")
    }
    if let signingToken {
      check.module("signingKeys.pkcs11.module", signingToken.module)
      check.password("signingKeys.pkcs11.pinFile", signingToken.pinFile, of: "the token's user", named: "PIN")
    }
    if let file = alarms.webhook?.secretFile { check.webhookSecret("alarms.webhook.secretFile", file) }
    if let file = alarms.webhook?.authorityFile { check.authorities("alarms.webhook.caFile", file) }
    if let command = alarms.command { check.command("alarms.command", command) }
    return check.problems + publicListener.problemsOfFiles(now: now)
  }
}

extension PublicListenerConfiguration {
  /// What is wrong with the listener's certificate and key; empty when they can be used.
  func problemsOfFiles(now: Instant) -> [ConfigurationProblem] {
    var check = FileCheck()
    let leaf = check.certificates("listeners.public.certificate", certificateFile, now: now)
    let key = check.privateKey("listeners.public.key", keyFile)
    if let leaf, let key, leaf.publicKey != key.publicKey {
      check.note(
        "listeners.public.key", "\(keyFile) is not the key of the certificate \(certificateFile)",
        remedy: "Name the pair that belongs together; in the certificate's file the leaf stands first")
    }
    return check.problems
  }

  /// When the certificate in the file ends; nil where it cannot be read.
  func certificateEnds() -> Instant? {
    guard let data = FileManager.default.contents(atPath: certificateFile), let text = StrictText.utf8(Array(data)),
      let leaf = pemCertificates(in: text).first.flatMap({ try? Certificate(pemEncoded: $0) })
    else { return nil }
    return Instant(leaf.notValidAfter)
  }
}

extension AgentConfiguration {
  /// What is wrong with the files that the configuration names; empty when all is well.
  func problemsOfFiles(now: Instant) -> [ConfigurationProblem] {
    var check = FileCheck()
    check.directory("dataDirectory", dataDirectory)
    for (index, realm) in realms.enumerated() {
      let path = "realms[\(index)]"
      check.authorities("\(path).caFile", realm.caFile)
      switch realm.service {
      case .passwordFile(_, let file): check.password("\(path).service.passwordFile", file)
      case .keytab(_, let file): check.keytab("\(path).service.keytab", file)
      }
    }
    return check.problems
  }
}

/// Looks at files and collects what is wrong with them. A file's content never enters a message.
private struct FileCheck {
  private(set) var problems: [ConfigurationProblem] = []
  private static let maximumBytes = 4 << 20

  mutating func note(_ path: String, _ message: String, remedy: String) {
    problems.append(ConfigurationProblem(path, message, remedy: remedy))
  }

  /// A folder of ours: it must exist or be makeable, and nobody else may write into it.
  mutating func directory(_ path: String, _ folder: String) {
    guard let facts = FileFacts(folder) else {
      let parent = URL(fileURLWithPath: folder).deletingLastPathComponent().path
      if access(parent, W_OK | X_OK) != 0 {
        note(
          path, "\(folder) does not exist and cannot be made in \(parent)",
          remedy: "Make it, owned by the user that runs gatehouse: install -d -m 0700 -o USER \(folder)")
      }
      return
    }
    guard facts.kind == .typeDirectory else { return note(path, "\(folder) is not a folder", remedy: "Name a folder") }
    if facts.mode & 0o022 != 0 {
      note(path, "Others than its owner may write into \(folder) (mode \(octal(facts.mode)))", remedy: "chmod 0700 \(folder)")
    }
    if access(folder, R_OK | W_OK | X_OK) != 0 {
      note(path, "This user may not write into \(folder)", remedy: "Run as its owner, or chown it to the user that runs gatehouse")
    }
  }

  /// A chain of PEM certificates; answers its leaf.
  mutating func certificates(_ path: String, _ file: String, now: Instant) -> Certificate? {
    guard let text = text(path, file) else { return nil }
    let chain: [Certificate]
    do {
      chain = try pemCertificates(in: text).map { try Certificate(pemEncoded: $0) }
    } catch {
      note(path, "\(file) holds a certificate that cannot be read", remedy: "Look at it with: openssl x509 -in \(file) -noout -text")
      return nil
    }
    guard let leaf = chain.first else {
      note(path, "\(file) holds no PEM certificate", remedy: "It must begin with -----BEGIN CERTIFICATE-----; put the leaf first, then its chain")
      return nil
    }
    if Instant(leaf.notValidAfter) <= now {
      note(path, "The certificate in \(file) expired on \(Instant(leaf.notValidAfter))", remedy: "Put a new certificate there; a reload takes it up")
    }
    if Instant(leaf.notValidBefore) > now {
      note(path, "The certificate in \(file) is valid from \(Instant(leaf.notValidBefore)) only", remedy: "Check this machine's clock")
    }
    return leaf
  }

  mutating func privateKey(_ path: String, _ file: String) -> Certificate.PrivateKey? {
    guard let text = text(path, file, isSecret: true) else { return nil }
    guard let key = try? Certificate.PrivateKey(pemEncoded: text) else {
      note(
        path, "\(file) holds no private key that can be read (it may be encrypted)",
        remedy: "Write it as unencrypted PKCS#8: openssl pkey -in \(file) -out NEW")
      return nil
    }
    return key
  }

  /// A bundle of CA certificates, of which at least the first can be read. The system's own bundles hold some that only OpenSSL reads.
  mutating func authorities(_ path: String, _ file: String) {
    guard let text = text(path, file) else { return }
    guard let first = pemCertificates(in: text).first, (try? Certificate(pemEncoded: first)) != nil else {
      note(
        path, "\(file) holds no PEM certificate that can be read", remedy: "Export the directory's CA certificate as PEM (Base-64) and name that file"
      )
      return
    }
  }

  mutating func password(_ path: String, _ file: String, of holder: String = "the service account", named word: String = "password") {
    guard let bytes = bytes(path, file, isSecret: true) else { return }
    let line = bytes.prefix { $0 != 0x0a && $0 != 0x0d }
    if line.isEmpty || line.contains(0) {
      note(path, "The first line of \(file) is no \(word)", remedy: "Write \(holder)'s \(word) as its first and only line")
    }
  }

  /// A shared library that this process will load: whoever may change it is this process.
  mutating func module(_ path: String, _ file: String) {
    guard let facts = FileFacts(file), facts.kind == .typeRegular else {
      note(path, "\(file) cannot be found, or is no file", remedy: "Install the token's PKCS #11 module and name its shared library")
      return
    }
    if facts.mode & 0o022 != 0 {
      note(path, "Others may change \(file) (mode \(octal(facts.mode)))", remedy: "chmod go-w \(file)")
    }
  }

  mutating func webhookSecret(_ path: String, _ file: String) {
    guard bytes(path, file, isSecret: true) != nil else { return }
    if WebhookWay.secret(in: file) == nil {
      note(path, "The first line of \(file) is no secret of 16 to 4096 bytes", remedy: "Make one: openssl rand -hex 32 > \(file); chmod 0600 \(file)")
    }
  }

  /// A program of ours: who may change it acts as this user.
  mutating func command(_ path: String, _ file: String) {
    guard let facts = FileFacts(file) else {
      return note(path, "\(file) cannot be found: \(String(cString: strerror(errno)))", remedy: "Put the program there or correct the path")
    }
    guard facts.kind == .typeRegular, access(file, X_OK) == 0 else {
      return note(path, "\(file) is no program that this user may run", remedy: "Name a program, or run: chmod 0755 \(file)")
    }
    if facts.mode & 0o022 != 0 {
      note(path, "Others than its owner may change \(file) (mode \(octal(facts.mode)))", remedy: "chmod go-w \(file)")
    }
  }

  mutating func keytab(_ path: String, _ file: String) {
    guard let bytes = bytes(path, file, isSecret: true) else { return }
    // MIT keytabs begin with 0x05 and the version, 0x02 in every one since 1990.
    if !bytes.starts(with: [0x05, 0x02]) {
      note(path, "\(file) is not a keytab", remedy: "Make one with ktpass or ktutil; klist -k \(file) shows what is in it")
    }
  }

  private mutating func text(_ path: String, _ file: String, isSecret: Bool = false) -> String? {
    guard let bytes = bytes(path, file, isSecret: isSecret) else { return nil }
    guard let text = StrictText.utf8(bytes) else {
      note(path, "\(file) is not a PEM file", remedy: "Convert it from DER: openssl x509 -inform DER, or openssl pkey -inform DER")
      return nil
    }
    return text
  }

  private mutating func bytes(_ path: String, _ file: String, isSecret: Bool) -> [UInt8]? {
    guard let facts = FileFacts(file) else {
      note(path, "\(file) cannot be found: \(String(cString: strerror(errno)))", remedy: "Put the file there or correct the path")
      return nil
    }
    guard facts.kind == .typeRegular else {
      note(path, "\(file) is not a regular file", remedy: "Name a file")
      return nil
    }
    if isSecret, facts.mode & 0o027 != 0 {
      note(path, "Others may read or change \(file) (mode \(octal(facts.mode)))", remedy: "chmod 0600 \(file)")
    }
    guard facts.size <= FileCheck.maximumBytes else {
      note(path, "\(file) has more than \(describe(byteCount: FileCheck.maximumBytes))", remedy: "Check that it is the right file")
      return nil
    }
    guard let data = FileManager.default.contents(atPath: file) else {
      note(path, "\(file) cannot be read by this user", remedy: "Give the user that runs gatehouse the right to read it")
      return nil
    }
    return Array(data)
  }

  private func octal(_ mode: Int) -> String { "0" + String(mode & 0o7777, radix: 8) }
}

/// What a path leads to, links followed.
private struct FileFacts {
  var kind: FileAttributeType
  /// The permission bits.
  var mode: Int
  var size: Int

  /// Nil where there is nothing; `errno` tells why.
  init?(_ path: String) {
    let resolved = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    guard access(resolved, F_OK) == 0, let attributes = try? FileManager.default.attributesOfItem(atPath: resolved),
      let kind = attributes[.type] as? FileAttributeType
    else { return nil }
    self.kind = kind
    mode = (attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0o777
    size = (attributes[.size] as? NSNumber)?.intValue ?? .max
  }
}

/// The PEM blocks labelled CERTIFICATE, each as a text of its own.
private func pemCertificates(in text: String) -> [String] {
  let begin = "-----BEGIN CERTIFICATE-----"
  let end = "-----END CERTIFICATE-----"
  var blocks: [String] = []
  var rest = text[...]
  while let start = rest.range(of: begin), let stop = rest[start.upperBound...].range(of: end) {
    blocks.append(String(rest[start.lowerBound..<stop.upperBound]) + "\n")
    rest = rest[stop.upperBound...]
  }
  return blocks
}
