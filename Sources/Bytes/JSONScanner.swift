/// The one pass over a JSON text: what it is made of, and every reason not to believe it. Iterative, so that depth costs no stack.
struct JSONScanner {
  typealias Problem = JSONText.Problem
  typealias Node = JSONText.Node

  let bytes: [UInt8]
  let mostNames: Int
  var nodes: [Node] = []
  private var position = 0
  private var open: [Container] = []
  /// The nodes of the names of all open objects, the innermost object's last.
  private var openNames: [Int] = []
  private var names = 0

  private struct Container {
    var node: Int
    var isObject: Bool
    /// Where its names begin in `openNames`.
    var firstName: Int
    /// Its names, once there are more than a glance can take in.
    var manyNames: Set<String>?
  }

  init(bytes: [UInt8], mostNames: Int) {
    self.bytes = bytes
    self.mostNames = mostNames
    nodes.reserveCapacity(32)
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func problem(_ text: String) -> Problem { Problem(text: text, offset: position) }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { position += 1 }
  }

  mutating func scan() throws(Problem) {
    guard bytes.allSatisfy({ $0 < 0x80 }) || StrictText.utf8(bytes) != nil else { throw problem("the text is not valid UTF-8") }
    skipSpace()
    guard next == UInt8(ascii: "{") else { throw problem("a JSON object must begin") }
    // What may come next: a value, or (in an object) a name, or what closes or continues the innermost container.
    enum Expectation { case value, nameOrEnd, name, valueOrEnd, separatorOrEnd }
    var expectation = Expectation.value
    repeat {
      skipSpace()
      guard nodes.count < JSONText.mostNodes else { throw problem("there are more than \(JSONText.mostNodes) names and values") }
      guard let byte = next else { throw problem("the text ends too early") }
      switch expectation {
      case .nameOrEnd where byte == UInt8(ascii: "}"), .valueOrEnd where byte == UInt8(ascii: "]"):
        close()
        expectation = .separatorOrEnd
      case .nameOrEnd, .name:
        guard byte == UInt8(ascii: "\"") else { throw problem("a name in double quotes must stand here") }
        let node = try string()
        names += 1
        guard names <= mostNames else { throw problem("there are more than \(mostNames) names") }
        try remember(node)
        nodes.append(node)
        skipSpace()
        guard next == UInt8(ascii: ":") else { throw problem("a colon must follow the name") }
        position += 1
        expectation = .value
      case .separatorOrEnd:
        let inObject = open.last?.isObject ?? false
        if byte == UInt8(ascii: ",") {
          position += 1
          expectation = inObject ? .name : .value
        } else {
          guard byte == (inObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
            throw problem(inObject ? "a comma or the end of the object must stand here" : "a comma or the end of the array must stand here")
          }
          close()
        }
      case .value, .valueOrEnd:
        switch byte {
        case UInt8(ascii: "{"):
          try begin(isObject: true)
          expectation = .nameOrEnd
        case UInt8(ascii: "["):
          try begin(isObject: false)
          expectation = .valueOrEnd
        case UInt8(ascii: "\""):
          nodes.append(try string())
          expectation = .separatorOrEnd
        case UInt8(ascii: "t"):
          try literal("true", .true_)
          expectation = .separatorOrEnd
        case UInt8(ascii: "f"):
          try literal("false", .false_)
          expectation = .separatorOrEnd
        case UInt8(ascii: "n"):
          try literal("null", .null)
          expectation = .separatorOrEnd
        default:
          try number()
          expectation = .separatorOrEnd
        }
      }
    } while !open.isEmpty
    skipSpace()
    guard position == bytes.count else { throw problem("something follows the end of the object") }
  }

  private mutating func begin(isObject: Bool) throws(Problem) {
    guard open.count < JSONText.deepest else { throw problem("the text is nested deeper than \(JSONText.deepest)") }
    open.append(Container(node: nodes.count, isObject: isObject, firstName: openNames.count))
    nodes.append(Node(kind: isObject ? .object : .array, start: position, end: position, next: 0))
    position += 1
  }

  private mutating func close() {
    position += 1
    guard let container = open.popLast() else { return }
    openNames.removeSubrange(container.firstName...)
    nodes[container.node].end = position
    nodes[container.node].next = nodes.count
  }

