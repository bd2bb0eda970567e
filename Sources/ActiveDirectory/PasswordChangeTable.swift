import Bytes
import Identity

/// The one table from what a directory answers to a change of a password to what that means. It is closed: what is not listed is
/// `.unknown(.directoryError)`, never a yes and never a wrong password.
enum ChangeMeaning: Sendable, Equatable {
  case changed
  case refused(RefusalReason, subCode: String?)
  /// The account, or the rights of who asked, do not let the password be changed.
  case mayNotChange
  /// The new one breaks a rule; which, as far as the directory says.
  case broken(Set<PasswordRule>)
  case unknown(UnknownCause)

  init(_ result: LDAPResult, kind: DirectoryKind) {
    switch (result.code, kind) {
    case (0, _): self = .changed
    case (50, _): self = .mayNotChange  // insufficientAccessRights
    case (_, .activeDirectory): self = ChangeMeaning.ofActiveDirectory(result)
    case (_, .openLDAP): self = ChangeMeaning.ofOpenLDAP(result)
    }
  }

  /// AD puts the Win32 error in eight hexadecimal digits in front of its text: `0000052D: SvcErr: DSID-…, problem 5003 (WILL_NOT_PERFORM), data 0`,
  /// `00000056: AtrErr: DSID-…`. Samba's texts begin alike and go on in words, which tell the rule.
  private static func ofActiveDirectory(_ result: LDAPResult) -> ChangeMeaning {
    guard [1, 19, 49, 53].contains(result.code) else { return .unknown(result.unknownCause) }
    let digits = result.diagnostic.prefix { ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x66) }
    guard digits.count == 8, result.diagnostic.dropFirst(8).first == UInt8(ascii: ":"),
      let code = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    else { return .unknown(.directoryError) }
    let subCode = String(code, radix: 16)
    switch code {
    case 0x56: return .refused(.wrongPassword, subCode: subCode)  // ERROR_INVALID_PASSWORD
    case 0x52d: return .broken(rules(in: result.diagnostic))  // ERROR_PASSWORD_RESTRICTION
    case 0x5: return .mayNotChange  // ERROR_ACCESS_DENIED
    case 0x533: return .refused(.accountDisabled, subCode: subCode)  // ERROR_ACCOUNT_DISABLED
    case 0x775: return .refused(.directoryLocked, subCode: subCode)  // ERROR_ACCOUNT_LOCKED_OUT
    default: return .unknown(.directoryError)
    }
  }

  /// Samba 4.17, source4/dsdb/samdb/ldb_modules/password_hash.c; Windows says none of this.
  private static func rules(in text: [UInt8]) -> Set<PasswordRule> {
    let words = String(decoding: text, as: UTF8.self)
    if words.contains("the password is too short") { return [.tooShort] }
    if words.contains("does not meet the complexity criteria") { return [.tooSimple] }
    if words.contains("the password was already used") { return [.usedBefore] }
    if words.contains("password is too young to change") { return [.tooSoon] }
    return []
  }

  /// slapd's answers to RFC 3062, with those of the ppolicy overlay.
  private static func ofOpenLDAP(_ result: LDAPResult) -> ChangeMeaning {
    switch result.policy {
    case .accountLocked: return .refused(.directoryLocked, subCode: nil)
    case .passwordModNotAllowed: return .mayNotChange
    case .passwordTooShort: return .broken([.tooShort])
    case .passwordTooYoung: return .broken([.tooSoon])
    case .passwordInHistory: return .broken([.usedBefore])
    case .insufficientPasswordQuality: return .broken([.tooSimple])
    case .passwordTooLong: return .broken([.other])
    case .mustSupplyOldPassword, .passwordExpired, .changeAfterReset, nil: break
    }
    switch result.code {
    case 49: return .refused(.wrongPassword, subCode: nil)
    // slapd says so of an old password that does not match, and to whom its access rules do not let compare it. A bind has just found it right.
    case 53 where String(decoding: result.diagnostic, as: UTF8.self).contains("unwilling to verify old password"): return .mayNotChange
    case 19: return .broken([])
    default: return .unknown(result.unknownCause)
    }
  }
}

/// What a directory demands of new passwords; nil where it does not, or where it could not be read.
struct PasswordPolicy: Sendable, Equatable {
  var minimumLength: Int?
  var historyLength: Int?
  var minimumAge: Duration?
  var complexity: Bool?

  static let domainAttributes = ["minPwdLength", "pwdHistoryLength", "minPwdAge", "pwdProperties"]
  static let settingsAttributes = [
    "msDS-MinimumPasswordLength", "msDS-PasswordHistoryLength", "msDS-MinimumPasswordAge", "msDS-PasswordComplexityEnabled",
  ]
  static let overlayAttributes = ["pwdMinLength", "pwdInHistory", "pwdMinAge", "pwdCheckQuality"]

  init() {}

  /// The domain's own (MS-SAMR 3.1.1.5).
  init(domain entry: LDAPEntry) {
    read(entry, length: "minPwdLength", history: "pwdHistoryLength")
    minimumAge = entry.number("minPwdAge").flatMap(PasswordPolicy.age)
    complexity = entry.number("pwdProperties").map { $0 & 1 != 0 }  // DOMAIN_PASSWORD_COMPLEX
  }

  /// A password settings object's.
  init(settingsObject entry: LDAPEntry) {
    read(entry, length: "msDS-MinimumPasswordLength", history: "msDS-PasswordHistoryLength")
    minimumAge = entry.number("msDS-MinimumPasswordAge").flatMap(PasswordPolicy.age)
    complexity = entry.text("msDS-PasswordComplexityEnabled").map { $0.utf8.elementsEqual("TRUE".utf8) }
  }

