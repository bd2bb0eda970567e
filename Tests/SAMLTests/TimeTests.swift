import Bytes
import Testing

@testable import SAML

@Suite struct `Times and durations` {
  @Test(arguments: [
    ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.001Z", 1), ("2000-02-29T23:59:59Z", 951_868_799_000),
    ("2026-11-18T08:26:40.123Z", 1_794_990_400_123),
    ("2026-11-18T08:26:40.1Z", 1_794_990_400_100), ("2026-11-18T08:26:40.12Z", 1_794_990_400_120),
    ("2026-11-18T08:26:40.123456789Z", 1_794_990_400_123),
    ("2024-12-31T23:59:59.999999999Z", 1_735_689_599_999), ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ("2100-02-28T00:00:00Z", 4_107_456_000_000),
  ]) func `are read to the millisecond, and what is finer is cut`(_ text: String, _ milliseconds: Int64) throws {
    #expect(DateTime.read(text) == Instant(milliseconds: milliseconds))
  }

  @Test func `are read as they are written, for every day of five centuries`() {
    // Every day at a time that moves through it.
    for day in Int64(0)..<180_000 {
      let instant = Instant(milliseconds: day * 86_400_000 + (day &* 7_919_993) % 86_400_000)
      guard DateTime.read(instant.description) == instant else {
        Issue.record("\(instant) is read as \(String(describing: DateTime.read(instant.description)))")
        return
      }
    }
  }

  static let noTimes: [String] = [
    "", "Z", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "-2026-01-01T00:00:00Z", "+2026-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
    "292277026597-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "2016-12-31T23:59:60Z", "2026-01-01T00:00:61Z",
    "2026-01-01T00:00:00", "2026-01-01T00:00:00z", "2026-01-01t00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00+00:00",
    "2026-01-01T00:00:00+99:99",
    "2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00.12a4Z",
    "2026-01-01T00:00Z", "2026-1-1T00:00:00Z", " 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z ", "2026-01-01T00:00:00ZZ", "2026-01-01T00:00:00Z\n",
    "2026-01-01T00:00:0\u{663}Z", "\u{ff12}026-01-01T00:00:00Z", "2026-01-01T00:00:+5Z", "2026-01-01T00:00:00.-1Z", "2026/01/01T00:00:00Z",
    "\u{0}026-01-01T00:00:00Z", "2026-01-01T00-00-00Z",
  ]

  @Test(arguments: noTimes) func `that are anything else are none`(_ text: String) { #expect(DateTime.read(text) == nil) }

  @Test func `of ten thousand digits are none`() {
    let digits = String(repeating: "9", count: 10_000)
    for text in ["\(digits)-01-01T00:00:00Z", "2026-01-01T00:00:00.\(digits)Z", "2026-\(digits)-01T00:00:00Z", digits] {
      #expect(DateTime.read(text) == nil)
    }
  }

  @Test(arguments: [
    ("PT0S", 0), ("PT1S", 1), ("PT5M", 300), ("PT1H", 3600), ("P1D", 86_400), ("P1M", 2_592_000), ("P1Y", 31_536_000), ("P1Y2M3DT4H5M6S", 36_993_906),
    ("PT1.5S", 1), ("P1DT0.000S", 86_400), ("P14D", 1_209_600), ("PT604800S", 604_800), ("P999999999Y", 31_535_999_968_464_000),
  ]) func `of metadata are whole seconds`(_ text: String, _ seconds: Int64) { #expect(SchemaDuration.seconds(text) == seconds) }

  @Test(arguments: [
    "", "P", "PT", "P1", "1D", "-P1D", "P-1D", "P1DT", "PT1", "P1H", "PT1D", "P1D1D", "P1M1Y1Y", "PT1.S", "PT.5S", "P1.5D", "PT1.5M", "P1D ", " P1D",
    "P1d",
    "P1DT1HT1M", "P9999999999Y", "P+1D", "P\u{661}D", "PTS", "PDT1S",
  ]) func `of metadata that are none are nothing`(_ text: String) { #expect(SchemaDuration.seconds(text) == nil) }

  @Test func `of metadata too long to count are nothing`() {
    #expect(SchemaDuration.seconds("P" + String(repeating: "9", count: 10_000) + "Y") == nil)
    #expect(SchemaDuration.seconds("P" + String(repeating: "1D", count: 10_000)) == nil)
  }

  @Test(arguments: ["_", "a", "_a-b.c", "Z9", "_" + String(repeating: "f", count: 255)]) func `An ID is a plain name`(_ text: String) {
    #expect(isMessageID(text))
  }

  @Test(arguments: [
    "", "1a", "-a", ".a", "a b", "a:b", "a'", "a\"", "a&", "é", "a\u{301}", "a\n", "a\u{0}", "_" + String(repeating: "f", count: 256), "#a", "a/b",
  ]) func `An ID is nothing else`(_ text: String) { #expect(!isMessageID(text)) }
}
