import Bytes
import Cryptography
import Foundation

/// The rule by which the rows of a node's audit hang together.
///
/// `hash(n) = SHA-256(hash(n-1) ‖ row(n))`, where `row(n)` is the text `{"chain":"…","event":{…},"sequence":n}` and `hash(0)` is 32 zero bytes.
/// Whoever holds one hash can tell whether any row before it was altered, removed or put in another place.
package enum AuditChain {
  /// What stands before the first row of a chain.
  package static let genesis = [UInt8](repeating: 0, count: 32)

  /// The hash of a row, given that of the row before it and the canonical text of its event.
  package static func hash(after previous: [UInt8], chain: String, sequence: Int64, event: [UInt8]) -> [UInt8] {
    Digests.sha256(previous + row(chain: chain, sequence: sequence, event: event))
  }

  /// The text of a row over which the hash goes.
  package static func row(chain: String, sequence: Int64, event: [UInt8]) -> [UInt8] {
    var json = CanonicalJSON()
    json.object {
      $0.member("chain", chain)
      $0.member("event", canonical: event)
      $0.member("sequence", sequence)
    }
    return json.bytes
  }

  /// The rows that `events` become behind the row with `sequence` and `hash`, each with the canonical text of its event.
  package static func extend(
    _ chain: String, after sequence: Int64, hash: [UInt8], with events: [AuditEvent]
  ) -> [(row: AuditRow, event: [UInt8])] {
    var previous = hash
    var position = sequence
    return events.map { unbounded in
      let event = unbounded.bounded
      let text = event.canonical
      position += 1
      previous = AuditChain.hash(after: previous, chain: chain, sequence: position, event: text)
      return (AuditRow(chain: chain, sequence: position, event: event, hash: previous), text)
    }
  }
}

extension AuditEvent {
  /// The event as JSON with sorted keys, in the one form that is hashed, stored and exported.
  package var canonical: [UInt8] {
    var json = CanonicalJSON()
    json.object {
      $0.member("actor", actor)
      $0.key("details")
      // Sorted by bytes: Swift's own order of strings is that of their normalised forms.
      let sorted = details.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
      $0.object { members in for (key, value) in sorted { members.member(key, value) } }
      $0.member("kind", kind.rawValue)
      $0.member("object", object?.description)
      $0.member("outcome", outcome)
      $0.member("realm", realm?.text)
      $0.member("reference", reference?.text)
      $0.member("subject", subject)
      $0.member("time", time.milliseconds)
      $0.key("trace")
      $0.array(trace) { element, note in
        element.object {
          $0.member("detail", note.detail)
          $0.member("milliseconds", note.milliseconds)
          $0.member("step", note.step.rawValue)
        }
      }
    }
    return json.bytes
  }

  /// Reads what `canonical` wrote; nil for any other text, also where it is JSON for the same event written in another way.
  package init?(canonical text: some Collection<UInt8>) {
    let bytes = Array(text)
    // An event nests three deep; anything deeper is not ours, and a recursive decoder shall not see it.
    guard bytes.count <= AuditEvent.maximumBytes, jsonDepth(bytes) <= 3 else { return nil }
    guard let event = try? JSONDecoder().decode(AuditEvent.self, from: Data(bytes)), event.canonical == bytes else { return nil }
    self = event
  }

  /// More than any bounded event can take.
  package static let maximumBytes = 1 << 20

  /// The event with every text cut to its limit, so that nobody can fill the audit with one row: actor 256 bytes, subject 512, outcome 128,
  /// 64 details of at most 64 and 1,024 bytes, 64 notes of at most 1,024. A measured time that is no number is left out.
  package var bounded: AuditEvent {
    // Nearly every event is within the bounds as it is.
    let fits =
      actor.utf8.count <= 256 && (subject?.utf8.count ?? 0) <= 512 && outcome.utf8.count <= 128 && details.count <= 64 && trace.count <= 64
      && details.allSatisfy({ $0.key.utf8.count <= 64 && $0.value.utf8.count <= 1024 })
      && trace.allSatisfy({ $0.detail.utf8.count <= 1024 && $0.milliseconds?.isFinite ?? true })
    if fits { return self }
    var event = self
    event.actor = actor.prefix(bytes: 256)
    event.subject = subject?.prefix(bytes: 512)
    event.outcome = outcome.prefix(bytes: 128)
    let kept = details.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.prefix(64)
    event.details = Dictionary(kept.map { ($0.key.prefix(bytes: 64), $0.value.prefix(bytes: 1024)) }, uniquingKeysWith: { first, _ in first })
    event.trace = trace.prefix(64).map {
      TraceNote($0.step, $0.detail.prefix(bytes: 1024), milliseconds: $0.milliseconds.flatMap { $0.isFinite ? $0 : nil })
    }
    return event
  }
}

/// How deep the brackets of a JSON text nest, without reading it otherwise.
func jsonDepth(_ bytes: [UInt8]) -> Int {
  var depth = 0
  var deepest = 0
  var inString = false
  var escaped = false
  for byte in bytes {
    if inString {
      if escaped {
        escaped = false
      } else if byte == UInt8(ascii: "\\") {
        escaped = true
      } else if byte == UInt8(ascii: "\"") {
        inString = false
      }
      continue
    }
    switch byte {
    case UInt8(ascii: "\""): inString = true
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      depth += 1
      deepest = max(deepest, depth)
    case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
    default: break
    }
  }
  return deepest
}

extension String {
  /// The longest beginning of at most `count` bytes that ends with a whole scalar.
  fileprivate func prefix(bytes count: Int) -> String {
    guard utf8.count > count else { return self }
    var result = ""
    var used = 0
    for scalar in unicodeScalars {
      used += UTF8.width(scalar)
      guard used <= count else { break }
      result.unicodeScalars.append(scalar)
    }
    return result
  }
}
