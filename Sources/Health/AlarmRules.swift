import Bytes
import Cryptography
import Identity

/// The times of the telling.
package struct AlarmPolicy: Sendable, Equatable {
  /// How often an alarm that nobody acknowledged is told again.
  package var interval: Duration = .seconds(86_400)
  /// How long an alarm stands before it is told: what mends itself in a moment wakes nobody.
  package var settle: Duration = .seconds(10)
  /// How long it must be gone before that is told. With `warmUp` well below a minute.
  package var clear: Duration = .seconds(15)
  /// After its start a node raises and clears nothing for so long: agents come back first, files are read first.
  package var warmUp: Duration = .seconds(20)
  /// A node says again that it sees an alarm so often, and one that has not said it for `holderLife` does not count any more.
  package var refresh: Duration = .seconds(30)
  package var holderLife: Duration = .seconds(120)
  /// Changes of the condition alone are told at most so often.
  package var changes: Duration = .seconds(300)
  /// After the first failure, then twice as long each time, up to the longest.
  package var firstRetry: Duration = .seconds(5)
  package var longestRetry: Duration = .seconds(300)
  /// A try that has not ended after so long was lost with its node.
  package var lease: Duration = .seconds(60)
  /// A way that has failed so often, or for so long, is an alarm itself.
  package var mostTries = 3
  package var longestTrouble: Duration = .seconds(60)
  /// A notice by a way that no node has any more is dropped after so long.
  package var orphanLife: Duration = .seconds(3600)
  /// More alarms of one code than these are told as one: ten thousand relying parties whose metadata cannot be read have one cause.
  package var mostOfCode = 50

  package init(interval: Duration = .seconds(86_400)) { self.interval = interval }
}

