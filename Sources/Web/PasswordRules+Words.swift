import Identity

// What a person reads about a new password that was not taken.

extension PasswordRule {
  /// What the API calls it.
  var code: String {
    switch self {
    case .tooShort: "too_short"
    case .usedBefore: "used_before"
    case .tooSoon: "too_soon"
    case .tooSimple: "too_simple"
    case .mayNotChange: "may_not_change"
    case .other: "other"
    }
  }
}

extension PasswordRules {
  /// Sentences that may be shown to the person: what is wrong with the new password, or where the directory does not say, everything that is asked of one.
  var sentences: [String] {
    guard broken.isEmpty else { return brokenInOrder.map(sentence) }
    let demands: [String] = [
      minimumLength.map { "have at least \($0) characters" }, complexity == true ? PasswordRules.complexityDemand : nil,
      historyLength.map { "be none of your last \($0) passwords" },
    ].compactMap(\.self)
    var sentences = ["The new password was not accepted."]
    if demands.isEmpty {
      sentences.append("Choose a longer one that you have not used before, or ask your administrator for the rules.")
    } else {
      sentences.append("It must \(PasswordRules.joined(demands)).")
    }
    if let minimumAge { sentences.append("A password may be changed after \(PasswordRules.words(minimumAge)) at the earliest.") }
    return sentences
  }

  private func sentence(_ rule: PasswordRule) -> String {
    switch rule {
    case .tooShort: minimumLength.map { "The new password must have at least \($0) characters." } ?? "The new password is too short."
    case .usedBefore:
      historyLength.map { "You have used this password before. Choose one that is none of your last \($0)." }
        ?? "You have used this password before. Choose another one."
    case .tooSoon:
      minimumAge.map { "You changed your password a short time ago. It may be changed again \(PasswordRules.words($0)) after the last change." }
        ?? "You changed your password a short time ago. Wait before you change it again."
    case .tooSimple: "The new password must \(PasswordRules.complexityDemand)."
    case .mayNotChange: "Your password cannot be changed here. Ask your administrator."
    case .other: "The new password cannot be used. Choose another one."
    }
  }

  private static let complexityDemand =
    "have characters of three kinds (capital letters, small letters, digits, other characters) and not contain your name"

  private static func joined(_ demands: [String]) -> String {
    demands.count < 2 ? demands.joined() : demands.dropLast().joined(separator: ", ") + " and " + (demands.last ?? "")
  }

  /// `1 day`, `12 hours`, `90 minutes`: the largest unit that says it exactly.
  static func words(_ duration: Duration) -> String {
    let seconds = duration.components.seconds
    let (number, unit): (Int64, String) =
      switch seconds {
      case 86_400... where seconds % 86_400 == 0: (seconds / 86_400, "day")
      case 3600... where seconds % 3600 == 0: (seconds / 3600, "hour")
      case 60... where seconds % 60 == 0: (seconds / 60, "minute")
      default: (seconds, "second")
      }
    return "\(number) \(unit)\(number == 1 ? "" : "s")"
  }
}

extension PasswordChangeOutcome {
  /// What a person does where nobody knows whether the password was changed.
  static let unknownSentence =
    "Whether the password was changed could not be found out. Sign in with the new password; if that does not work, with the old one."
}
