import Foundation

/// The threads that talk to the module: some that sign, one that opens and looks after, one that watches the time.
///
///     opening ──opened──► open ──lost, silent──► away ──opened (tried after 1, 2, 4, 5, 5 … s)──► open
///        └──────failed──────────────────────────►┘          (lost goes by way of opening: it may be back at once)
///
/// While it is opening, questions wait; while it is away, they are refused at once. A question that was lost is asked a second time, where the token comes
/// back within its time. A call that hangs holds its own thread only; the module is started anew once it has come back.
///
/// `@unchecked Sendable`: every `var` is touched only between `condition.lock()` and `condition.unlock()`, in this file.
final class TokenThreads: @unchecked Sendable {
  enum Standing: Equatable {
    case opening, open
    case away(TokenFault)

    var isAway: Bool { if case .away = self { true } else { false } }
  }

  private let settings: HardwareToken.Settings
  private let condition = NSCondition()
  private let told: @Sendable (Standing) -> Void
  private var standing = Standing.opening
  /// Counts the openings. Sessions of another opening are closed already.
  private var opening = 0
  private var module: TokenModule?
  private var slot: UInt = 0
  private var waiting: [TokenJob] = []
  /// Those that nobody has answered, waiting or under way.
  private var unanswered: [TokenJob] = []
  /// How many threads are inside the module to answer a question.
  private var inside = 0
  /// Since when the keeper has been inside the module.
  private var keeperSince: ContinuousClock.Instant?
  private var isStopped = false
  /// Whether the module was told that this process is done with it.
  private var isClosed = false

  /// - Parameter told: hears of each new standing, on one of the threads; must not block.
  init(_ settings: HardwareToken.Settings, told: @escaping @Sendable (Standing) -> Void) {
    self.settings = settings
    self.told = told
    for _ in 0..<settings.sessions { start("token-sign") { [self] in work() } }
    start("token-open") { [self] in keep() }
    start("token-watch") { [self] in watch() }
  }