/// What becomes of a record when a node looks at it. Pure: whoever loses the race for the record in the store looks again.
package struct AlarmRules: Sendable {
  package let node: String
  /// The ways that this node has.
  package let ways: Set<String>
  package let policy: AlarmPolicy
  package let started: Instant

  package init(node: String, ways: Set<String>, policy: AlarmPolicy, started: Instant) {
    self.node = node
    self.ways = ways
    self.policy = policy
    self.started = started
  }

  /// The changes of all records, of which `standing` are the alarms that this node sees.
  package func changes(of records: [AlarmRecord], standing: [Alarm], now: Instant) -> [AlarmChange] {
    let known = Dictionary(records.map { ($0.key, $0) }) { first, _ in first }
    let grouped = Dictionary(grouping: standing.filter(\.needsAction)) { AlarmKey($0.code, subject: $0.subject) }.compactMapValues(Alarm.merged)
    let alarms = bounded(grouped, known: known)
    let fresh = alarms.filter { known[$0.key] == nil }.values.map { AlarmChange.write(AlarmRecord($0, seenBy: node, now: now)) }
    let changed = known.values.compactMap { change(of: $0, alarm: alarms[$0.key], now: now) }
    return (fresh + changed).sorted { $0.record.key < $1.record.key }
  }

  /// The subject of the alarm that stands for those that are too many.
  package static let others = "others"

  /// At most so many alarms of a code, those first that are in the records already, and one for the others.
  private func bounded(_ alarms: [AlarmKey: Alarm], known: [AlarmKey: AlarmRecord]) -> [AlarmKey: Alarm] {
    var result = alarms
    for (code, group) in Dictionary(grouping: alarms, by: \.key.code) where group.count > policy.mostOfCode {
      let sorted = group.sorted { left, right in
        let (isKnown, otherIsKnown) = (known[left.key] != nil, known[right.key] != nil)
        return isKnown != otherIsKnown ? isKnown : (left.value.since, left.key) < (right.value.since, right.key)
      }
      let others = sorted.dropFirst(policy.mostOfCode)
      for (key, _) in others { result[key] = nil }
      guard let first = others.first?.value else { continue }
      let key = AlarmKey(code, subject: AlarmRules.others)
      result[key] = Alarm(
        code, subject: key.subject, severity: others.map(\.value.severity).max(), message: "\(others.count) further alarms of this kind stand.",
        remedy: "`gatehouse status` lists them all. The first of them: \(first.message) \(first.remedy)",
        since: others.map(\.value.since).min() ?? first.since, condition: AlarmRules.others)
    }
    return result
  }

  /// What becomes of one record; nil: it stays as it is.
  func change(of record: AlarmRecord, alarm: Alarm?, now: Instant) -> AlarmChange? {
    var record = record
    let before = record
    let isWarm = now.since(started) >= policy.warmUp
    hold(&record, alarm: alarm, isWarm: isWarm, now: now)
    for way in record.outgoing.keys where !ways.contains(way) {
      if let at = record.outgoing[way]?.at, now.since(at) >= policy.orphanLife { record.outgoing[way] = nil }
    }
    if let absent = record.absent {
      guard now.since(absent) >= policy.clear else { return record == before ? nil : .write(record) }
      if let told = record.told, told.kind != .cleared { queue(.cleared, by: told.ways, of: &record, now: now) }
      guard record.outgoing.isEmpty else { return record == before ? nil : .write(record) }
      return .remove(record)
    }
    if record.told?.kind == .cleared { (record.told, record.acknowledgement, record.seen) = (nil, nil, now) }
    tell(&record, isWarm: isWarm, now: now)
    return record == before ? nil : .write(record)
  }

  /// Who sees the alarm, and since when nobody does.
  private func hold(_ record: inout AlarmRecord, alarm: Alarm?, isWarm: Bool, now: Instant) {
    if var alarm {
      let isDue = record.holders[node].map { now.since($0) >= policy.refresh || $0 > now } ?? true
      if isDue { record.holders[node] = now }
      // Two nodes may say it in different words: the first one's stand while it sees the alarm, so that the two do not take turns.
      if record.holders.filter({ isAlive($0.value, now: now) }).keys.min() == node {
        if alarm.digest != record.alarm.digest {
          record.alarm = alarm
        } else if isDue {
          // Numbers in it that never stand still are not worth a write each time.
          alarm.since = record.alarm.since
          record.alarm = alarm
        }
      }
    } else if isWarm {
      record.holders[node] = nil
    }
    record.holders = record.holders.filter { isAlive($0.value, now: now) || ($0.key == node && !isWarm) }
    record.absent = record.holders.isEmpty ? record.absent ?? now : nil
  }

  private func isAlive(_ said: Instant, now: Instant) -> Bool { now.since(said) < policy.holderLife }

  /// What is told of an alarm that stands.
  private func tell(_ record: inout AlarmRecord, isWarm: Bool, now: Instant) {
    guard let told = record.told else {
      if isWarm, now.since(record.seen) >= policy.settle { queue(.raised, by: ways.sorted(), of: &record, now: now) }
      return
    }
    if told.digest != record.alarm.digest {
      // A clock that was set back must not silence changes for as long.
      let waited = now.since(told.at)
      guard record.alarm.severity != told.severity || waited >= policy.changes || waited < .zero else { return }
      record.acknowledgement = nil
      return queue(.changed, by: Set(told.ways).union(ways).sorted(), of: &record, now: now)
    }
    let strangers = ways.subtracting(told.ways)
    if !strangers.isEmpty {
      queue(.raised, by: strangers.sorted(), of: &record, now: now)
    } else if record.acknowledgement == nil, now.since(told.at) >= policy.interval {
      queue(.repeated, by: ways.sorted(), of: &record, now: now)
    }
  }

  private func queue(_ kind: AlarmNotice.Kind, by ways: [String], of record: inout AlarmRecord, now: Instant) {
    let mark = "\(record.key.code.rawValue)\n\(record.key.subject)\n\(record.seen.milliseconds)\n\(kind.rawValue)\n\(now.milliseconds)"
    let id = String(Digests.sha256(Array(mark.utf8)).hexadecimal.prefix(32))
    for way in ways where !(record.key.code == .alarmNotDelivered && record.key.subject == way) {
      var next = AlarmRecord.Outgoing(id: id, kind: kind, at: now, next: now)
      if let waiting = record.outgoing[way] {
        if kind == .cleared, waiting.kind == .raised, !waiting.mayHaveArrived, !waiting.isUnderWay {
          // Nobody heard of it by this way: nobody needs to hear that it is over.
          record.outgoing[way] = nil
          continue
        }
        if kind != .cleared, waiting.kind == .raised || waiting.kind == .changed { next.kind = waiting.kind }
        (next.tries, next.firstFailure, next.lastFailure) = (waiting.tries, waiting.firstFailure, waiting.lastFailure)
        next.mayHaveArrived = waiting.mayHaveArrived || waiting.isUnderWay
        if kind == .repeated { next.next = waiting.next }
      }
      record.outgoing[way] = next
    }
    record.told = AlarmRecord.Told(
      kind: kind, at: now, digest: record.alarm.digest, severity: record.alarm.severity, ways: Set(record.told?.ways ?? []).union(ways).sorted())
  }
}

