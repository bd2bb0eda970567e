/// How many connections each listener lets in, so that all together never take the last file descriptor of the process.
///
/// A process that cannot open anything more does not merely refuse connections: its store cannot open files, no name is looked up, and the runtime
/// itself ends it. libdispatch, on which Swift's concurrency runs, reads `/proc/self/task/…/stat` of its threads every second, and traps where
/// that cannot be opened. So whoever could make a thousand connections could end every sign-in under way.
package struct ConnectionShares: Sendable, Equatable {
  package var publicListener: Int
  package var mutualTLS: Int
  package var operations: Int
  package var admin: Int

  /// Descriptors that are not for connections: the store's files, logs, event loops, threads that look something up, and connections that were
  /// accepted a moment ago and are not counted yet.
  package static let reserve = 128
  /// With fewer a gateway does not start: agents, administration and front-ends could not all be let in.
  package static let leastDescriptors = 256

  /// - Parameters:
  ///   - wanted: the configured limit of a listener.
  ///   - descriptors: how many the process may have; what is missing is missed by front-ends before agents, and by health and administration last.
  package init(wanted: Int, descriptors: Int) {
    let room = max(ConnectionShares.leastDescriptors, descriptors) - ConnectionShares.reserve
    operations = min(wanted, 64, room / 16)
    admin = operations
    let rest = room - operations - admin
    mutualTLS = min(wanted, max(rest / 3, rest - wanted))
    publicListener = min(wanted, rest - mutualTLS)
  }

  /// Whether somebody is let in less than was wanted.
  package func fallsShort(of wanted: Int) -> Bool { min(publicListener, mutualTLS) < wanted }
}
