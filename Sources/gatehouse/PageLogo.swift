import Foundation
import Web

/// Reads the picture above the sign-in form.
enum PageLogo {
  private static let longest = 256 << 10

  /// Nil where the file cannot be read, is too large, or is no picture of a kind that is shown. The kind is told by the content, not by the name.
  static func read(_ path: String) -> PageBranding.Logo? {
    guard let data = FileManager.default.contents(atPath: path), (8...longest).contains(data.count) else { return nil }
    let bytes = Array(data)
    if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) { return .init(bytes: bytes, mediaType: "image/png") }
    if bytes.starts(with: [0xff, 0xd8, 0xff]) { return .init(bytes: bytes, mediaType: "image/jpeg") }
    if bytes.starts(with: Array("RIFF".utf8)), bytes.dropFirst(8).starts(with: Array("WEBP".utf8)) {
      return .init(bytes: bytes, mediaType: "image/webp")
    }
    if bytes.starts(with: Array("<svg".utf8)) || bytes.starts(with: Array("<?xml".utf8)) { return .init(bytes: bytes, mediaType: "image/svg+xml") }
    return nil
  }
}
