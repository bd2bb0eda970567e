import Foundation

/// Cookies as RFC 6265bis §5 keeps them: by host, path and name, `Secure` only over https (and to loopback, as browsers do not), prefixes enforced.
struct CookieJar: Sendable {
  struct Cookie: Equatable, Sendable {
    var name: String
    var value: String
    /// In lower case.
    var host: String
    /// Whether only that very host gets it, and no host below it.
    var hostOnly: Bool
    var path: String
    var secure: Bool
    var httpOnly: Bool
    /// As it stands there; nil: not said.
    var sameSite: String?
    /// Nil: until the browser ends.
    var expires: Date?
  }

  private(set) var cookies: [Cookie] = []
  /// What servers wanted to set and no browser would keep, with the reason: a test can insist that there is none.
  private(set) var refused: [String] = []

  /// Keeps what `field`, a Set-Cookie of an answer from `url`, sets.
  mutating func keep(_ field: String, from url: URL) {
    let parts = field.split(separator: ";", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
    guard let host = url.host?.lowercased(), let first = parts.first, let equals = first.firstIndex(of: "=") else {
      refused.append("\(field): no name")
      return
    }
    var cookie = Cookie(
      name: String(first[..<equals]), value: String(first[first.index(after: equals)...]), host: host, hostOnly: true,
      path: CookieJar.defaultPath(url.path), secure: false, httpOnly: false)
    var lifetime: Date?
    var hasMaxAge = false
    for part in parts.dropFirst() {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let value = pair.count > 1 ? pair[1] : ""
      switch pair[0].lowercased() {
      case "secure": cookie.secure = true
      case "httponly": cookie.httpOnly = true
      case "samesite": cookie.sameSite = value
      case "path": if value.hasPrefix("/") { cookie.path = value }
      case "domain":
        let domain = (value.hasPrefix(".") ? String(value.dropFirst()) : value).lowercased()
        guard host == domain || host.hasSuffix("." + domain) else {
          refused.append("\(field): for a host that is not the sender's")
          return
        }
        cookie.host = domain
        cookie.hostOnly = false
      case "max-age":
        if let seconds = Double(value) {
          lifetime = Date(timeIntervalSinceNow: seconds)
          hasMaxAge = true
        }
      case "expires": if !hasMaxAge { lifetime = CookieJar.date(value) }
      default: break
      }
    }
    cookie.expires = lifetime
    if cookie.secure, url.scheme != "https" {
      refused.append("\(field): Secure over http")
      return
    }
    if cookie.name.hasPrefix("__Secure-"), !cookie.secure {
      refused.append("\(field): __Secure- without Secure")
      return
    }
    if cookie.name.hasPrefix("__Host-"), !cookie.secure || !cookie.hostOnly || cookie.path != "/" {
      refused.append("\(field): __Host- without Secure, with Domain, or with a path other than /")
      return
    }
    if cookie.sameSite?.lowercased() == "none", !cookie.secure {
      refused.append("\(field): SameSite=None without Secure")
      return
    }
    cookies.removeAll { $0.name == cookie.name && $0.host == cookie.host && $0.path == cookie.path }
    if let lifetime, lifetime < Date(timeIntervalSinceNow: 0) { return }
    cookies.append(cookie)
  }

  /// The Cookie field for a request to `url`; nil: none.
  func field(for url: URL) -> String? {
    guard let host = url.host?.lowercased() else { return nil }
    let path = url.path.isEmpty ? "/" : url.path
    let sent = cookies.filter { cookie in
      (cookie.host == host || (!cookie.hostOnly && host.hasSuffix("." + cookie.host))) && (!cookie.secure || url.scheme == "https")
        && (path == cookie.path || (path.hasPrefix(cookie.path) && (cookie.path.hasSuffix("/") || path.dropFirst(cookie.path.count).hasPrefix("/"))))
        && (cookie.expires.map { $0 > Date(timeIntervalSinceNow: 0) } ?? true)
    }
    return sent.isEmpty ? nil : sent.map { "\($0.name)=\($0.value)" }.joined(separator: "; ")
  }

  subscript(name: String) -> Cookie? { cookies.first { $0.name == name } }

  mutating func put(_ cookie: Cookie) {
    cookies.removeAll { $0.name == cookie.name && $0.host == cookie.host && $0.path == cookie.path }
    cookies.append(cookie)
  }

  mutating func remove(where condition: (Cookie) -> Bool) { cookies.removeAll(where: condition) }

  private static func defaultPath(_ path: String) -> String {
    guard path.hasPrefix("/"), let last = path.lastIndex(of: "/"), last != path.startIndex else { return "/" }
    return String(path[..<last])
  }

  private static func date(_ text: String) -> Date? {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(identifier: "UTC")
    for format in ["EEE, dd MMM yyyy HH:mm:ss zzz", "EEE, dd-MMM-yyyy HH:mm:ss zzz", "EEE, dd-MMM-yy HH:mm:ss zzz"] {
      formatter.dateFormat = format
      if let date = formatter.date(from: text) { return date }
    }
    return nil
  }
}
