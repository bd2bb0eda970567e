import Foundation

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, in store and wire alike (docs/architecture.md).
package struct Instant: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
  /// Milliseconds since 1970 UTC; negative before it.
  package var milliseconds: Int64

  package init(milliseconds: Int64) { self.milliseconds = milliseconds }

  /// Truncates towards the past, so that an instant is never in the future of its source.
  package init(_ date: Date) {
    let value = (date.timeIntervalSince1970 * 1000).rounded(.down)
    // A Date outside of Int64 milliseconds is clamped: it is ±292 million years away. NaN is no date and becomes the earliest.
    milliseconds = value >= 9.2e18 ? .max : value > -9.2e18 ? Int64(value) : .min
  }

  package init(from decoder: any Decoder) throws {
    milliseconds = try decoder.singleValueContainer().decode(Int64.self)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(milliseconds)
  }

  /// The same instant for APIs that want Foundation's type.
  package var date: Date { Date(timeIntervalSince1970: Double(milliseconds) / 1000) }

  package static func < (left: Instant, right: Instant) -> Bool { left.milliseconds < right.milliseconds }

  /// Saturates at the ends of Int64.
  package func adding(_ duration: Duration) -> Instant {
    let (sum, overflow) = milliseconds.addingReportingOverflow(duration.wholeMilliseconds)
    guard overflow else { return Instant(milliseconds: sum) }
    return Instant(milliseconds: duration < .zero ? .min : .max)
  }

  /// The time from `other` to `self`; negative when `other` is later. Saturates.
  package func since(_ other: Instant) -> Duration {
    let (difference, overflow) = milliseconds.subtractingReportingOverflow(other.milliseconds)
    return .milliseconds(overflow ? (self < other ? Int64.min : Int64.max) / 1000 : difference)
  }

  /// RFC 3339 with milliseconds, in UTC: `2026-11-21T07:04:08.123Z`.
  package var description: String {
    let (days, dayMilliseconds) = milliseconds.flooredDivision(by: 86_400_000)
    let (year, month, day) = Instant.civil(fromDays: days)
    let seconds = dayMilliseconds / 1000
    func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
    func three(_ value: Int64) -> String { value < 10 ? "00\(value)" : value < 100 ? "0\(value)" : "\(value)" }
    let fourYear = year >= 0 && year < 10_000 ? String(repeating: "0", count: 4 - "\(year)".count) + "\(year)" : "\(year)"
    let date = "\(fourYear)-\(two(month))-\(two(day))"
    return "\(date)T\(two(seconds / 3600)):\(two(seconds / 60 % 60)):\(two(seconds % 60)).\(three(dayMilliseconds % 1000))Z"
  }

  /// The proleptic Gregorian date of a day number counted from 1970-01-01.
  private static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468  // days since 0000-03-01
    let (era, dayOfEra) = shifted.flooredDivision(by: 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }
}

extension Int64 {
  fileprivate func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }
}

extension Duration {
  /// Whole milliseconds, truncated towards zero, saturating.
  package var wholeMilliseconds: Int64 {
    let (seconds, attoseconds) = components
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1000)
    if overflow { return seconds < 0 ? .min : .max }
    let (sum, sumOverflow) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000_000_000)
    return sumOverflow ? (seconds < 0 ? .min : .max) : sum
  }
}