extension AlarmRules {
  /// Takes the notice that is due by a way for sending; nil where there is none. The record must be written before it is sent.
  package func claim(_ record: AlarmRecord, by way: String, now: Instant) -> (record: AlarmRecord, notice: AlarmNotice)? {
    guard var outgoing = record.outgoing[way], outgoing.next <= now else { return nil }
    outgoing.tries += 1
    outgoing.isUnderWay = true
    outgoing.next = now.adding(policy.lease)
    var record = record
    record.outgoing[way] = outgoing
    return (record, AlarmNotice(id: outgoing.id, kind: outgoing.kind, time: outgoing.at, node: node, alarm: record.alarm))
  }

  /// What came of sending the notice `id` by a way; nil: the record stays as it is.
  package func settle(_ record: AlarmRecord, by way: String, id: String, delivery: AlarmDelivery, now: Instant) -> AlarmRecord? {
    guard var outgoing = record.outgoing[way] else { return nil }
    var record = record
    switch delivery {
    case .delivered where outgoing.id == id: record.outgoing[way] = nil
    case .delivered:
      // Meanwhile there is more to tell; but the receiver knows that the alarm stands.
      if outgoing.kind == .raised { outgoing.kind = .changed }
      (outgoing.tries, outgoing.firstFailure, outgoing.lastFailure, outgoing.next) = (0, nil, nil, now)
      record.outgoing[way] = outgoing
    case .failed(let reason, let mayHaveArrived):
      outgoing.isUnderWay = false
      outgoing.mayHaveArrived = outgoing.mayHaveArrived || mayHaveArrived
      outgoing.firstFailure = outgoing.firstFailure ?? now
      outgoing.lastFailure = String(decoding: reason.utf8.prefix(512), as: UTF8.self)
      let doublings = min(max(outgoing.tries, 1) - 1, 16)
      outgoing.next = now.adding(min(policy.firstRetry * (1 << doublings), policy.longestRetry))
      record.outgoing[way] = outgoing
    }
    return record
  }

  /// A way that works again: what waits for its next try by it is due now. Nil: nothing waits.
  package func hurry(_ record: AlarmRecord, by way: String, now: Instant) -> AlarmRecord? {
    guard let outgoing = record.outgoing[way], outgoing.tries > 0, !outgoing.isUnderWay, outgoing.next > now else { return nil }
    var record = record
    record.outgoing[way]?.next = now
    return record
  }

  /// An alarm for each way by which notices do not arrive.
  package func troubles(_ records: [AlarmRecord], now: Instant) -> [Alarm] {
    let waiting = records.flatMap { $0.outgoing.map { (way: $0.key, notice: $0.value) } }
    return Dictionary(grouping: waiting, by: \.way).compactMap { way, waiting -> Alarm? in
      let failing = waiting.map(\.notice).filter { notice in
        guard let first = notice.firstFailure else { return false }
        return notice.tries >= policy.mostTries || now.since(first) >= policy.longestTrouble
      }
      guard let first = failing.compactMap(\.firstFailure).min(), let last = failing.max(by: { $0.next < $1.next })?.lastFailure else { return nil }
      return Alarm(
        .alarmNotDelivered, subject: way,
        message: "Alarms do not arrive by \(way): \(last). \(waiting.count == 1 ? "One notice waits" : "\(waiting.count) notices wait").",
        remedy: "Mend the receiver or `alarms.\(way)` in the configuration, then run `gatehouse alarms test`. What waits is sent once it works.",
        since: first, condition: "not delivered")
    }.sorted { $0.subject < $1.subject }
  }
}
