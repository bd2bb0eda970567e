import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// Debian's chromedriver on a port of its own: one for all tests, each of which opens a browser of its own (`Browser`).
actor ChromeDriver {
  static let shared = ChromeDriver()

  private var starting: Task<String, any Error>?
  private var process: LeashedProcess?

  /// Its address.
  func url() async throws -> String {
    if let starting { return try await starting.value }
    let task = Task { try await start() }
    starting = task
    return try await task.value
  }

  private func start() async throws -> String {
    let port = try BuiltProgram.freePort()
    let log = try BuiltProgram.log("browser", "chromedriver")
    let (leashed, _) = try await LeashedProcess.start(
      // It leads a session of its own, in which all browsers are: what is left of them ends with it, and nobody else does.
      """
      port=$1 log=$2
      export HOME=$(mktemp -d /tmp/gatehouse-browser-XXXXXX); export TMPDIR=$HOME
      /usr/bin/chromedriver --port=$port --log-level=WARNING </dev/null >"$log" 2>&1 &
      pid=$!
      for try in $(seq 400); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; kill -0 $pid || { cat "$log"; exit 1; }; sleep 0.05; done
      echo READY
      trap '' PIPE
      cat >/dev/null
      kill $pid; wait $pid
      for other in $(ps -o pid= -s $$); do [ "$other" = $$ ] || kill -9 "$other" 2>/dev/null; done
      rm -rf "$HOME"
      """, arguments: ["\(port)", log], until: "READY", within: .seconds(30))
    process = leashed
    return "http://127.0.0.1:\(port)"
  }

  /// One command of the WebDriver protocol; answers its `value`. `body` is a JSON object.
  static func command(_ method: String, _ url: String, _ body: String? = nil) async throws -> JSONValue {
    var request = HTTPClientRequest(url: url)
    request.method = .init(rawValue: method)
    if method == "POST" {
      request.headers.add(name: "content-type", value: "application/json")
      request.body = .bytes(ByteBuffer(string: body ?? "{}"))
    }
    let response = try await HTTPClient.shared.execute(request, timeout: .seconds(60))
    let bytes = try await response.body.collect(upTo: 32 << 20)
    let answer = try JSONDecoder().decode(JSONValue.self, from: Data(bytes.readableBytesView))
    guard response.status == .ok else {
      let error = answer["value"]
      throw Browser.Failure(code: error["error"].text ?? "", description: "\(error["error"].text ?? ""): \(error["message"].text?.prefix(500) ?? "")")
    }
    return answer["value"]
  }
}

/// Any JSON, to be looked into.
enum JSONValue: Codable, Equatable, Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }

  subscript(key: String) -> JSONValue { if case .object(let members) = self { members[key] ?? .null } else { .null } }
  var text: String? { if case .string(let value) = self { value } else { nil } }
  var isTrue: Bool { self == .bool(true) }
  var items: [JSONValue] { if case .array(let values) = self { values } else { [] } }

  var json: String { (try? JSONEncoder().encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "null" }
}
