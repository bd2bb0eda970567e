import Bytes
import CertificateLifecycle
import Testing

@Suite struct `A ring of token-signing keys` {
  private func key(_ id: String, _ state: SigningKeyState, _ family: SigningKeyFamily = .rsa, prepared: Int64 = 0) -> SigningKeyPlace {
    SigningKeyPlace(
      id: id, family: family, state: state, prepared: Instant(milliseconds: prepared * 1000), notAfter: Instant(milliseconds: 1_000_000_000))
  }

  private func signer(_ ring: [SigningKeyPlace], _ family: SigningKeyFamily = .rsa, assigned: String? = nil) -> String? {
    SigningKeyRing.signer(ring, family: family, assigned: assigned)?.id
  }

  private func published(_ ring: [SigningKeyPlace], _ family: SigningKeyFamily = .rsa, assigned: String? = nil) -> [String] {
    SigningKeyRing.published(ring, family: family, assigned: assigned).map(\.id)
  }

  private var ring: [SigningKeyPlace] {
    [
      key("retired", .retired, prepared: 1), key("retiring", .retiring, prepared: 2), key("primary", .primary, prepared: 3),
      key("next", .published, prepared: 4), key("later", .prepared, prepared: 5), key("curve", .primary, .ecdsa, prepared: 0),
    ]
  }

  @Test func `signs with its family's primary`() {
    #expect(signer(ring) == "primary")
    #expect(signer(ring, .ecdsa) == "curve")
    #expect(signer([]) == nil)
    #expect(signer([key("a", .published), key("b", .prepared), key("c", .retired), key("d", .retiring)]) == nil)
  }

  @Test func `signs with an assigned key while metadata shows it, and with the primary otherwise`() {
    #expect(signer(ring, assigned: "next") == "next")
    #expect(signer(ring, assigned: "retiring") == "retiring")
    for other in ["retired", "later", "nobody", "curve", ""] { #expect(signer(ring, assigned: other) == "primary") }
    #expect(signer(ring, .ecdsa, assigned: "next") == "curve")
  }

  @Test func `shows the signer first, then by age, then the other family, and no key that is unknown or over`() {
    #expect(published(ring) == ["primary", "retiring", "next", "curve"])
    #expect(published(ring, .ecdsa) == ["curve", "retiring", "primary", "next"])
    #expect(published(ring, assigned: "next") == ["next", "retiring", "primary", "curve"])
    #expect(published([key("b", .published), key("a", .published)]) == ["a", "b"])
    #expect(published([]).isEmpty)
  }

  @Test(arguments: SigningKeyState.allCases) func `is in metadata in three of its states`(_ state: SigningKeyState) {
    #expect(state.isInMetadata == [.published, .primary, .retiring].contains(state))
    #expect(published([key("a", state)]) == (state.isInMetadata ? ["a"] : []))
    let place = key("a", state, prepared: 7)
    #expect((place.published != nil) == (state == .published || state == .primary))
    #expect((place.promoted != nil) == (state == .primary))
  }
}
