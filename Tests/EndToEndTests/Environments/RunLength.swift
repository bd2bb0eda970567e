import Foundation

/// How often scenarios do what they do: a few times, or as often as was promised (`Tests/run --long`).
enum RunLength {
  static let isLong = ProcessInfo.processInfo.environment["GATEHOUSE_LONG"] != nil

  static func of<Number>(_ few: Number, long: Number) -> Number { isLong ? long : few }
}
