import Bytes
import Identity

// That a relying party gets no tokens, as a fact that outlives a restore.

extension RelyingParty {
  /// That it is disabled, or no longer, or gone; `time` is that of the change.
  package func revocation(at time: Instant?, removed: Bool = false) -> Revocation {
    Revocation(
      .relyingParty, subject: id.description, time: time ?? Instant(milliseconds: 0), name: name,
      details: removed ? ["removed": "true"] : ["disabled": "\(disabled)"])
  }
}