  /// Throws where the innermost object has the name already, however it is spelt. Equal is what a decoder may take for equal: Swift's strings
  /// compare by canonical equivalence.
  private mutating func remember(_ node: Node) throws(Problem) {
    guard let last = open.indices.last else { throw problem("a name outside of an object") }
    let index = nodes.count
    let first = open[last].firstName
    if open[last].manyNames == nil, openNames.count - first >= 16 {
      open[last].manyNames = Set(openNames[first...].map { name(nodes[$0]) })
    }
    let isNew: Bool
    if open[last].manyNames != nil {
      let text = name(node)
      isNew = open[last].manyNames?.insert(text).inserted ?? false
    } else {
      isNew = !openNames[first...].contains { isSame(nodes[$0], node) }
    }
    guard isNew else { throw problem("the name \"\(name(node).prefix(64))\" stands twice") }
    openNames.append(index)
  }

  private func name(_ node: Node) -> String {
    node.isEscaped
      ? String(decoding: JSONText.unescaped(bytes[node.start..<node.end]), as: UTF8.self)
      : String(decoding: bytes[node.start..<node.end], as: UTF8.self)
  }

  private func isSame(_ left: Node, _ right: Node) -> Bool {
    let (a, b) = (bytes[left.start..<left.end], bytes[right.start..<right.end])
    if a.elementsEqual(b) { return true }
    // Plain ASCII without escapes has one spelling only.
    let isPlain = !left.isEscaped && !right.isEscaped && a.allSatisfy({ $0 < 0x80 }) && b.allSatisfy({ $0 < 0x80 })
    return isPlain ? false : name(left) == name(right)
  }

  private mutating func literal(_ text: StaticString, _ kind: JSONText.Kind) throws(Problem) {
    let start = position
    let matches = text.withUTF8Buffer { bytes[start...].starts(with: $0) }
    guard matches else { throw problem("this is no JSON value") }
    position += text.utf8CodeUnitCount
    nodes.append(Node(kind: kind, start: start, end: position, next: nodes.count + 1))
  }

  private mutating func number() throws(Problem) {
    let start = position
    func isDigit(_ byte: UInt8?) -> Bool { byte.map { (0x30...0x39).contains($0) } ?? false }
    if next == UInt8(ascii: "-") { position += 1 }
    guard isDigit(next) else { throw problem("this is no JSON value") }
    if next == UInt8(ascii: "0") { position += 1 } else { while isDigit(next) { position += 1 } }
    var isWhole = true
    if next == UInt8(ascii: ".") {
      isWhole = false
      position += 1
      guard isDigit(next) else { throw problem("a digit must follow the point") }
      while isDigit(next) { position += 1 }
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      isWhole = false
      position += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
      guard isDigit(next) else { throw problem("a digit must follow the exponent") }
      while isDigit(next) { position += 1 }
    }
    guard position - start <= JSONText.longestNumber else { throw problem("a number has more than \(JSONText.longestNumber) characters") }
    // Beyond the range of a Double decoders differ: some refuse, some say infinity. 32 digits are within it.
    guard isWhole || Double(String(decoding: bytes[start..<position], as: UTF8.self))?.isFinite == true else {
      throw problem("a number is too large")
    }
    nodes.append(Node(kind: .number, start: start, end: position, next: nodes.count + 1))
  }

  /// The string that begins here. The node is not appended: a name is looked at first.
  private mutating func string() throws(Problem) -> Node {
    position += 1
    let start = position
    var isEscaped = false
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        position += 1
        return Node(kind: .string, isEscaped: isEscaped, start: start, end: position - 1, next: nodes.count + 1)
      case UInt8(ascii: "\\"):
        isEscaped = true
        position += 1
        try escape()
      case 0x00..<0x20: throw problem("a control character stands in a string")
      default: position += 1
      }
    }
    throw problem("a string is not closed")
  }

  private mutating func escape() throws(Problem) {
    guard let byte = next else { throw problem("the text ends too early") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"),
      UInt8(ascii: "t"):
      return
    case UInt8(ascii: "u"):
      let first = try codeUnit()
      guard (0xd800...0xdfff).contains(first) else { return }
      guard first < 0xdc00, next == UInt8(ascii: "\\") else { throw problem("half of a surrogate pair stands alone") }
      position += 1
      guard next == UInt8(ascii: "u") else { throw problem("half of a surrogate pair stands alone") }
      position += 1
      guard (0xdc00...0xdfff).contains(try codeUnit()) else { throw problem("half of a surrogate pair stands alone") }
    default: throw problem("this escape does not exist")
    }
  }

  private mutating func codeUnit() throws(Problem) -> UInt16 {
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard let digit = next.flatMap(JSONText.hexadecimalDigit) else { throw problem("four hexadecimal digits must follow \\u") }
      value = value << 4 | UInt16(digit)
      position += 1
    }
    return value
  }
}