  /// That of OpenLDAP's overlay, where the person's entry names one.
  init(overlay entry: LDAPEntry) {
    read(entry, length: "pwdMinLength", history: "pwdInHistory")
    minimumAge = entry.number("pwdMinAge").flatMap { (1...PasswordPolicy.longest).contains($0) ? .seconds($0) : nil }
  }

  private mutating func read(_ entry: LDAPEntry, length: String, history: String) {
    func number(_ name: String) -> Int? { entry.number(name).flatMap { (1...65_535).contains($0) ? Int($0) : nil } }
    minimumLength = number(length)
    historyLength = number(history)
  }

  /// A hundred years.
  private static let longest: Int64 = 100 * 366 * 86_400

  /// Negative, in units of 100 ns.
  private static func age(_ ticks: Int64) -> Duration? {
    guard ticks < 0, ticks != .min, -(ticks / 10_000_000) <= longest else { return nil }
    return .seconds(-(ticks / 10_000_000))
  }

  /// Which rules are broken. Where the directory says, what it says; else what can be seen: whether it was used before cannot, and a password filter
  /// has rules of its own, so that nothing seen means nothing said.
  ///
  /// - Parameter person: pwdLastSet, sAMAccountName and displayName, in AD.
  func rules(told: Set<PasswordRule>, old: Password, new: Password, person: LDAPEntry?, now: Instant) -> PasswordRules {
    var rules = PasswordRules(
      broken: told, minimumLength: minimumLength, historyLength: historyLength,
      minimumAgeSeconds: minimumAge.map { $0.components.seconds }, complexity: complexity)
    let changeable = minimumAge.flatMap { age in person?.fileTime("pwdLastSet").map { $0.adding(age) } }.flatMap { $0 > now ? $0 : nil }
    if told.isEmpty {
      if let minimumLength, UnicodePassword.units(new) < minimumLength { rules.broken.insert(.tooShort) }
      if changeable != nil { rules.broken.insert(.tooSoon) }
      if complexity == true, !UnicodePassword.isComplex(new, names: person.map(UnicodePassword.names) ?? []) { rules.broken.insert(.tooSimple) }
      if historyLength != nil, old.secret.matches(new.secret) { rules.broken.insert(.usedBefore) }
    }
    if rules.broken.contains(.tooSoon) { rules.changeableFrom = changeable }
    return rules
  }
}

/// Passwords as AD takes and measures them.
enum UnicodePassword {
  /// The value of unicodePwd: UTF-16LE between quotation marks (MS-ADTS 3.1.1.3.1.5).
  static func value(_ password: Password) -> Secret {
    var bytes: [UInt8] = []
    // Room for all of it, so that no part is left behind where the array grew from.
    bytes.reserveCapacity(password.secret.count * 2 + 4)
    func append(_ unit: UInt16) {
      bytes.append(UInt8(truncatingIfNeeded: unit))
      bytes.append(UInt8(truncatingIfNeeded: unit >> 8))
    }
    append(0x22)
    password.secret.withBytes { _ = transcode($0.makeIterator(), from: UTF8.self, to: UTF16.self, stoppingOnError: true, into: append) }
    append(0x22)
    return Secret(bytes)
  }

  /// How long AD says it is.
  static func units(_ password: Password) -> Int {
    var units = 0
    password.secret.withBytes { _ = transcode($0.makeIterator(), from: UTF8.self, to: UTF16.self, stoppingOnError: true) { _ in units += 1 } }
    return units
  }

  /// The names that a complex password may not contain: sAMAccountName, and the parts of displayName; none shorter than three characters.
  static func names(_ entry: LDAPEntry) -> [String] {
    let parts = (entry.text("displayName") ?? "").unicodeScalars.split { ",.-_ #\t".unicodeScalars.contains($0) }.map { String($0) }
    return ([entry.text("sAMAccountName")].compactMap(\.self) + parts).filter { $0.unicodeScalars.count >= 3 }
  }

  /// AD's complexity (MS-SAMR 3.1.1.7.2, "Password must meet complexity requirements"): characters of three of five kinds, and none of the names.
  static func isComplex(_ password: Password, names: [String]) -> Bool {
    var scalars = [Unicode.Scalar]()
    scalars.reserveCapacity(password.secret.count)
    defer { scalars.withUnsafeMutableBytes { bytes in if let base = bytes.baseAddress { wipe(base, bytes.count) } } }
    password.secret.withBytes { bytes in
      var decoder = UTF8()
      var iterator = bytes.makeIterator()
      while case .scalarValue(let scalar) = decoder.decode(&iterator) { scalars.append(scalar) }
    }
    var kinds: Set<Int> = []
    for scalar in scalars {
      let properties = scalar.properties
      if properties.generalCategory == .decimalNumber, scalar.isASCII {
        kinds.insert(2)
      } else if properties.isUppercase {
        kinds.insert(0)
      } else if properties.isLowercase {
        kinds.insert(1)
      } else if properties.isAlphabetic {
        kinds.insert(4)
      } else {
        kinds.insert(3)
      }
    }
    guard kinds.count >= 3 else { return false }
    return !names.contains { contains(scalars, $0.unicodeScalars.map(lowered)) }
  }

  private static func contains(_ scalars: [Unicode.Scalar], _ name: [Unicode.Scalar]) -> Bool {
    guard !name.isEmpty, scalars.count >= name.count else { return false }
    return (0...scalars.count - name.count).contains { start in
      name.indices.allSatisfy { lowered(scalars[start + $0]) == name[$0] }
    }
  }

  private static func lowered(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
    let lower = scalar.properties.lowercaseMapping.unicodeScalars
    return lower.count == 1 ? lower.first ?? scalar : scalar
  }
}
