import Testing

@testable import Web

@Suite("Shares of the connections that a process can hold")
struct ConnectionSharesTests {
  @Test(
    "All listeners together and the reserve never need more descriptors than there are", arguments: [256, 300, 1024, 4096, 65_536, .max] as [Int])
  func bounded(descriptors: Int) {
    for wanted in [16, 500, 4096, 100_000] {
      let shares = ConnectionShares(wanted: wanted, descriptors: descriptors)
      let all = [shares.publicListener, shares.mutualTLS, shares.operations, shares.admin]
      #expect(all.allSatisfy { $0 >= 8 && $0 <= wanted }, "\(shares)")
      #expect(all.reduce(0, +) + ConnectionShares.reserve <= descriptors, "\(shares)")
    }
  }

  @Test("Where there are enough each listener has what was configured, and where there are not agents keep a third")
  func shared() {
    let enough = ConnectionShares(wanted: 4096, descriptors: 65_536)
    #expect(enough.publicListener == 4096 && enough.mutualTLS == 4096 && !enough.fallsShort(of: 4096))
    let scarce = ConnectionShares(wanted: 4096, descriptors: 1024)
    #expect(scarce.publicListener == 523 && scarce.mutualTLS == 261 && scarce.operations == 56 && scarce.admin == 56)
    #expect(scarce.fallsShort(of: 4096))
  }
}