  private func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.stackSize = 1 << 20
    thread.start()
  }

  /// Lets the threads end; whoever waits is refused.
  func stop() {
    condition.lock()
    isStopped = true
    refuse(unanswered, .closed)
    condition.broadcast()
    condition.unlock()
  }

  var hasClosed: Bool {
    condition.lock()
    defer { condition.unlock() }
    return isClosed
  }

  /// Puts a question in the queue. Throws `.busy`, or why the token is away, at once.
  func submit(_ job: TokenJob) throws(TokenFault) {
    condition.lock()
    defer { condition.unlock() }
    if isStopped { throw .closed }
    if case .away(let fault) = standing { throw fault }
    guard unanswered.count < settings.mostWaiting else { throw .busy }
    waiting.append(job)
    unanswered.append(job)
    condition.signal()
  }

  // MARK: Threads that answer

  private func work() {
    var session: TokenSession?
    while let (job, module, slot, opening) = take() {
      // What a session of an earlier opening holds is void.
      if session?.opening != opening { session = TokenSession(module, slot: slot, opening: opening) }
      guard let current = session else { continue }
      var result: Result<[UInt8], TokenFault>
      do throws(TokenFault) { result = .success(try job.work(current)) } catch { result = .failure(error) }
      if put(job, result, opening) == .tooLate, case .success(let bytes) = result { job.undo?(current, bytes) }
      leave()
    }
  }

  /// Waits for a question; nil when the threads are to end.
  private func take() -> (TokenJob, TokenModule, UInt, Int)? {
    condition.lock()
    defer { condition.unlock() }
    while true {
      if isStopped { return nil }
      if standing == .open, let module, !waiting.isEmpty {
        let job = waiting.removeFirst()
        guard job.begin() else {  // whoever asked has given up
          unanswered.removeAll { $0 === job }
          continue
        }
        inside += 1
        return (job, module, slot, opening)
      }
      condition.wait()
    }
  }

  private enum Settled { case inTime, again, tooLate }

  private func put(_ job: TokenJob, _ result: Result<[UInt8], TokenFault>, _ opening: Int) -> Settled {
    condition.lock()
    defer { condition.unlock() }
    if case .failure(let fault) = result, fault.isLoss {
      if self.opening == opening, standing == .open { set(.opening) }
      if !isStopped, job.mayRepeat(), !standing.isAway {
        waiting.insert(job, at: 0)
        return .again
      }
    }
    unanswered.removeAll { $0 === job }
    return job.finish(result) ? .inTime : .tooLate
  }

  private func leave() {
    condition.lock()
    inside -= 1
    condition.unlock()
  }

  // MARK: The thread that opens

  private func keep() {
    var session: UInt?
    var refused: PINFile.Stamp?
    var failures = 0
    while true {
      condition.lock()
      let (standing, module, slot, isFree, isOver) = (self.standing, module, self.slot, inside == 0, isStopped)
      condition.unlock()
      if isOver, isFree {
        module?.stop()
        condition.lock()
        isClosed = true
        condition.unlock()
        return
      }
      if standing == .open, let module, let current = session {
        let fault = guarded { () throws(TokenFault) in try module.probe(slot: slot, session: current) }
        if fault != nil { lose() } else { pause(settings.probeInterval) { self.isStopped || self.standing != .open } }
      } else if isFree {
        session = nil
        let fault = guarded { () throws(TokenFault) in session = try open(&refused) }
        failures = fault == nil ? 0 : failures + 1
        if let fault {
          fail(fault)
          pause(.seconds(min(1 << min(failures - 1, 3), 5))) { self.isStopped }
        }
      } else {
        pause(.milliseconds(20)) { false }
      }
    }
  }

  /// Does something inside the module that the watch knows of; the fault, if there was one.
  private func guarded(_ body: () throws(TokenFault) -> Void) -> TokenFault? {
    condition.lock()
    keeperSince = .now
    condition.unlock()
    var fault: TokenFault?
    do throws(TokenFault) { try body() } catch { fault = error }
    condition.lock()
    keeperSince = nil
    condition.unlock()
    return fault
  }

  /// Starts the module anew, finds the token, logs in; the session that keeps the log-in alive.
  private func open(_ refused: inout PINFile.Stamp?) throws(TokenFault) -> UInt {
    let file = PINFile(path: settings.pinFile)
    if let refused, file.stamp == refused { throw .pin("it refused the PIN in \(settings.pinFile)") }
    let module = try TokenModule.load(settings.module)
    // What it knew of slots, tokens and sessions is of before.
    module.stop()
    try module.start(path: settings.module)
    let (slot, flags) = try module.slot(of: settings.token)
    try module.checkPIN(flags)
    let (pin, stamp) = try file.read()
    let session = try module.open(slot: slot)
    do throws(TokenFault) { try module.logIn(session, pin: pin) } catch {
      if case .pin = error { refused = stamp }
      throw error
    }
    refused = nil
    condition.lock()
    (self.module, self.slot) = (module, slot)
    opening += 1
    set(.open)
    condition.unlock()
    return session
  }

  private func lose() {
    condition.lock()
    if standing == .open { set(.opening) }
    condition.unlock()
  }

  private func fail(_ fault: TokenFault) {
    condition.lock()
    set(.away(fault))
    condition.unlock()
  }

  /// Sleeps by a clock that nobody sets, until `isOver` holds.
  private func pause(_ duration: Duration, until isOver: () -> Bool) {
    let end = ContinuousClock.now.advanced(by: duration)
    while ContinuousClock.now < end {
      usleep(20_000)
      condition.lock()
      let isOver = isOver()
      condition.unlock()
      if isOver { return }
    }
  }

  // MARK: The thread that watches the time

  private func watch() {
    while true {
      condition.lock()
      if isStopped {
        condition.unlock()
        return
      }
      let now = ContinuousClock.now
      for job in unanswered where job.deadline <= now {
        unanswered.removeAll { $0 === job }
        waiting.removeAll { $0 === job }
        let isSilent = job.isRunning || standing == .opening
        if isSilent { set(.away(.silent)) }
        _ = job.finish(.failure(isSilent ? .silent : .busy))
      }
      // A token that makes a long key may do nothing else meanwhile; nobody is told before somebody wants a signature.
      let isMaking = unanswered.contains { $0.isSlow && $0.isRunning }
      if let since = keeperSince, since.duration(to: now) > settings.signLimit, !isMaking, !standing.isAway { set(.away(.silent)) }
      condition.unlock()
      usleep(20_000)
    }
  }

  // MARK: With the lock held

  private func set(_ new: Standing) {
    if standing != new { told(new) }
    standing = new
    // Nobody waits for a token that is away.
    if case .away(let fault) = new { refuse(waiting, fault) }
    condition.broadcast()
  }

  private func refuse(_ jobs: [TokenJob], _ fault: TokenFault) {
    for job in jobs {
      unanswered.removeAll { $0 === job }
      waiting.removeAll { $0 === job }
      _ = job.finish(.failure(fault))
    }
  }
}

