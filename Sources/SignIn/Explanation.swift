import Identity

/// An audit row in words: what was decided, by whom, why, and what to do about it.
package struct Explanation: Sendable, Equatable, Codable {
  package var reference: String
  /// One sentence.
  package var decision: String
  /// Why, for somebody who runs the directory.
  package var cause: String
  package var remedy: String
  /// The way to it, a line a step, in order.
  package var steps: [String]

  package init(_ row: AuditRow) {
    let event = row.event
    reference = event.reference?.text ?? "-"
    let who = event.subject ?? "-"
    let (verdict, inner) = Explanation.split(event.outcome)
    switch verdict {
    case "refused" where event.kind == .tokenRefused || event.kind == .logoutRefused:
      let what = event.kind == .tokenRefused ? "got no token" : "was refused a logout"
      decision = "\(event.actor) \(what) at \(event.time)\(event.subject.map { " for \($0)" } ?? ""): \(inner)."
      cause = event.trace.first.map(\.detail) ?? inner
      remedy =
        "The checks below name what did not hold, with the clause that demands it; what to change is at the relying party or in `gatehouse rp show`."
    case "accepted":
      decision = "\(who) was signed in at \(event.time)."
      cause = "The directory accepted the password."
      remedy = "Nothing needs to be done."
    case "refused":
      decision =
        event.kind == .signInsThrottled
        ? "\(event.details["count"] ?? "?") sign-ins from \(who) were refused alike between \(event.details["since"] ?? "?") and \(event.time): \(inner)."
        : "\(who) was refused at \(event.time): \(inner)."
      let reason = RefusalReason(rawValue: inner)
      cause = reason?.cause ?? inner
      remedy = reason?.remedy ?? "Look at the steps below."
    case "changed":
      decision = "\(who) changed their password at \(event.time)."
      cause = "The directory accepted the old password and took the new one."
      remedy =
        event.details["signedIn"] == "false"
        ? "The person could not be signed in with the new password at once (see the steps); they sign in with it." : "Nothing needs to be done."
    case "not-taken":
      let rules = inner.split(separator: ",").compactMap { PasswordRule(rawValue: String($0)) }
      decision =
        "\(who) could not change their password at \(event.time): the directory did not take the new one\(inner.isEmpty ? "" : ": \(inner)")."
      cause =
        "The old password was right. "
        + (rules.isEmpty ? "The directory does not say which rule the new one breaks." : rules.map(\.cause).joined(separator: " "))
      remedy =
        rules.contains(.mayNotChange)
        ? "Allow it: untick \"User cannot change password\", and see that the service account has the right Change Password (OpenLDAP: `write` on userPassword)."
        : "The person chooses another password; the rules are in the domain's password policy or the person's password settings object."
    case "unknown" where event.kind == .passwordChange:
      decision =
        "Whether \(who) changed their password could not be found out at \(event.time): \(inner). The person tries the new one first, then the old one."
      let unknown = UnknownCause(rawValue: inner)
      cause = unknown?.explanation.cause ?? inner
      remedy = unknown?.explanation.remedy ?? "Look at the steps below."
    case "unknown":
      decision = "Whether \(who) is who they say could not be found out at \(event.time): \(inner). Nothing was counted against the user."
      let unknown = UnknownCause(rawValue: inner)
      cause = unknown?.explanation.cause ?? inner
      remedy = unknown?.explanation.remedy ?? "Look at the steps below."
    default:
      decision = "\(event.kind.rawValue) by \(event.actor) at \(event.time): \(event.outcome)."
      cause = event.details.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
      remedy = "-"
    }
    var lines: [String] = []
    if let code = event.details["subCode"] { lines.append("Active Directory's sub-code: \(code).") }
    if let outer = event.details["outerCode"] { lines.append("Told to the front-end: \(outer).") }
    if let application = event.details["application"] { lines.append("Application: \(application).") }
    if let correlation = event.details["correlation"] { lines.append("The caller's correlation id: \(correlation).") }
    if let object = event.object { lines.append("Directory object: \(object).") }
    lines += event.trace.map { note in
      let time = note.milliseconds.map { " (\(Explanation.rounded($0)) ms)" } ?? ""
      return "\(note.step.label): \(note.detail)\(time)"
    }
    lines.append("Audit row \(row.sequence) of chain \(row.chain).")
    steps = lines
  }

  private static func split(_ outcome: String) -> (String, String) {
    let parts = outcome.split(separator: ":", maxSplits: 1).map(String.init)
    return (parts.first ?? "", parts.count > 1 ? parts[1] : "")
  }

  private static func rounded(_ value: Double) -> String {
    guard value.isFinite, value >= 0, value < 1e9 else { return "?" }
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
  }
}

