import Foundation
import Testing

@testable import LoadDriver

@Suite("The load driver's ruler")
struct RulerTests {
  @Test("is off by less than 1.6 % over nine orders of magnitude")
  func precision() {
    for microseconds: UInt64 in [0, 1, 63, 64, 65, 127, 128, 1000, 4095, 4096, 15_000_000, 1 << 35] {
      let top = Histogram.top(of: Histogram.bucket(of: microseconds))
      #expect(top >= microseconds && Double(top - microseconds) <= Double(microseconds) / 64, "\(microseconds) is shown as \(top)")
    }
    for bucket in 0..<1900 { #expect(Histogram.bucket(of: Histogram.top(of: bucket)) == bucket) }
  }

  @Test("gives the percentile below which that share lies, and never more than the longest")
  func percentiles() throws {
    var histogram = Histogram()
    #expect(histogram.percentile(0.5) == nil)
    for milliseconds in 1...100 { histogram.add(nanoseconds: UInt64(milliseconds) * 1_000_000) }
    let median = try #require(histogram.percentile(0.5))
    #expect(abs(median - 50) < 1)
    #expect(histogram.percentile(1) == 100)
    var both = histogram
    both.add(histogram)
    #expect(both.count == 200 && both.percentile(0.5) == median)
  }

  @Test("takes answers that nobody would believe, too, without an end")
  func enormous() {
    var histogram = Histogram()
    histogram.add(nanoseconds: .max)
    #expect(histogram.count == 1 && histogram.percentile(0.99) != nil)
  }

  @Test("schedules the same arrivals for the same seed, at the rate that was asked for, and not evenly")
  func arrivals() {
    func gaps(_ seed: UInt64) -> [UInt64] {
      var arrivals = Arrivals(rate: 1000, start: 0, seed: seed)
      return (0..<20_000).map { _ in
        let before = arrivals.next
        arrivals.advance()
        return arrivals.next - before
      }
    }
    #expect(gaps(7) == gaps(7))
    #expect(gaps(7) != gaps(8))
    let mean = Double(gaps(7).reduce(0, +)) / 20_000
    #expect(abs(mean - 1_000_000) < 30_000)
    // Of a Poisson process e⁻¹ of the gaps are longer than the mean.
    let long = Double(gaps(7).count { $0 > 1_000_000 }) / 20_000
    #expect(abs(long - 0.368) < 0.02)
  }
}

@Suite("The load driver's oracle")
struct OracleTests {
  private func people(_ count: Int = 3) throws -> People {
    try People(text: (0..<count).map { "u\($0)\tRight.\($0)\textra\n" }.joined(), realm: "bench.test", bindName: "uid={name},dc=bench")
  }

  private func tally(_ answer: Answer, to kind: Attempt.Kind) -> Tally {
    var tally = Tally(groups: 1)
    tally.count(
      answer, to: Attempt(kind: kind, userName: "u", password: "p", bindName: "u", address: "100.64.0.0", group: 0), latency: 1, measured: true)
    return tally
  }

  @Test("knows names, passwords, bind names and realms")
  func reading() throws {
    let people = try people()
    #expect(people.people.map(\.userName) == ["u0@bench.test", "u1@bench.test", "u2@bench.test"])
    #expect(people.people[2].password == "Right.2" && people.people[2].bindName == "uid=u2,dc=bench" && people.people[2].address == "100.64.0.2")
    #expect(people.groups == ["bench.test"])
    #expect(throws: DriverProblem.self) { try People(text: "\n\tx\nname\n", realm: nil, bindName: nil) }
  }

