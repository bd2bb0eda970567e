import GatehouseTesting

/// Changes documents as a stranger would: bytes, pieces, and the words that mean something. The same changes in every run.
struct Mutator {
  private var generator: SeededGenerator

  init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

  private static let words: [[UInt8]] = [
    "<!---->", "<!-- x -->", "<![CDATA[x]]>", "<![CDATA[]]>", "&amp;", "&#13;", "&#x41;", "&lt;", "&gt;", "\r", "\r\n", "\n", "\t", " ", "'", "\"",
    "<", ">", "/", "=", ":", "&",
    ";", "]]>", "--", "<a/>", "<a>", "</a>", " xmlns=''", " xmlns='u:x'", " xmlns:a='u:a'", " a:b='c'", " xml:lang='x'", " xml:id='x'",
    " xml:space='preserve'", " ID='_x'", "xmlns:saml",
    "saml:", "samlp:", "ds:", "a:", "\u{feff}", "é", "e\u{301}", "😀", "\u{85}", "\u{2028}", "\u{a0}", "\u{0}", "\u{fffe}", "<?xml version=\"1.0\"?>",
    "<?x?>", "<!DOCTYPE r>",
    " xmlns:b='http://a.test/%41?b#c'", " xmlns:c='urn:a:b'", " xmlns:d='a'", " xmlns:e='http://[::1]/'", " xmlns:f='mailto:x'",
    " xmlns:g='http://a.test:b/'", "&#xe9;", "&#x1F600;", "%", "#",
  ].map { Array($0.utf8) }

  private mutating func below(_ count: Int) -> Int { count > 0 ? Int.random(in: 0..<count, using: &generator) : 0 }

  mutating func mutate(_ document: [UInt8]) -> [UInt8] {
    var bytes = document
    for _ in 0...below(3) {
      let place = below(bytes.count)
      let end = min(bytes.count, place + below(40))
      switch below(9) {
      case 0 where !bytes.isEmpty: bytes[place] = UInt8.random(in: 0...255, using: &generator)
      case 1 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8(below(8))
      case 2: bytes.removeSubrange(place..<end)
      case 3: bytes.insert(contentsOf: Array(bytes[place..<end]), at: below(bytes.count))
      case 4 where !bytes.isEmpty: bytes[place] = bytes[below(bytes.count)]
      case 5: bytes = Array(bytes.prefix(place == 0 ? bytes.count : max(place, bytes.count - 20)))
      default: bytes.insert(contentsOf: Self.words[below(Self.words.count)], at: place)
      }
    }
    return bytes
  }

  /// A document made of such words only, in an order in which they often are well-formed.
  mutating func compose() -> [UInt8] {
    let names = ["a", "b", "p:a", "p:b", "q:a", "q:c"]
    let texts = ["", "x", "&#13;", "&gt;\r\n", "é", "<!-- c -->", "<![CDATA[<&]]>", "\"'", "&#9;", "]]", "😀", " "]
    let declarations = ["", " xmlns='u:d'", " xmlns=''", " xmlns:p='u:p'", " xmlns:p='u:p2'", " xmlns:q='u:q'", " xmlns:q='u:p'", " xmlns:z='u:z'"]
    let attributes = ["", " a='1'", " b='&#10;&#13;\t&quot;'", " p:a='2'", " q:a='3'", " xml:lang='x'", " p:b=\"'&lt;>\"", " Z='\r\n'", " q:Z=''"]
    var text = ["", "<?xml version='1.0' encoding='UTF-8'?>", "\u{feff}", "<!-- before -->\n"][below(4)]
    var open: [String] = []
    text += "<r xmlns:p='u:p' xmlns:q='u:q'>"
    open.append("r")
    for _ in 0..<below(24) {
      switch below(4) {
      case 0 where open.count > 1: text += "</\(open.removeLast())>"
      case 1: text += texts[below(texts.count)]
      default:
        let name = names[below(names.count)]
        text += "<\(name)\(declarations[below(declarations.count)])\(attributes[below(attributes.count)])"
        if below(3) == 0 { text += declarations[below(declarations.count)] + attributes[below(attributes.count)] }
        if below(2) == 0 {
          text += "/>"
        } else {
          text += ">"
          open.append(name)
        }
      }
    }
    while let name = open.popLast() { text += "</\(name)>" }
    return Array(text.utf8)
  }

  mutating func choose<T>(_ values: [T]) -> T? { values.isEmpty ? nil : values[below(values.count)] }
}
