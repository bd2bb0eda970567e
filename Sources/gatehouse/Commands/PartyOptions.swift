import ArgumentParser
import Bytes
import Foundation
import Web
import Yams

/// How a relying party wants its tokens: the same for adding and for editing.
struct PartyOptions: ParsableArguments {
  @Option(
    name: .long,
    help: "Set claims, names and signing as a product wants them: standard, oid, entra, google, salesforce, ws-federation, entra-ws-federation.")
  var preset: String?
  @Option(name: .long, help: "What people read on pages.") var displayName: String?
  @Option(name: .long, help: "What is signed: response, assertion or both.") var sign: String?
  @Option(name: .long, help: "What is encrypted: nothing, assertion or name.") var encrypt: String?
  @Option(name: .long, help: "rsa-sha256, rsa-sha384, rsa-sha512 or ecdsa-sha256.") var algorithm: String?
  @Option(name: .long, help: "Take requests signed with SHA-1 until this day (2027-01-31), or never.") var acceptSha1Until: String?
  @Option(name: .long, help: "The name where none is asked for: unspecified, email, persistent, transient or windows.") var nameID: String?
  @Option(name: .long, help: "Whence an unspecified or persistent name comes: an attribute, $userPrincipalName, $immutableId …; \"\" for the usual.")
  var nameIDSource: String?
  @Option(name: .long, help: "A format of names that may be asked for; may be repeated (default: all).") var allowNameID: [String] = []
  @Option(name: .long, help: "A YAML file with the table of claims (docs/operations/relying-parties.md).") var claims: String?
  @Option(name: .long, help: "How long a token holds (1h).") var tokenLife: String?
  @Option(name: .long, help: "By how much a token begins in the past, for clocks that lag (0s).") var skew: String?
  @Option(name: .long, help: "Whether a sign-in may begin here, without a request: on or off.") var unsolicited: String?
  @Option(name: .long, help: "Whether its requests must be signed: on or off.") var requireSigned: String?
  @Option(name: .long, help: "A group (distinguished name or SID) one must be in; may be repeated.") var permitGroup: [String] = []
  @Flag(name: .long, help: "Let everybody use it again.") var permitEverybody = false
  @Option(name: .long, help: "Where tokens of WS-Federation are posted (wreply); may be repeated, the first is the usual one.") var reply: [String] =
    []
  @Option(name: .long, help: "Where its WS-Federation clean-up requests go (default: the first --reply); \"\" for that.") var wsSignOutURL: String?
  @Option(name: .long, help: "What WS-Federation and WS-Trust give it: saml11 or saml20.") var tokenType: String?
  @Option(name: .long, help: "In which version of WS-Trust a browser's answer is written: 2005 or 13.") var responseFormat: String?
  @Option(name: .long, help: "Whether WS-Trust endpoints that are on issue tokens for it: on or off.") var active: String?
  @Option(name: .long, help: "From which network that is allowed (10.0.0.0/8); may be repeated.") var activeNetwork: [String] = []
  @Flag(name: .long, help: "Allow it from everywhere again.") var activeEverywhere = false
  @Option(name: .long, help: "The mail address of whoever runs it; \"\" for none.") var owner: String?
  @Option(name: .long, help: "Whether it reads the first key of our metadata only: on or off.") var readsFirstKeyOnly: String?
  @Option(name: .long, help: "Whether it goes on taking a key whose certificate has ended, since it pins the key: on or off.")
  var keepsExpiredKey: String?
  @Option(name: .long, help: "A page of it that wants a sign-in, for the probe; \"\" for no probe.") var probeURL: String?
  @Option(name: .long, help: "Who signs in for the probe.") var probeUser: String?
  @Option(name: .long, help: "What that page shows only to somebody who is signed in.") var probeExpects: String?
  @Option(name: .long, help: "A domain of the Entra tenant that it is; may be repeated.") var entraDomain: [String] = []

  func change() throws -> RelyingPartyChange {
    var change = RelyingPartyChange()
    change.preset = preset
    change.displayName = displayName
    change.signs = sign
    change.encrypts = encrypt
    change.algorithm = algorithm
    change.nameId = nameID
    change.nameIdSource = nameIDSource
    change.allowedNameIds = allowNameID.isEmpty ? nil : allowNameID
    change.tokenLifeSeconds = try seconds(tokenLife)
    change.skewSeconds = try seconds(skew)
    change.unsolicited = try flag(unsolicited, "--unsolicited")
    change.requestsMustBeSigned = try flag(requireSigned, "--require-signed")
    change.permittedGroups = permitEverybody ? [] : permitGroup.isEmpty ? nil : permitGroup
    change.replyAddresses = reply.isEmpty ? nil : reply
    change.signOutUrl = wsSignOutURL
    change.tokenType = tokenType
    change.responseFormat = responseFormat
    change.active = try flag(active, "--active")
    change.activeNetworks = activeEverywhere ? [] : activeNetwork.isEmpty ? nil : activeNetwork
    change.owner = owner
    change.readsFirstKeyOnly = try flag(readsFirstKeyOnly, "--reads-first-key-only")
    change.keepsExpiredKey = try flag(keepsExpiredKey, "--keeps-expired-key")
    change.entraDomains = entraDomain.isEmpty ? nil : entraDomain
    if let probeURL {
      guard probeURL.isEmpty || probeUser != nil else { throw ValidationError("Say who signs in for the probe: --probe-user NAME.") }
      change.probe = .init(url: probeURL, user: probeUser ?? "", expects: probeExpects)
    } else if probeUser != nil || probeExpects != nil {
      throw ValidationError("Say which page the probe opens: --probe-url URL.")
    }
    if let acceptSha1Until {
      if acceptSha1Until == "never" {
        change.acceptsSha1Until = 0
      } else {
        let strategy = Date.ISO8601FormatStyle().year().month().day()
        guard let day = try? Date(acceptSha1Until, strategy: strategy) else {
          throw ValidationError("\"\(acceptSha1Until)\" is no day; write it like 2027-01-31.")
        }
        change.acceptsSha1Until = Instant(day).milliseconds
      }
    }
    if let claims { change.claims = try PartyOptions.read(claims) }
    return change
  }

  private struct ClaimsFile: Decodable { var claims: [ClaimMessage] }

  private static func read(_ path: String) throws -> [ClaimMessage] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { throw ValidationError("\(path) cannot be read.") }
    do { return try YAMLDecoder().decode(ClaimsFile.self, from: text).claims } catch {
      throw ValidationError("\(path) is no table of claims: \(error). Look at docs/operations/relying-parties.md for its form.")
    }
  }

  private func seconds(_ text: String?) throws -> Int64? {
    guard let text else { return nil }
    guard let duration = parseDuration(text) else { throw ValidationError("\"\(text)\" is no duration; write it like 90s, 30m or 2h.") }
    return duration.components.seconds
  }

  private func flag(_ text: String?, _ name: String) throws -> Bool? {
    switch text {
    case nil: return nil
    case "on": return true
    case "off": return false
    default: throw ValidationError("\(name) is on or off.")
    }
  }
}
