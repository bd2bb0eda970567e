import Bytes
import Foundation
import Logging

/// Sets up logging for the process: one line an event, on standard error, for programs (JSON) or for people.
enum Logs {
  static func start(_ configuration: LogConfiguration) {
    // A reader of the log that went away shows as an error of the write, not as the end of the process.
    signal(SIGPIPE, SIG_IGN)
    LoggingSystem.bootstrap { label in
      switch configuration.format {
      case .json: JSONLineLogHandler(label: label, logLevel: configuration.level)
      case .text:
        {
          var handler = StreamLogHandler.standardError(label: label)
          handler.logLevel = configuration.level
          return handler
        }()
      }
    }
  }
}

/// A log handler that writes one JSON object a line. Values from outside are escaped by the encoder, so no event can pose as two.
struct JSONLineLogHandler: LogHandler {
  let label: String
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?

  init(label: String, logLevel: Logger.Level) {
    self.label = label
    self.logLevel = logLevel
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var fields = metadata
    if let provided = metadataProvider?.get() { fields.merge(provided) { _, new in new } }
    if let given = event.metadata { fields.merge(given) { _, new in new } }
    var line: [String: String] = fields.reduce(into: [:]) { $0[$1.key == "hb.request.id" ? "requestId" : $1.key] = "\($1.value)" }
    line["time"] = Instant(Date()).description
    line["level"] = event.level.rawValue
    line["logger"] = label
    line["message"] = event.message.description
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard var data = try? encoder.encode(line) else { return }
    data.append(0x0a)
    // One write a line: lines of several threads do not mix (POSIX write(2) on pipes up to PIPE_BUF, and on files opened to append).
    // Foundation's other `write` traps when the log's disk is full or its reader is gone: neither may end a sign-in.
    try? FileHandle.standardError.write(contentsOf: data)
  }
}
