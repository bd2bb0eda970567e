import CZlib

/// Raw DEFLATE (RFC 1951) with a limit on what comes out, for the Redirect binding (Bindings 3.4.4.1).
package enum Deflate {
  /// Inflates the whole of `bytes`. Memory is bounded by `limit`, whatever the ratio. Throws `MessageFault` for a stream that is malformed, cut, followed by
  /// anything, or larger than `limit`.
  package static func inflate(_ bytes: [UInt8], limit: Int) throws(MessageFault) -> [UInt8] {
    var written = -1
    let result = [UInt8](unsafeUninitializedCapacity: limit) { output, count in
      written = bytes.withUnsafeBufferPointer { input in
        guard let from = input.baseAddress, let to = output.baseAddress else { return -1 }
        return czlib_inflate_raw(from, input.count, to, limit)
      }
      count = max(0, written)
    }
    guard written != -2 else { throw MessageFault(.tooLarge, "the message inflates to more than \(limit) bytes") }
    guard written >= 0 else { throw MessageFault(.envelope, "the message is no raw DEFLATE stream (RFC 1951), or has bytes behind its end") }
    return result
  }

  package static func deflate(_ bytes: [UInt8]) -> [UInt8] {
    let capacity = bytes.count + bytes.count / 100 + 64
    return [UInt8](unsafeUninitializedCapacity: capacity) { output, count in
      count = bytes.withUnsafeBufferPointer { input in
        guard let from = input.baseAddress, let to = output.baseAddress else { return 0 }
        return max(0, czlib_deflate_raw(from, input.count, to, capacity))
      }
    }
  }
}
