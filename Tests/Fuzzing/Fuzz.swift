import Bytes
import Foundation
import Identity
import PassThrough

@testable import ActiveDirectory
@testable import Web

// One program for every parser of foreign bytes; the variable FUZZ_TARGET says which. Tests/Fuzzing/README.md says how it is built and run.

/// The parsers, each with what must hold besides "it does not trap".
enum FuzzTarget: String, CaseIterable {
  case json, proxy, token, verdict, question, envelope, certificate, audit, name, address, diagnostic, planted

  func run(_ bytes: [UInt8]) {
    switch self {
    case .json:
      // What the scanner lets through, the decoder must take too: else the two disagree about what was said.
      if (try? JSONText(object: bytes)) != nil {
        check((try? JSONSerialization.jsonObject(with: Data(bytes))) != nil, "accepted, but no JSON for the decoder")
      }
    case .proxy:
      if case .header(_, let length) = ProxyHeader.parse(bytes) { check(length > 0 && length <= bytes.count, "a header longer than its bytes") }
    case .token:
      guard let text = StrictText.utf8(bytes), let token = try? EnrolmentToken(text) else { return }
      check((try? EnrolmentToken(token.text))?.text == token.text, "a token that does not read as it was written")
    case .verdict: _ = try? JSONDecoder().decode(VerdictsRequest.self, from: Data(bytes))
    case .question:
      guard let frame = try? JSONDecoder().decode(QuestionFrame.self, from: Data(bytes)), let allowance = frame.allowance else { return }
      _ = frame.digest
      // The numbers of an allowance come from elsewhere: whatever they are, weighing them must not trap.
      for threshold in [0, 1, 3, 65_535] {
        let policy = DirectoryLockoutPolicy(threshold: threshold, window: .seconds(1800), lock: nil)
        _ = policy.decide(count: allowance.counted, allowance: allowance)
      }
    case .envelope: _ = try? JSONDecoder().decode(SealedEnvelope.self, from: Data(bytes))
    case .certificate: _ = AgentCertificate(der: bytes)
    case .audit:
      var verifier = AuditExportVerifier()
      guard (try? verifier.read(bytes)) != nil else { return }
      _ = try? verifier.finish()
    case .name:
      guard let text = StrictText.utf8(bytes), let name = UserName(text) else { return }
      check(UserName(name.countingKey).map { $0.countingKey == name.countingKey } ?? true, "a counting key that is not its own")
    case .address:
      guard let text = StrictText.utf8(bytes), let address = IPAddress(text) else { return }
      check(IPAddress(address.description) == address, "an address that does not read as it was written")
    case .diagnostic: _ = ActiveDirectoryDiagnostic(bytes)
    // Tells whether the build looks for anything at all: with instrumentation this falls within seconds.
    // One branch a byte: coverage leads from one to the next, chance alone would take years.
    case .planted:
      guard bytes.count >= 4 else { return }
      guard bytes[0] == UInt8(ascii: "g") else { return }
      guard bytes[1] == UInt8(ascii: "a") else { return }
      guard bytes[2] == UInt8(ascii: "t") else { return }
      check(bytes[3] != UInt8(ascii: "e"), "the planted fault was found")
    }
  }

  private func check(_ holds: Bool, _ what: String) { precondition(holds, what) }
}

private let target: FuzzTarget = {
  guard let name = ProcessInfo.processInfo.environment["FUZZ_TARGET"], let target = FuzzTarget(rawValue: name) else {
    print("Set FUZZ_TARGET to one of: \(FuzzTarget.allCases.map(\.rawValue).joined(separator: " "))")
    exit(2)
  }
  return target
}()

/// What libFuzzer calls for every input; 0 means that it may keep it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  target.run(Array(UnsafeBufferPointer(start: data, count: count)))
  return 0
}
