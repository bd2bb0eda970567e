import Bytes
import Identity
import Testing

@Suite struct `A password` {
  private func password(_ bytes: some Sequence<UInt8>) -> Password? { Password(Secret(bytes)) }

  @Test func `that no directory may see is refused`() {
    #expect(password([]) == nil)  // RFC 4513 §5.1.2: an anonymous bind, which succeeds
    #expect(password([0x61, 0]) == nil && password([0]) == nil)
    #expect(
      password([0x61, 0xff]) == nil && password([0xc0, 0x80]) == nil && password([0xed, 0xa0, 0x80]) == nil && password([0x61, 0xc3]) == nil)
    #expect(password(String(repeating: "a", count: 257).utf8) == nil)
    #expect(password(String(repeating: "😀", count: 129).utf8) == nil)
    #expect(password([UInt8](repeating: 0x61, count: 1 << 20)) == nil)
  }

  @Test func `is kept exactly as typed`() throws {
    for text in [
      " ", "  a ", "e\u{301}", "\u{e9}", String(repeating: "a", count: 256), String(repeating: "😀", count: 128), String(repeating: "王", count: 256),
      "\t",
    ] {
      let kept = try #require(password(text.utf8))
      #expect(kept.secret.withBytes { Array($0) } == Array(text.utf8))
    }
  }

  @Test func `is redacted in a credential`() throws {
    let credential = Credential(
      userName: try #require(UserName("alice")), password: try #require(password("hunter2".utf8)), realm: try #require(RealmName("contoso.com")))
    var dumped = ""
    dump(credential, to: &dumped)
    print(credential, credential.password, to: &dumped)
    #expect(!dumped.contains("hunter2"))
  }
}

@Suite struct `A refusal` {
  @Test func `looks the same from outside for wrong password, unknown user and directory lock`() {
    for reason: RefusalReason in [.wrongPassword, .userNotFound, .ambiguousName, .directoryLocked] {
      #expect(reason.outerCode == .invalidCredentials && reason.countsAsGuess && !reason.provesPassword)
    }
  }

  @Test func `never both counts as a guess and proves the password`() {
    for reason in RefusalReason.allCases { #expect(!(reason.countsAsGuess && reason.provesPassword)) }
  }
}