extension TraceStep {
  var label: String {
    switch self {
    case .frontEnd: "Front-end"
    case .realm: "Realm"
    case .addressThrottle: "Address throttle"
    case .lockout: "Lockout"
    case .agent: "Agent"
    case .question: "Question"
    case .domainController: "Domain controller"
    case .search: "Search"
    case .bind: "Bind"
    case .attributes: "Attributes"
    case .change: "Change"
    case .verdict: "Verdict"
    case .federation: "Check"
    }
  }
}

extension PasswordRule {
  /// What it means that it is broken, for the one who runs the directory.
  var cause: String {
    switch self {
    case .tooShort: "The new one is shorter than the policy's minimum length."
    case .usedBefore: "The new one is the present one or in the password history."
    case .tooSoon: "The present one is younger than the policy's minimum age."
    case .tooSimple: "The new one does not meet the policy's complexity, or contains the person's name."
    case .mayNotChange: "The account, or the directory's access rules, do not let this password be changed."
    case .other: "A rule of which the directory tells nothing more."
    }
  }
}

extension RefusalReason {
  /// Why, in words for the one who runs the directory.
  package var cause: String {
    switch self {
    case .wrongPassword: "The directory says that the password is wrong (AD sub-code 52e)."
    case .userNotFound: "No entry of the directory has this login name."
    case .ambiguousName: "Several entries of the directory have this login name; nobody is signed in by a name that could be somebody else's."
    case .accountDisabled: "The account is disabled (AD sub-code 533). The password was right."
    case .accountExpired: "The account's accountExpires is in the past (AD sub-code 701). The password was right."
    case .passwordExpired: "The password is older than the domain's password policy allows (AD sub-code 532). The password was right."
    case .mustChangePassword: "The user must change the password at the next sign-in: pwdLastSet is 0 (AD sub-code 773). The password was right."
    case .signInHours: "The account's logonHours do not allow a sign-in at this time (AD sub-code 530). The password was right."
    case .workstation:
      "The account's userWorkstations (\"Log On To\") do not include the domain controller or the agent (AD sub-code 531). The password was right."
    case .signInType: "The account may not log on in this way (AD sub-code 534). The password was right."
    case .accountRestriction: "An account restriction, such as membership of Protected Users, forbids the sign-in (AD sub-code 52f)."
    case .directoryLocked: "The directory has locked the account after too many wrong passwords (AD sub-code 775). It says so for any password."
    case .lockedOut: "Gatehouse has locked the name after too many wrong passwords; the directory was not asked."
    case .addressThrottled: "Too many wrong passwords came from this client address in a short time; the directory was not asked."
    case .blockedByAdministrator: "An administrator has blocked the user here; the directory was not asked."
    case .keptFromDirectory, .keptFromDirectoryFamiliar:
      "The directory has counted so many wrong passwords of this person that one more could bring its lock near. It was not asked, so that nobody locks the account through Gatehouse; whether the password was right is not known."
    case .repeatedWrongPassword:
      "The directory refused this very password for this person within the last two minutes, and the person's password has not changed since (pwdLastSet). It was not asked again, so that it counts once."
    case .sprayThrottled: "Guesses at many people came from this address, or with this password; the directory was not asked."
    case .malformedUserName: "The user name is empty, longer than 320 bytes, or has control or invisible characters."
    case .malformedPassword: "The password is empty, longer than 256 UTF-16 units, not UTF-8, or contains NUL; the directory was not asked."
    case .realmUnknown: "No realm has the part behind the @ (or before the \\) of this name."
    case .realmNotAllowed: "The front-end may not ask about this realm."
    }
  }

  /// What to do about it.
  package var remedy: String {
    switch self {
    case .wrongPassword: "The user types the password again or has it reset in Active Directory."
    case .userNotFound: "Check the spelling, the realm's search bases and its loginAttributes in the agent's configuration."
    case .ambiguousName: "Make the attribute unique in the directory, or take it out of the realm's loginAttributes."
    case .accountDisabled: "Enable the account (Enable-ADAccount), if the person should have access."
    case .accountExpired: "Set a later date, or none (Clear-ADAccountExpiration)."
    case .passwordExpired: "The user changes the password at a domain-joined computer, or it is reset."
    case .mustChangePassword: "The user changes the password at a domain-joined computer, or \"User must change password at next logon\" is cleared."
    case .signInHours: "Wait, or change the account's logon hours."
    case .workstation: "Add the agent's host and the domain controllers to the account's \"Log On To\" list, or clear the list."
    case .signInType: "Grant the logon right in the domain controllers' policy."
    case .accountRestriction: "Look at the account's restrictions; members of Protected Users cannot use simple binds."
    case .directoryLocked: "Unlock the account (Unlock-ADAccount) after you have found out who guesses, or wait for the lockout duration."
    case .lockedOut: "Wait, or `gatehouse users unlock NAME --realm REALM` after you have found out who guesses."
    case .addressThrottled: "Wait some seconds. If it is a company behind one address, look for the computer that tries old passwords."
    case .blockedByAdministrator: "`gatehouse users unblock NAME --realm REALM`, if the person should have access again."
    case .keptFromDirectory, .keptFromDirectoryFamiliar:
      "Find out who guesses (badPwdCount and badPasswordTime at the PDC emulator; its event 4740). Tries go on when the directory's observation window has passed, or after a successful sign-in at a domain-joined computer, or when the account is unlocked there (Unlock-ADAccount)."
    case .repeatedWrongPassword: "Look for a telephone or a program of the person that has an old password, and correct it there."
    case .sprayThrottled:
      "See `gatehouse status` for the spray. People go on from addresses from which they signed in before; the source is let through again ten minutes after its last guess."
    case .malformedUserName, .malformedPassword: "Look at the calling program: it sends something that no directory accepts."
    case .realmUnknown: "Add the suffix to a realm (`gatehouse realms add`), or correct the name."
    case .realmNotAllowed: "Allow it with `gatehouse front-ends edit NAME --realm REALM`, if the front-end should see these people."
    }
  }
}

