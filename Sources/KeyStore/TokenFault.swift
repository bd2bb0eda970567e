import CPKCS11

/// Why the hardware token did not do what was asked. The texts are for administrators and hold no secret.
enum TokenFault: Error, Sendable, Equatable, CustomStringConvertible {
  /// The module cannot be loaded, or does not start.
  case module(path: String, reason: String)
  /// There is no token of the configured name, or more than one.
  case absent(token: String, reason: String)
  /// The PIN is refused, locked, or cannot be read.
  case pin(String)
  /// Token, session or module cannot be used any more.
  case lost(String)
  /// A key's handle is void.
  case staleHandle(String)
  /// No answer in time.
  case silent
  /// As many wait already as may.
  case busy
  /// The token has no such key.
  case noKey
  /// The token does not do what was asked.
  case refused(String)
  /// The caller gave up.
  case cancelled
  /// The gateway stops.
  case closed

  /// What a module's answer means, asked for by `function`; nil where it is "done".
  init?(_ answer: UInt, _ function: String) {
    let name = gatehouse_pkcs11_name(answer).map { String(cString: $0) } ?? "0x" + String(answer, radix: 16)
    let text = "\(function) answered \(name)"
    switch gatehouse_pkcs11_meaning(answer) {
    case CInt(GATEHOUSE_PKCS11_DONE): return nil
    case CInt(GATEHOUSE_PKCS11_REFUSED): self = .refused(text)
    case CInt(GATEHOUSE_PKCS11_PIN): self = .pin(text)
    case CInt(GATEHOUSE_PKCS11_HANDLE): self = .staleHandle(text)
    default: self = .lost(text)
    }
  }

  /// Whether module, token and session must be opened anew before anything else can be done.
  var isLoss: Bool {
    switch self {
    case .module, .absent, .pin, .lost, .staleHandle: true
    case .silent, .busy, .noKey, .refused, .cancelled, .closed: false
    }
  }

  var description: String {
    switch self {
    case .module(let path, let reason): "the module \(path) cannot be used: \(reason)"
    case .absent(let token, let reason): "the token \(token) is not there: \(reason)"
    case .pin(let reason): "the token does not let us in: \(reason)"
    case .lost(let reason), .staleHandle(let reason): "the token was lost: \(reason)"
    case .silent: "the token did not answer in time"
    case .busy: "too many signatures wait for the token already"
    case .noKey: "the token does not have the key"
    case .refused(let reason): "the token refuses: \(reason)"
    case .cancelled: "the caller gave up"
    case .closed: "the gateway stops"
    }
  }

  /// What an administrator does about it.
  func remedy(_ settings: HardwareToken.Settings) -> String {
    switch self {
    case .module:
      "Install the token's PKCS #11 module, or correct signingKeys.pkcs11.module. It is tried again by itself."
    case .absent:
      "Plug the token in or start it, or correct signingKeys.pkcs11.token; `pkcs11-tool --module \(settings.module) --list-slots` shows what is there."
    case .pin:
      "Write the user PIN into \(settings.pinFile) (mode 0600). A refused PIN is not tried again before that file changes, since tries are few."
    case .lost, .staleHandle, .silent, .busy, .cancelled, .closed:
      "See whether the token runs and can be reached. It is opened again by itself, within seconds; if it is not, restart the gateway."
    case .noKey, .refused:
      "Look at the token with `pkcs11-tool --module \(settings.module) --login --list-objects`."
    }
  }
}
