import Bytes

/// When token-signing certificates are made, used and given up. Names and defaults are those of AD FS (`Set-AdfsProperties`); all times are durations, so that
/// a year can be played in a minute.
package struct RolloverPolicy: Sendable, Equatable, Codable {
  /// Whether the gateway makes and promotes keys of its own accord. Off, it only warns.
  package var autoCertificateRollover = true
  /// The life of a certificate that is made.
  package var certificateDuration: Duration = .days(365)
  /// The next key is made when the primary's certificate has this much left.
  package var certificateGenerationThreshold: Duration = .days(20)
  /// How long a key is in metadata before it signs anything.
  package var certificatePromotionThreshold: Duration = .days(5)
  /// When the primary's certificate has this much left, whoever has not got the next key is about to break.
  package var certificateCriticalThreshold: Duration = .days(2)
  /// How often the gateway looks whether there is something to do.
  package var certificateRolloverInterval: Duration = .seconds(720 * 60)
  /// How long a key stays in metadata after it last signed for anybody: longer than any token lives and any relying party waits.
  package var certificateRetirement: Duration = .days(5)
  /// When people are told of a relying party that will break, before the end of the primary's certificate. Falling.
  package var warnings: [Duration] = [.days(60), .days(30), .days(7), .days(2)]

  /// What keys are made: `rsa2048`, `rsa3072`, `rsa4096`, and `p256` or `p384`.
  package var rsaKey = "rsa2048"
  package var ecdsaKey = "p256"

  package init() {}

  package func keyKind(of family: SigningKeyFamily) -> String { family == .rsa ? rsaKey : ecdsaKey }

  /// What is wrong with it, in words, or nil.
  package var problem: String? {
    let all = [
      certificateDuration, certificateGenerationThreshold, certificatePromotionThreshold, certificateCriticalThreshold, certificateRolloverInterval,
      certificateRetirement,
    ]
    guard all.allSatisfy({ $0 > .zero && $0 <= .days(36_500) }), warnings.allSatisfy({ $0 > .zero && $0 <= .days(36_500) }) else {
      return "every duration is more than nothing and at most 100 years"
    }
    guard certificateGenerationThreshold < certificateDuration else {
      return "certificateGenerationThreshold must be less than certificateDuration: the next key would be due before the first one is used"
    }
    guard certificatePromotionThreshold < certificateGenerationThreshold else {
      return "certificatePromotionThreshold must be less than certificateGenerationThreshold: the primary would end before the next key may sign"
    }
    guard certificateCriticalThreshold <= certificateGenerationThreshold else {
      return "certificateCriticalThreshold must not be more than certificateGenerationThreshold"
    }
    guard certificateRolloverInterval <= certificatePromotionThreshold else {
      return "certificateRolloverInterval must not be more than certificatePromotionThreshold: steps would be missed"
    }
    guard ["rsa2048", "rsa3072", "rsa4096"].contains(rsaKey), ["p256", "p384"].contains(ecdsaKey) else {
      return "RSA keys are rsa2048, rsa3072 or rsa4096, and ECDSA keys p256 or p384"
    }
    guard (1...8).contains(warnings.count) else { return "there are 1 to 8 warnings" }
    return nil
  }
}

extension Duration {
  package static func days(_ days: Int64) -> Duration { .seconds(days * 86_400) }
}
