import Foundation

/// How many files and connections this process may have open at once.
enum Descriptors {
  /// More than anybody needs; some systems set no limit at all.
  private static let most = 1 << 20

  /// Asks for as many as this user may have, and answers how many these are. Services are often started with a soft limit of 1,024, which dates from
  /// programs that waited with select(2).
  static func raise() -> Int {
    var limit = rlimit()
    let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(kind, &limit) == 0 else { return 1024 }
    let before = limit.rlim_cur
    limit.rlim_cur = min(limit.rlim_max, rlim_t(most))
    if limit.rlim_cur < before || setrlimit(kind, &limit) != 0 { limit.rlim_cur = before }
    return Int(clamping: min(limit.rlim_cur, rlim_t(most)))
  }
}
