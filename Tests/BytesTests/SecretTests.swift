import Bytes
import Foundation
import Testing

@Suite struct `A secret` {
  private let secret = Secret("hunter2".utf8)

  @Test func `is redacted wherever values are printed`() {
    struct Holder { var name = "alice", secret: Secret }
    let holder = Holder(secret: secret)
    var dumped = ""
    dump(holder, to: &dumped)
    var printed = ""
    print(holder, secret, [secret], ["k": secret], Optional(secret) as Any, to: &printed)
    debugPrint(holder, secret, [secret], to: &printed)
    let all = [
      dumped, printed, "\(secret)", String(describing: holder), String(reflecting: holder), "\(Mirror(reflecting: secret).children.map { "\($0)" })",
    ]
    for text in all {
      #expect(!text.contains("hunter2"))
      #expect(!text.contains("104"))  // the first byte, in a list of numbers
    }
    #expect("\(secret)" == "<redacted>")
    #expect(Mirror(reflecting: secret).children.isEmpty)
  }

  @Test func `matches equal bytes and nothing else`() {
    #expect(secret.matches(Secret("hunter2".utf8)))
    for other in ["", "hunter", "hunter3", "hunter22", "Hunter2"] { #expect(!secret.matches(Secret(other.utf8))) }
    #expect(Secret([]).matches(Secret([])))
  }

  @Test func `lends its bytes and tells its length`() {
    #expect(secret.withBytes { Array($0) } == Array("hunter2".utf8))
    #expect(secret.count == 7 && !secret.isEmpty && Secret([]).isEmpty)
    #expect(secret.contains { $0 == UInt8(ascii: "2") } && !secret.contains { $0 == 0 })
  }

  @Test func `wipes nothing but the memory that it is told to`() {
    var bytes: [UInt8] = [1, 2, 3, 4]
    bytes.withUnsafeMutableBytes { buffer in
      if let base = buffer.baseAddress { wipe(base + 1, 2) }
    }
    #expect(bytes == [1, 0, 0, 4])
  }
}