extension UnknownCause {
  /// Cause and remedy in words.
  package var explanation: (cause: String, remedy: String) {
    switch self {
    case .noAgent: ("No agent of the realm is connected.", "Look at `gatehouse agents list` and at the agents' logs; start or enrol one.")
    case .agentLost:
      (
        "The agent that had the question was lost, and no other could answer in time.",
        "Look at the agent's host and its log. Run at least two agents for each realm."
      )
    case .agentAnswerInvalid:
      (
        "The agent's answer was not signed by its key, or contradicted itself.",
        "Treat the agent as suspect: look at its host, and revoke it with `gatehouse agents revoke` if you cannot explain it."
      )
    case .unsupportedByAgent:
      (
        "The agent does not know this kind of question, or does not serve the realm.",
        "Update the agent, and compare its configuration's realms with `gatehouse agents list`."
      )
    case .overloaded:
      (
        "More questions were waiting than the gateway holds.",
        "Add agents or domain controllers; look for a flood of sign-ins in `gatehouse audit list`."
      )
    case .deadlineExceeded:
      (
        "No answer came within the deadline.",
        "Look at the step that took longest below: a slow domain controller, a full connection pool, or the network."
      )
    case .noDirectoryServer:
      (
        "No domain controller could be found or all were set aside as failing.",
        "Check DNS (SRV records) or the servers in the agent's configuration, and the network from the agent's host."
      )
    case .directoryUnreachable:
      ("The connection to the domain controller failed.", "Check that the agent's host reaches the domain controllers on port 636 (or 389).")
    case .directoryBusy: ("The domain controller said that it is busy or unavailable.", "Look at the domain controller's load and event log.")
    case .directoryError:
      (
        "The domain controller answered with an error that says nothing about the password.",
        "Look at the result code in the steps below and at the domain controller's event log."
      )
    case .directoryTLS:
      (
        "The domain controller's certificate could not be verified, so no password was sent.",
        "Check the realm's caFile, and that the certificate names the server in its subject alternative name and has not expired."
      )
    case .directoryChannelBinding:
      (
        "The domain controller demands channel binding or signing that this connection does not have.",
        "Use ldaps or startTLS for the realm (see the agent's configuration)."
      )
    case .directoryUnproven:
      (
        "The directory said yes, but did not prove that it had checked this user's password.",
        "Make sure that the server is the directory that you think it is, and that anonymous binds are off."
      )
    case .serviceCredentialRefused:
      (
        "The directory refuses the agent's service account, so users cannot be looked up. Tries are paused so that the account is not locked.",
        "Put the account's current password into the passwordFile (or renew the keytab); the agent reads it at once."
      )
    case .tooManyGroups:
      (
        "The user is in more groups than a logon token holds (AD sub-code 568).",
        "Take the user out of groups; see MaxTokenSize in Microsoft's documentation."
      )
    case .sealingBroken:
      ("The sealed password did not open at the agent.", "It repairs itself with the next question; if it stays, enrol the agent anew.")
    case .nameMoved:
      (
        "The name meant one person when the try was admitted and another when it was looked up in the directory, twice in a row.",
        "Try again. If it stays so, the domain controllers disagree: look at their replication."
      )
    case .triesUnderWay:
      (
        "So many sign-ins of the same person were under way that one more at the same time could have locked the account, if all were wrong.",
        "Try again. If it stays so, look which program signs the person in so often; a higher lockout threshold in the directory gives more room."
      )
    case .storeUnavailable: ("The gateway's store could not be written, so no verdict may leave.", "Look at the gateway's log and its disk.")
    case .internalError: ("Something failed inside the gateway.", "Look at the gateway's log under this reference and report it.")
    }
  }
}
