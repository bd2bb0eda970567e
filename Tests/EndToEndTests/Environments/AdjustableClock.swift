import Foundation

/// A wall clock for a server under test that the scenario sets; the monotonic clock goes on as it does.
///
/// A few lines of C, compiled by the toolchain's own clang and preloaded into the server. libfaketime would do the same, but Debian 12's also
/// shifts the timers of the monotonic clock, so that no `Task.sleep` ever ends.
final class AdjustableClock: Sendable {
  private let folder: String

  /// Compiles the library and starts at the real time.
  init() async throws {
    folder = try BuiltProgram.folder("clock")
    try AdjustableClock.source.write(toFile: folder + "/clock.c", atomically: true, encoding: .utf8)
    _ = FileManager.default.createFile(atPath: folder + "/offset", contents: Data(count: 8))
    // Where a version manager puts links into PATH, clang is beside swift.
    let script =
      #"cc=$(command -v clang || echo "$(dirname "$(readlink -f "$(command -v swift)")")/clang"); exec "$cc" -shared -fPIC -O1 -o "$1" "$2""#
    try await LeashedProcess.run("/bin/bash", ["-c", script, "clock", folder + "/clock.so", folder + "/clock.c"])
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  /// For the server's environment.
  var environment: [String: String] { ["LD_PRELOAD": folder + "/clock.so", "WALL_CLOCK_OFFSET": folder + "/offset"] }

  /// Moves the clock to `offset` from the real time, in servers that run already too.
  func set(to offset: Duration) throws {
    guard let file = FileHandle(forUpdatingAtPath: folder + "/offset") else { throw ServerProcess.Failure(description: "no clock in \(folder)") }
    defer { try? file.close() }
    // In place: servers have the file mapped.
    try withUnsafeBytes(of: offset.components.seconds) { try file.write(contentsOf: Data($0)) }
  }

  private static let source = """
    #include <fcntl.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>

    static volatile int64_t *offset;

    __attribute__((constructor)) static void attach(void) {
      const char *path = getenv("WALL_CLOCK_OFFSET");
      int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
      if (file < 0) return;
      void *mapped = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
      if (mapped != MAP_FAILED) offset = mapped;
      close(file);
    }

    int clock_gettime(clockid_t clock, struct timespec *now) {
      int result = syscall(SYS_clock_gettime, clock, now);
      if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
      return result;
    }

    int gettimeofday(struct timeval *restrict now, void *restrict zone) {
      struct timespec exact;
      (void)zone;
      clock_gettime(CLOCK_REALTIME, &exact);
      now->tv_sec = exact.tv_sec;
      now->tv_usec = exact.tv_nsec / 1000;
      return 0;
    }

    time_t time(time_t *out) {
      struct timespec now;
      clock_gettime(CLOCK_REALTIME, &now);
      if (out) *out = now.tv_sec;
      return now.tv_sec;
    }
    """
}