/// A question to the token with its answer, for whoever waits blocking and whoever waits suspended.
///
/// `@unchecked Sendable`: every `var` is touched only between `condition.lock()` and `condition.unlock()`, in this file.
final class TokenJob: @unchecked Sendable {
  typealias Answer = Result<[UInt8], TokenFault>

  let deadline: ContinuousClock.Instant
  /// Whether the token may take long, and do nothing else meanwhile.
  let isSlow: Bool
  let work: @Sendable (TokenSession) throws(TokenFault) -> [UInt8]
  /// Takes back what was done too late for whoever asked.
  let undo: (@Sendable (TokenSession, [UInt8]) -> Void)?
  private let condition = NSCondition()
  private var answer: Answer?
  private var continuation: CheckedContinuation<Answer, Never>?
  private var runs = 0
  private var isUnderWay = false

  init(
    limit: Duration, isSlow: Bool = false, undo: (@Sendable (TokenSession, [UInt8]) -> Void)? = nil,
    _ work: @escaping @Sendable (TokenSession) throws(TokenFault) -> [UInt8]
  ) {
    deadline = .now.advanced(by: limit)
    self.isSlow = isSlow
    self.undo = undo
    self.work = work
  }

  /// False where nobody waits any more.
  func begin() -> Bool {
    condition.lock()
    defer { condition.unlock() }
    guard answer == nil else { return false }
    runs += 1
    isUnderWay = true
    return true
  }

  /// Whether it may be asked once more, after the token was lost under it.
  func mayRepeat() -> Bool {
    condition.lock()
    defer { condition.unlock() }
    isUnderWay = false
    return answer == nil && runs < 2
  }

  var isRunning: Bool {
    condition.lock()
    defer { condition.unlock() }
    return isUnderWay
  }

  /// False where it was answered before.
  func finish(_ answer: Answer) -> Bool {
    condition.lock()
    isUnderWay = false
    let isFirst = self.answer == nil
    if isFirst { self.answer = answer }
    let continuation = continuation
    self.continuation = nil
    condition.broadcast()
    condition.unlock()
    if isFirst { continuation?.resume(returning: answer) }
    return isFirst
  }

  /// **Blocks** until there is an answer; the watch sees to it that there is one by the deadline.
  func wait() throws(TokenFault) -> [UInt8] {
    condition.lock()
    while answer == nil { condition.wait() }
    let answer = answer ?? .failure(.silent)
    condition.unlock()
    return try answer.get()
  }

  /// Suspends until there is an answer.
  func value() async throws(TokenFault) -> [UInt8] {
    let answer = await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
        condition.lock()
        let ready = self.answer
        if ready == nil { self.continuation = continuation }
        condition.unlock()
        if let ready { continuation.resume(returning: ready) }
      }
    } onCancel: {
      _ = finish(.failure(.cancelled))
    }
    return try answer.get()
  }
}