  @Test("asks in the stated mix, and no wrong password is right")
  func mix() throws {
    let people = try people()
    let right = Dictionary(uniqueKeysWithValues: people.people.map { ($0.userName, $0.password) })
    var honest = HonestPeople(people: people, mix: try #require(Mix("right=80,wrong=15,unknown=5")), seed: 1)
    var counts: [Attempt.Kind: Int] = [:]
    for _ in 0..<10_000 {
      let next = honest.next()
      let attempt = try #require(next)
      counts[attempt.kind, default: 0] += 1
      #expect((right[attempt.userName] == attempt.password) == (attempt.kind == .right))
      #expect((right[attempt.userName] == nil) == (attempt.kind == .unknown))
    }
    #expect(abs(counts[.right, default: 0] - 8000) < 200 && abs(counts[.wrong, default: 0] - 1500) < 200)
    for text in ["", "right", "right=-1", "right=nan", "left=1", "right=0,wrong=0"] { #expect(Mix(text) == nil, "\(text)") }
  }

  @Test("sprays each password over everybody before it takes the next one, and ends with the last guess")
  func spray() throws {
    let people = try people()
    var spray = Spray(plan: try #require(Spray.Plan("guesses=7,users=3,addresses=2")), people: people, seed: 1)
    var guesses: [Attempt] = []
    while let guess = spray.next() { guesses.append(guess) }
    #expect(guesses.map(\.userName) == [0, 1, 2, 0, 1, 2, 0].map { "u\($0)@bench.test" })
    #expect(Set(guesses.prefix(3).map(\.password)).count == 1 && guesses[3].password != guesses[0].password)
    #expect(Set(guesses.map(\.address)).isSubset(of: ["198.18.0.0", "198.18.0.1"]))
    for text in ["guesses=0", "guesses=1e99", "people=3", "guesses"] { #expect(Spray.Plan(text) == nil, "\(text)") }
  }

  @Test("sprays from addresses in many networks, and with few people for each password, where it is told to")
  func elusiveSpray() throws {
    var spray = Spray(plan: try #require(Spray.Plan("guesses=600,users=3,addresses=300,networks=150,sharing=1")), people: try people(), seed: 1)
    var guesses: [Attempt] = []
    while let guess = spray.next() { guesses.append(guess) }
    #expect(Set(guesses.map(\.password)).count == 600)
    let networks = Set(guesses.map { $0.address.split(separator: ".").prefix(3).joined(separator: ".") })
    #expect(networks.count > 100 && networks.count <= 150)
    #expect(Set(guesses.map(\.address)).count > networks.count)
    #expect(Spray.Plan("addresses=1000,networks=2")?.addresses == 512)
  }

  @Test("guesses at others than the honest where it is told to")
  func apart() throws {
    let people = try people()
    var spray = Spray(plan: try #require(Spray.Plan("guesses=2,users=1,first=2")), people: people, seed: 1)
    #expect(spray.next()?.userName == "u2@bench.test")
    #expect(spray.next()?.userName == "u2@bench.test")
    var honest = HonestPeople(people: people, count: 2, mix: try #require(Mix("right=1")), seed: 1)
    #expect((0..<50).allSatisfy { _ in honest.next()?.userName != "u2@bench.test" })
  }

  @Test(
    "calls an accepted wrong password a wrong yes", arguments: [Attempt.Kind.wrong, .unknown, .guess])
  func wrongYes(kind: Attempt.Kind) {
    #expect(tally(.accepted(reference: nil), to: kind).wrongYes == 1)
    #expect(tally(.refused(code: "invalid_credentials", reference: nil), to: kind).wrongYes == 0)
  }

  @Test("calls a refused right password a wrong no, but not one that is withheld for another stated reason, and no 503")
  func wrongNo() {
    #expect(tally(.refused(code: "invalid_credentials", reference: nil), to: .right).wrongNo == 1)
    let locked = tally(.refused(code: "temporarily_locked", reference: nil), to: .right)
    #expect(locked.wrongNo == 0 && locked.withheld == ["temporarily_locked": 1])
    let unavailable = tally(.unavailable(retryAfter: false), to: .right)
    #expect(unavailable.wrongNo == 0 && unavailable.unavailableWithout == 1 && unavailable.measured == 0)
    #expect(tally(.accepted(reference: nil), to: .right).accepted.count == 1)
  }

  @Test("counts a verdict of the warm-up, but not its latency")
  func warmUp() {
    var tally = Tally(groups: 1)
    let attempt = Attempt(kind: .wrong, userName: "u", password: "p", bindName: "u", address: "100.64.0.0", group: 0)
    tally.count(.accepted(reference: nil), to: attempt, latency: 5, measured: false)
    #expect(tally.wrongYes == 1 && tally.accepted.count == 0 && tally.slowest.nanoseconds == 0)
  }
}

@Suite("The load driver's reading of answers")
struct MessageTests {
  private func message(_ text: String) -> FrontEndConnection.Message? { Array(text.utf8).withUnsafeBytes { FrontEndConnection.Message($0) } }

  private let accepted = #"{"method":"pass-through","reference":"7K3F-9Q2M-X1AB","verdict":"accepted"}"#

  @Test("takes a whole answer only, and leaves what follows")
  func whole() throws {
    let text = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(accepted.utf8.count)\r\n\r\n" + accepted
    for end in 0..<text.utf8.count { #expect(message(String(decoding: text.utf8.prefix(end), as: UTF8.self)) == nil) }
    let read = try #require(message(text + "HTTP/1.1"))
    #expect(read.length == text.utf8.count && !read.closes)
    guard case .accepted(let reference?) = read.answer else {
      Issue.record("\(read.answer)")
      return
    }
    #expect(Reference.text(reference) == "7K3F-9Q2M-X1AB")
  }

  @Test(
    "tells verdicts, 503 with and without Retry-After, 429, and everything else apart",
    arguments: [
      (200, "", #"{"code":"temporarily_locked","reference":"7K3F-9Q2M-X1AB","verdict":"refused"}"#, "temporarily_locked 7K3F-9Q2M-X1AB"),
      (503, "retry-after: 2\r\n", "{}", "503"), (429, "", "{}", "429"), (500, "", "oh", "status 500: oh"),
      (500, "", "<s:Envelope><a:FailedAuthentication/></s:Envelope>", "invalid_credentials"),
      (500, "", "<s:Envelope><a:InvalidScope/></s:Envelope>", "status 500: <s:Envelope><a:InvalidScope/></s:Envelope>"),
      (200, "", "<s:Envelope><t:RequestedSecurityToken/></s:Envelope>", "accepted"), (200, "", "<html>", "status 200: <html>"),
      (200, "", #"{"verdict":"accepted"}"#, #"status 200: {"verdict":"accepted"}"#),
      (200, "", #"{"reference":"7K3F-9Q2M-X1AB","verdict":"unknown"}"#, #"status 200: {"reference":"7K3F-9Q2M-X1AB","verdict":"unknown"}"#),
    ])
  func kinds(status: Int, field: String, body: String, gist: String) throws {
    let read = try #require(message("HTTP/1.1 \(status) X\r\n\(field)content-length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)"))
    #expect(read.answer.gist == gist && read.closes)
    if case .unavailable(let retryAfter) = read.answer { #expect(retryAfter == !field.isEmpty) }
  }

  @Test("ends a connection whose answers it cannot tell apart")
  func noLength() throws {
    let read = try #require(message("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello"))
    #expect(read.closes)
    guard case .unexpected = read.answer else {
      Issue.record("\(read.answer)")
      return
    }
  }

  @Test("reads and writes references, and nothing else")
  func references() {
    #expect(Reference.bits("7K3F-9Q2M-X1AB".utf8).map(Reference.text) == "7K3F-9Q2M-X1AB")
    #expect(Reference.bits("ZZZZ-ZZZZ-ZZZZ".utf8) == (1 << 60) - 1)
    for text in ["", "7K3F-9Q2M-X1A", "7K3F-9Q2M-X1ABC", "7K3F-9Q2M-X1AU", "7k3f-9q2m-x1ab"] { #expect(Reference.bits(text.utf8) == nil) }
  }
}

@Suite("The load driver's ledger")
struct LedgerTests {
  private func compare(_ acknowledged: [(String, Bool)], with rows: [String]) throws -> Ledger.Comparison {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-ledger-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let audit = folder.appendingPathComponent("audit").path
    try rows.map { $0 + "\n" }.joined().write(toFile: audit, atomically: true, encoding: .utf8)
    let path = folder.appendingPathComponent("ledger").path
    let written = try Ledger(path: path)
    for (reference, accepted) in acknowledged { written.note(try #require(Reference.bits(reference.utf8)), accepted: accepted) }
    written.flush()
    let read = try Ledger(reading: path)
    #expect(read.count == acknowledged.count)
    return try read.compare(withExport: audit)
  }

  private func row(_ reference: String, _ outcome: String, kind: String = "sign-in") -> String {
    #"{"chain":"n","event":{"actor":"portal","details":{"application":"\"outcome\":\"x\""},"kind":"\#(kind)","object":null,"outcome":"\#(outcome)","#
      + #""realm":"bench.test","reference":"\#(reference)","subject":"u","time":1,"trace":[]},"sequence":1,"hash":"AA=="}"#
  }

  @Test("finds every acknowledged verdict in the audit")
  func complete() throws {
    let comparison = try compare(
      [("ZZZZ-ZZZZ-ZZZZ", true), ("0000-0000-0001", false)],
      with: [
        row("0000-0000-0001", "refused:wrongPassword"), row("ZZZZ-ZZZZ-ZZZZ", "accepted"), row("0000-0000-0002", "accepted"),
        row("0000-0000-0003", "unknown:noAgent"), row("0000-0000-0004", "accepted", kind: "agent.enrolled"), #"{"chain":"n","last":1,"end":"AA=="}"#,
      ])
    #expect(comparison.lost == 0 && comparison.contradicted == 0 && comparison.acknowledged == 2 && comparison.unacknowledged == 1)
  }

  @Test("takes one row for all refusals that bear its reference, and no row for a verdict that it does not tell")
  func aggregated() throws {
    let throttled = row("0000-0000-0001", "refused:addressThrottled", kind: "sign-in.throttled")
    let comparison = try compare(
      [("0000-0000-0001", false), ("0000-0000-0001", false), ("0000-0000-0002", false), ("0000-0000-0001", true)],
      with: [throttled, throttled, row("0000-0000-0002", "refused:wrongPassword")])
    #expect(comparison.lost == 0 && comparison.contradicted == 1 && comparison.unacknowledged == 0 && comparison.acknowledged == 4)
  }

  @Test("shows what was lost, and what the audit tells otherwise")
  func lost() throws {
    let comparison = try compare(
      [("0000-0000-0001", true), ("0000-0000-0002", false), ("0000-0000-0003", true)],
      with: [row("0000-0000-0002", "accepted"), row("0000-0000-0003", "unknown:noAgent")])
    #expect(comparison.lost == 2 && comparison.contradicted == 1)
    #expect(comparison.samples.contains("lost: 0000-0000-0001") && comparison.samples.contains("contradicted: 0000-0000-0002"))
  }
}
