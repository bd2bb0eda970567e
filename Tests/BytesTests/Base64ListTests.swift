import Bytes
import Foundation
import Testing

@Suite struct `A list of documents in JSON` {
  private struct Document: Codable, Equatable {
    @Base64List var certificates: [[UInt8]] = []
  }

  private func read(_ text: String) throws -> Document { try JSONDecoder().decode(Document.self, from: Data(text.utf8)) }

  @Test func `is written as base64 and read back`() throws {
    let document = Document(certificates: [[1, 2, 255], []])
    let text = String(decoding: try JSONEncoder().encode(document), as: UTF8.self)
    #expect(text == "{\"certificates\":[\"AQL\\/\",\"\"]}")
    #expect(try read(text) == document)
    #expect(try read("{\"certificates\":[]}") == Document())
  }

  @Test func `is read as arrays of numbers too`() throws {
    #expect(try read("{\"certificates\":[[1,2,255],[]]}") == Document(certificates: [[1, 2, 255], []]))
  }

  @Test(arguments: ["[\"A\"]", "[\"AQ= =\"]", "[1]", "\"AQ==\"", "[[256]]", "[[1],\"AQ==\"]", "null"]) func `is nothing else`(_ value: String) {
    #expect(throws: DecodingError.self) { try read("{\"certificates\":\(value)}") }
  }
}
