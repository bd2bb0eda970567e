import NIOCore
import NIOPosix

/// How long work waits for its turn on the event loops, where requests are answered: their own measure of there being too much.
package enum LoopLag {
  /// The longest of all loops. Returns when every one has had its turn.
  package static func longest() async -> Duration {
    let asked = ContinuousClock.now
    return await withTaskGroup(of: Duration.self) { group in
      for loop in MultiThreadedEventLoopGroup.singleton.makeIterator() {
        group.addTask { (try? await loop.submit { asked.duration(to: .now) }.get()) ?? .zero }
      }
      return await group.reduce(.zero, max)
    }
  }
}
