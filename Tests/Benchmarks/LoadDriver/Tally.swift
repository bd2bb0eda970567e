/// What came back for one attempt.
enum Answer: Sendable {
  case accepted(reference: UInt64?)
  case refused(code: String, reference: UInt64?)
  /// 503: could not find out.
  case unavailable(retryAfter: Bool)
  /// 429: the front-end's own rate.
  case limited
  /// An answer that is none of these.
  case unexpected(String)
  /// The connection ended first.
  case cut
  case timedOut
}

/// What all answers came to, judged by what the oracle knows.
struct Tally: Sendable {
  struct Slowest: Sendable {
    var nanoseconds: UInt64 = 0
    var what = "-"
  }

  var accepted = Histogram()
  var refused = Histogram()
  var unavailable = Histogram()
  /// Accepted only, by the suffix of the names.
  var acceptedByGroup: [Histogram]
  /// Attempts by kind, and those of them that got a verdict.
  var asked: [Attempt.Kind: Int] = [:]
  var answered: [Attempt.Kind: Int] = [:]
  /// Verdicts inside the measured time.
  var measured = 0
  var wrongYes = 0
  var wrongNo = 0
  /// All refusals, by code.
  var refusedBy: [String: Int] = [:]
  /// Right passwords that were refused with a code that does not say that they are wrong.
  var withheld: [String: Int] = [:]
  var unavailableWithRetryAfter = 0
  var unavailableWithout = 0
  var limited = 0
  var cut = 0
  var timedOut = 0
  var unexpected = 0
  /// The first few answers that must not be, in words.
  var samples: [String] = []
  var slowest = Slowest()

  init(groups: Int) { acceptedByGroup = Array(repeating: Histogram(), count: groups) }

  /// - Parameters:
  ///   - latency: nanoseconds since the attempt was due.
  ///   - measured: false while the servers warm up: the verdict counts, its latency does not.
  mutating func count(_ answer: Answer, to attempt: Attempt, latency: UInt64, measured inTime: Bool) {
    asked[attempt.kind, default: 0] += 1
    let mayBeAccepted = attempt.kind == .right
    switch answer {
    case .accepted:
      if !mayBeAccepted {
        wrongYes += 1
        sample("WRONG YES", attempt)
      }
      verdict(attempt, inTime)
      if inTime {
        accepted.add(nanoseconds: latency)
        acceptedByGroup[attempt.group].add(nanoseconds: latency)
      }
    case .refused(let code, _):
      refusedBy[code, default: 0] += 1
      if mayBeAccepted {
        if code == "invalid_credentials" {
          wrongNo += 1
          sample("WRONG NO", attempt)
        } else {
          withheld[code, default: 0] += 1
        }
      }
      verdict(attempt, inTime)
      if inTime { refused.add(nanoseconds: latency) }
    case .unavailable(let retryAfter):
      if retryAfter { unavailableWithRetryAfter += 1 } else { unavailableWithout += 1 }
      if inTime { unavailable.add(nanoseconds: latency) }
    case .limited: limited += 1
    case .unexpected(let text):
      unexpected += 1
      sample(text, attempt)
    case .cut: cut += 1
    case .timedOut: timedOut += 1
    }
    if inTime, latency > slowest.nanoseconds { slowest = Slowest(nanoseconds: latency, what: "\(attempt.kind) \(attempt.userName): \(answer.gist)") }
  }

  private mutating func verdict(_ attempt: Attempt, _ inTime: Bool) {
    answered[attempt.kind, default: 0] += 1
    if inTime { measured += 1 }
  }

  private mutating func sample(_ what: String, _ attempt: Attempt) {
    if samples.count < 10 { samples.append("\(what): \(attempt.kind) \(attempt.userName)") }
  }

  mutating func add(_ other: Tally) {
    accepted.add(other.accepted)
    refused.add(other.refused)
    unavailable.add(other.unavailable)
    for index in acceptedByGroup.indices { acceptedByGroup[index].add(other.acceptedByGroup[index]) }
    asked.merge(other.asked, uniquingKeysWith: +)
    answered.merge(other.answered, uniquingKeysWith: +)
    measured += other.measured
    wrongYes += other.wrongYes
    wrongNo += other.wrongNo
    refusedBy.merge(other.refusedBy, uniquingKeysWith: +)
    withheld.merge(other.withheld, uniquingKeysWith: +)
    unavailableWithRetryAfter += other.unavailableWithRetryAfter
    unavailableWithout += other.unavailableWithout
    limited += other.limited
    cut += other.cut
    timedOut += other.timedOut
    unexpected += other.unexpected
    samples = Array((samples + other.samples).prefix(10))
    if other.slowest.nanoseconds > slowest.nanoseconds { slowest = other.slowest }
  }
}

extension Answer {
  /// For the line about the slowest one.
  var gist: String {
    switch self {
    case .accepted(let reference): "accepted" + Reference.suffix(reference)
    case .refused(let code, let reference): code + Reference.suffix(reference)
    case .unavailable: "503"
    case .limited: "429"
    case .unexpected(let text): text
    case .cut: "cut"
    case .timedOut: "no answer"
    }
  }
}

/// The 60 bits of an answer's reference: 12 characters of Crockford's base 32.
enum Reference {
  private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)
  private static let values: [UInt8] = {
    var values = [UInt8](repeating: 255, count: 256)
    for (value, letter) in alphabet.enumerated() { values[Int(letter)] = UInt8(value) }
    return values
  }()

  /// Nil where it is no reference.
  static func bits(_ text: some Sequence<UInt8>) -> UInt64? {
    var bits: UInt64 = 0
    var count = 0
    for byte in text where byte != UInt8(ascii: "-") {
      let value = values[Int(byte)]
      guard value < 32, count < 12 else { return nil }
      bits = bits << 5 | UInt64(value)
      count += 1
    }
    return count == 12 ? bits : nil
  }

  static func text(_ bits: UInt64) -> String {
    var letters: [UInt8] = []
    for index in 0..<12 {
      if index == 4 || index == 8 { letters.append(UInt8(ascii: "-")) }
      letters.append(alphabet[Int(bits >> UInt64(55 - 5 * index) & 31)])
    }
    return String(decoding: letters, as: UTF8.self)
  }

  fileprivate static func suffix(_ bits: UInt64?) -> String { bits.map { " " + text($0) } ?? "" }
}
