import Foundation

/// The `gatehouse` command line, as an administrator uses it.
struct AdminTool: Sendable {
  /// What a command printed and how it ended.
  struct Outcome: Sendable {
    var status: Int32
    var output: String
    var complaint: String
  }

  let socket: String

  /// Runs a command and answers whatever came of it. `input` becomes its standard input.
  static func run(_ arguments: [String], environment: [String: String] = [:], input: String? = nil) async throws -> Outcome {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: BuiltProgram.gatehouse)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(environment) { $1 }
        let output = Pipe()
        let complaint = Pipe()
        let typed = Pipe()
        process.standardOutput = output
        process.standardError = complaint
        process.standardInput = typed
        do {
          try process.run()
          try typed.fileHandleForWriting.write(contentsOf: Data((input ?? "").utf8))
          try typed.fileHandleForWriting.close()
          // Complaints are short: they fit into the pipe while the output is read.
          let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
          let complained = String(decoding: complaint.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
          process.waitUntilExit()
          continuation.resume(returning: Outcome(status: process.terminationStatus, output: said, complaint: complained))
        } catch {
          continuation.resume(throwing: error)
        }
      }
    }
  }

  /// A command for this gateway, whatever comes of it.
  func attempt(_ arguments: String...) async throws -> Outcome { try await attempt(arguments) }

  /// The same with arguments that were put together.
  func attempt(_ arguments: [String]) async throws -> Outcome { try await AdminTool.run(arguments, environment: ["GATEHOUSE_SOCKET": socket]) }

  /// A command that must succeed; answers what it printed.
  @discardableResult
  func callAsFunction(_ arguments: String...) async throws -> String {
    let outcome = try await AdminTool.run(arguments, environment: ["GATEHOUSE_SOCKET": socket])
    guard outcome.status == 0 else {
      throw ServerProcess.Failure(
        description: "gatehouse \(arguments.joined(separator: " ")) ended with \(outcome.status): \(outcome.output)\(outcome.complaint)")
    }
    return outcome.output
  }

  /// A command with `--json`, read as a program would. `status` exits with 1 where there are alarms; its JSON counts all the same.
  func json<Answer: Decodable>(_ type: Answer.Type = Answer.self, _ arguments: String...) async throws -> Answer {
    let outcome = try await AdminTool.run(arguments + ["--json"], environment: ["GATEHOUSE_SOCKET": socket])
    do { return try JSONDecoder().decode(Answer.self, from: Data(outcome.output.utf8)) } catch {
      throw ServerProcess.Failure(
        description: "gatehouse \(arguments.joined(separator: " ")) printed no such JSON (\(error)): \(outcome.output)\(outcome.complaint)")
    }
  }
}

/// The parts of the tool's JSON that scenarios look at.
enum Told {
  struct Key: Decodable {
    var frontEnd: String
    var apiKey: String?
    var previousKeyExpires: Int64?
  }

  struct Token: Decodable { var token: String }

  struct Agent: Decodable {
    var id: String
    var name: String
    var connected: Bool
    var draining: Bool
    var answered: Int64
    var certificateEnds: Int64?
    var quarantined: Int64?
  }

  struct Status: Decodable {
    struct Alarm: Decodable, Equatable {
      var code: String
      var subject: String
      var message: String
      var remedy: String
    }
    var node: String
    var agentsConnected: Int
    var alarms: [Alarm]
    var obstacles: [String]
  }

  struct Weather: Decodable {
    struct Server: Decodable {
      var server: String
      var state: String
      var lastFault: String?
      var connections: Int
      var connectionLimit: Int
    }
    var agent: String
    var reporting: Bool
    var servers: [Server]
  }

  struct UserState: Decodable {
    var name: String?
    var failures: Int
    var lockedUntil: Int64?
    var blocked: Bool
  }

  struct Explanation: Decodable {
    var reference: String
    var decision: String
    var cause: String
    var remedy: String
    var steps: [String]
  }

  struct Root: Decodable {
    var id: String
    var state: String
  }

  struct Row: Decodable {
    struct Event: Decodable {
      var kind: String
      var reference: String?
      var actor: String
      var subject: String?
      var outcome: String
    }
    var chain: String
    var sequence: Int64
    var event: Event
  }
}
