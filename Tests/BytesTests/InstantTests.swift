import Bytes
import Foundation
import Testing

@Suite struct `An instant` {
  // Seconds from `date -u -d <text> +%s`.
  @Test(
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
      (1_795_244_648_123, "2026-11-21T07:04:08.123Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
      (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
      (253_402_300_799_999, "9999-12-31T23:59:59.999Z"), (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
      (-11_644_473_600_000, "1601-01-01T00:00:00.000Z"),
      (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
    ] as [(Int64, String)])
  func `is written as RFC 3339 in UTC`(milliseconds: Int64, text: String) {
    #expect(Instant(milliseconds: milliseconds).description == text)
  }

  @Test func `is written without a trap at the ends of time`() {
    for value in [Int64.min, .min + 1, -62_135_596_800_001, 253_402_300_800_000, .max] {
      #expect(Instant(milliseconds: value).description.hasSuffix("Z"))
    }
    #expect(Instant(milliseconds: 253_402_300_800_000).description == "10000-01-01T00:00:00.000Z")
  }

  @Test func `agrees with Foundation on every day of four centuries`() throws {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
    for day in stride(from: Int64(-135_140), through: 10_957, by: 17) {
      let instant = Instant(milliseconds: day * 86_400_000)
      let parts = calendar.dateComponents([.year, .month, .day], from: instant.date)
      let text = String(format: "%04d-%02d-%02d", parts.year ?? 0, parts.month ?? 0, parts.day ?? 0)
      #expect(instant.description.hasPrefix(text))
    }
  }

  @Test func `from a date truncates towards the past, and clamps what no Int64 holds`() {
    #expect(Instant(Date(timeIntervalSince1970: 1.9999)).milliseconds == 1999)
    #expect(Instant(Date(timeIntervalSince1970: -0.0001)).milliseconds == -1)
    #expect(Instant(Date(timeIntervalSince1970: 1e300)).milliseconds == .max)
    #expect(Instant(Date(timeIntervalSince1970: -1e300)).milliseconds == .min)
    #expect(Instant(Date(timeIntervalSince1970: .infinity)).milliseconds == .max)
    #expect(Instant(Date(timeIntervalSince1970: .nan)).milliseconds == .min)
  }

  @Test func `adds and subtracts without overflow`() {
    let end = Instant(milliseconds: .max)
    let beginning = Instant(milliseconds: .min)
    #expect(end.adding(.seconds(1)) == end)
    #expect(beginning.adding(.seconds(-1)) == beginning)
    #expect(end.adding(.seconds(Int64.max)) == end)
    #expect(Instant(milliseconds: 5).adding(.microseconds(1999)).milliseconds == 6)
    #expect(Instant(milliseconds: 5).adding(.microseconds(-1999)).milliseconds == 4)
    #expect(Instant(milliseconds: 7).since(Instant(milliseconds: 10)) == .milliseconds(-3))
    #expect(end.since(beginning) > .seconds(1_000_000_000))
    #expect(beginning.since(end) < .seconds(-1_000_000_000))
  }

  @Test func `travels as a number`() throws {
    let instant = Instant(milliseconds: -1)
    #expect(String(decoding: try JSONEncoder().encode([instant]), as: UTF8.self) == "[-1]")
    #expect(try JSONDecoder().decode([Instant].self, from: Data("[-1]".utf8)) == [instant])
    for bad in ["[1.5]", "[\"1\"]", "[1e400]", "[9223372036854775808]"] {
      #expect(throws: DecodingError.self) { try JSONDecoder().decode([Instant].self, from: Data(bad.utf8)) }
    }
  }
}
