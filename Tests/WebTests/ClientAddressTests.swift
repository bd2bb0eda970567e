import Bytes
import HTTPTypes
import NIOCore
import Testing

@testable import Web

@Suite("Ranges of addresses")
struct AddressRangeTests {
  @Test(
    "contain what they say, and nothing else",
    arguments: [
      ("192.0.2.0/24", "192.0.2.255", true), ("192.0.2.0/24", "192.0.3.0", false), ("192.0.2.1", "192.0.2.1", true),
      ("192.0.2.1", "192.0.2.2", false),
      ("0.0.0.0/0", "255.255.255.255", true), ("0.0.0.0/0", "::1", false), ("10.0.0.0/9", "10.127.0.1", true), ("10.0.0.0/9", "10.128.0.1", false),
      ("10.0.0.6/31", "10.0.0.7", true), ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::1", false), ("::/0", "::1", true),
      ("::/0", "127.0.0.1", false), ("::1/128", "::1", true), ("fe80::/10", "febf::1", true), ("fe80::/10", "fec0::1", false),
      ("127.0.0.0/8", "::ffff:127.0.0.1", true), ("::ffff:192.0.2.1", "192.0.2.1", true),
    ])
  func contains(range: String, address: String, expected: Bool) throws {
    #expect(try #require(AddressRange(range)).contains(address) == expected)
  }

  @Test(
    "are not made from anything else",
    arguments: [
      "", "/", "/8", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/8/8", "192.0.2", "192.0.2.0 /8", "2001:db8::/129",
      "localhost", "10.0.0.7/31", "2001:db8::1/32",
      "fe80::1%lo", "[::1]", "::1/٣", "192.0.2.0/99999999999999999999", "1.2.3.4:80",
    ])
  func refused(text: String) { #expect(AddressRange(text) == nil) }

  @Test("contain nothing that is no address", arguments: ["", "x", "192.0.2.0/24", "192.0.2.1:443", "192.0.2.1\u{0}"])
  func noAddress(text: String) throws { #expect(!(try #require(AddressRange("0.0.0.0/0")).contains(text))) }
}

@Suite("The client's address")
struct ClientAddressTests {
  private let proxies = ["10.0.0.0/8", "2001:db8::/32"].compactMap { AddressRange($0) }

  private func address(socket: String, proxyHeader: String? = nil, forwarded: [String]) throws -> String? {
    let facts = ConnectionFacts(socketAddress: try SocketAddress(ipAddress: socket, port: 1))
    if let proxyHeader { facts.setAddress(proxyHeader) }
    var headers = HTTPFields()
    headers[values: try #require(HTTPField.Name("X-Forwarded-For"))] = forwarded
    return clientAddress(headers: headers, facts, proxies: proxies)
  }

  @Test(
    "is taken from X-Forwarded-For of a trusted proxy only: the last entry that no trusted proxy wrote",
    arguments: [
      ("192.0.2.9", ["203.0.113.5"], "192.0.2.9"), ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"), ("10.0.0.1", [], "10.0.0.1"),
      // What the client itself wrote stands before what the proxy added.
      ("10.0.0.1", ["127.0.0.1, 203.0.113.5"], "203.0.113.5"), ("10.0.0.1", ["127.0.0.1", "203.0.113.5"], "203.0.113.5"),
      ("10.0.0.1", ["203.0.113.5, 10.1.1.1 ,10.2.2.2"], "203.0.113.5"), ("10.0.0.1", ["203.0.113.5, 2001:db8::7"], "203.0.113.5"),
      ("2001:db8::1", ["2001:41d0::5"], "2001:41d0::5"), ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.0.0.1"),
      ("10.0.0.1", ["10.1.1.1,203.0.113.5"], "203.0.113.5"),
    ])
  func forwarded(socket: String, entries: [String], expected: String) throws {
    #expect(try address(socket: socket, forwarded: entries) == expected)
  }

  @Test(
    "stays the proxy's where the entry that counts is garbage: what stands before it proves nothing",
    arguments: [
      "203.0.113.5, unknown", "203.0.113.5, , ,", "203.0.113.5:4711", "[2001:41d0::5]:443", "203.0.113.0/24", "203.0.113.5, 10.0.0.0/8",
      "for=203.0.113.5",
      "203.0.113.5\u{301}", "1", "0x7f.1", "203.0.113.5;", "fe80::1%eth0",
    ])
  func garbage(entry: String) throws {
    #expect(try address(socket: "10.0.0.1", forwarded: [entry]) == "10.0.0.1")
  }

  @Test("said by a PROXY header is not overridden by what the client wrote into X-Forwarded-For")
  func spoofedBehindProxyHeader() throws {
    #expect(try address(socket: "10.0.0.1", proxyHeader: "203.0.113.5", forwarded: ["127.0.0.1"]) == "203.0.113.5")
    #expect(try address(socket: "10.0.0.1", proxyHeader: "203.0.113.5", forwarded: ["10.9.9.9"]) == "203.0.113.5")
  }

  @Test("is looked for further where the PROXY header names another trusted proxy")
  func proxyBehindProxy() throws {
    #expect(try address(socket: "10.0.0.1", proxyHeader: "10.0.0.2", forwarded: ["203.0.113.5"]) == "203.0.113.5")
  }
}
