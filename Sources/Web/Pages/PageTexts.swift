import Bytes
import Federation
import Identity
import SignIn

/// The languages that pages are written in.
package enum PageLanguage: String, Sendable, CaseIterable {
  case english = "en"
  case german = "de"

  /// The one that the browser wants most among those that there are (RFC 9110 §12.5.4); English where it wants none of them.
  static func preferred(_ header: String?) -> PageLanguage {
    guard let header, header.utf8.count <= 512 else { return .english }
    var best: (language: PageLanguage, weight: Double) = (.english, 0)
    for part in header.split(separator: ",").prefix(32) {
      let pieces = part.split(separator: ";").map { $0.filter { !$0.isWhitespace }.lowercased() }
      guard let tag = pieces.first?.split(separator: "-").first else { continue }
      let weight = pieces.dropFirst().first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
      guard let language = PageLanguage(rawValue: String(tag)), weight > best.weight else { continue }
      best = (language, weight)
    }
    return best.language
  }
}

/// What pages say, in one language. Every text is a full sentence that says what to do, where something is to be done.
struct PageTexts: Sendable {
  let language: PageLanguage

  private func say(_ english: String, _ german: String) -> String { language == .german ? german : english }

  var signIn: String { say("Sign in", "Anmelden") }
  func signInTo(_ party: String) -> String { say("Sign in to \(party)", "Bei \(party) anmelden") }
  var userName: String { say("User name", "Benutzername") }
  var userNameHint: String { say("For example: name@company.com", "Zum Beispiel: name@firma.de") }
  var password: String { say("Password", "Kennwort") }
  var keepSignedIn: String { say("Keep me signed in on this device", "Auf diesem Gerät angemeldet bleiben") }
  var changePassword: String { say("Change password", "Kennwort ändern") }
  var oldPassword: String { say("Current password", "Bisheriges Kennwort") }
  var newPassword: String { say("New password", "Neues Kennwort") }
  var repeatPassword: String { say("New password again", "Neues Kennwort wiederholen") }
  var `continue`: String { say("Continue", "Weiter") }
  var cancel: String { say("Cancel", "Abbrechen") }
  var certificateConfirmation: String { say("New token-signing certificate", "Neues Token-Signaturzertifikat") }
  func certificateOf(_ party: String) -> String {
    say(
      "Messages for \(party) will be signed with this certificate's key. Install it beside the present one, and keep the present one until then.",
      "Nachrichten für \(party) werden künftig mit dem Schlüssel dieses Zertifikats signiert. Installieren Sie es neben dem bisherigen, und behalten Sie das bisherige bis dahin."
    )
  }
  var validUntil: String { say("Valid until", "Gültig bis") }
  var certificateInstalled: String { say("It is installed", "Es ist installiert") }
  var certificateConfirmed: String {
    say("Thank you: it is known that the certificate is installed.", "Danke: Es ist vermerkt, dass das Zertifikat installiert ist.")
  }
  var notByLink: String {
    say(
      "This application cannot be confirmed by a link. Ask your identity team.",
      "Diese Anwendung lässt sich nicht per Link bestätigen. Fragen Sie Ihr Identity-Team.")
  }
  var signOut: String { say("Sign out", "Abmelden") }
  var signedOut: String { say("You are signed out", "Sie sind abgemeldet") }
  var signedOutText: String {
    say("It is safest to close all windows of this browser now.", "Am sichersten ist es, jetzt alle Fenster dieses Browsers zu schließen.")
  }
  var signedOutPartly: String {
    say(
      "You are signed out here, but these applications could not be told. Sign out there too, or close all windows of this browser:",
      "Sie sind hier abgemeldet; die folgenden Anwendungen konnten nicht benachrichtigt werden. Melden Sie sich auch dort ab, oder schließen Sie alle Fenster dieses Browsers:"
    )
  }
  var signingOutAt: String { say("You are being signed out of these applications, too:", "Sie werden auch bei diesen Anwendungen abgemeldet:") }
  func signingOutOf(_ party: String) -> String { say("Sign-out of \(party)", "Abmeldung bei \(party)") }
  func signedInAs(_ name: String) -> String { say("You are signed in as \(name)", "Sie sind angemeldet als \(name)") }
  var notSignedIn: String { say("You are not signed in here.", "Sie sind hier nicht angemeldet.") }
  var applications: String { say("Applications", "Anwendungen") }
  var reference: String { say("Reference", "Vorgangsnummer") }
  var referenceHelp: String {
    say("Tell your help desk this reference if you need help.", "Nennen Sie Ihrem Helpdesk diese Vorgangsnummer, wenn Sie Hilfe brauchen.")
  }
  var problem: String { say("This did not work", "Das hat nicht geklappt") }
  func goingTo(_ party: String) -> String { say("You are being taken to \(party)", "Sie werden zu \(party) weitergeleitet") }
  var goingText: String {
    say("If nothing happens within a few seconds, use the button.", "Wenn in den nächsten Sekunden nichts geschieht, verwenden Sie die Schaltfläche.")
  }
  var passwordsDiffer: String {
    say(
      "The two new passwords are not the same. Type the new one twice.",
      "Die beiden neuen Kennwörter stimmen nicht überein. Geben Sie das neue zweimal ein.")
  }
  var fillIn: String { say("Fill in user name and password.", "Geben Sie Benutzername und Kennwort ein.") }
  var fillInAll: String { say("Fill in every field.", "Füllen Sie alle Felder aus.") }
  var passwordChanged: String {
    say("Your password was changed. Sign in with the new one.", "Ihr Kennwort wurde geändert. Melden Sie sich mit dem neuen an.")
  }
  var changeUncertain: String {
    say(
      "Whether the password was changed could not be found out. Sign in with the new one first; if that is refused, with the old one.",
      "Ob das Kennwort geändert wurde, ließ sich nicht feststellen. Melden Sie sich zuerst mit dem neuen an; wird es abgelehnt, mit dem bisherigen.")
  }

  /// Why a password was not accepted, and what to do.
  func refusal(_ code: OuterCode, retryAfter: Duration?) -> String {
    switch code {
    case .invalidCredentials:
      return say(
        "The user name or password is not correct. Check both and try again.",
        "Benutzername oder Kennwort ist nicht richtig. Prüfen Sie beides und versuchen Sie es noch einmal.")
    case .accountDisabled:
      return say("This account is disabled. Ask your help desk.", "Dieses Konto ist deaktiviert. Wenden Sie sich an Ihren Helpdesk.")
    case .accountExpired:
      return say("This account has expired. Ask your help desk.", "Dieses Konto ist abgelaufen. Wenden Sie sich an Ihren Helpdesk.")
    case .passwordExpired:
      return say("Your password has expired. Choose a new one here.", "Ihr Kennwort ist abgelaufen. Wählen Sie hier ein neues.")
    case .passwordChangeRequired:
      return say("You must choose a new password before you can go on.", "Sie müssen ein neues Kennwort wählen, bevor es weitergeht.")
    case .notAllowedNow: return say("You may not sign in at this time of day.", "Zu dieser Tageszeit dürfen Sie sich nicht anmelden.")
    case .notAllowedHere: return say("You may not sign in from here.", "Von hier aus dürfen Sie sich nicht anmelden.")
    case .accountRestricted:
      return say(
        "A rule of your organisation does not allow this sign-in. Ask your help desk.",
        "Eine Regel Ihrer Organisation erlaubt diese Anmeldung nicht. Wenden Sie sich an Ihren Helpdesk.")
    case .temporarilyLocked:
      let minutes = retryAfter.map { max(1, ($0.components.seconds + 59) / 60) }
      guard let minutes else {
        return say(
          "There were too many failed tries. Wait a few minutes and try again.",
          "Es gab zu viele fehlgeschlagene Versuche. Warten Sie einige Minuten und versuchen Sie es dann noch einmal.")
      }
      return say(
        "There were too many failed tries. Wait \(minutes == 1 ? "a minute" : "\(minutes) minutes") and try again.",
        "Es gab zu viele fehlgeschlagene Versuche. Warten Sie \(minutes == 1 ? "eine Minute" : "\(minutes) Minuten") und versuchen Sie es dann noch einmal."
      )
    }
  }

  var couldNotFindOut: String {
    say(
      "Whether your password is right could not be found out just now. Nothing was counted against you; try again in a moment.",
      "Ob Ihr Kennwort stimmt, ließ sich gerade nicht feststellen. Das zählt nicht als Fehlversuch; versuchen Sie es gleich noch einmal.")
  }

  /// What a new password must be, as far as the directory says.
  func rules(_ rules: PasswordRules) -> [String] {
    var lines: [String] = []
    for rule in rules.brokenInOrder {
      switch rule {
      case .tooShort:
        lines.append(
          rules.minimumLength.map {
            say(
              "The new password is too short: it needs at least \($0) characters.",
              "Das neue Kennwort ist zu kurz: Es braucht mindestens \($0) Zeichen.")
          } ?? say("The new password is too short.", "Das neue Kennwort ist zu kurz."))
      case .usedBefore:
        lines.append(
          rules.historyLength.map {
            say(
              "You have used this password before. It must not be one of your last \($0).",
              "Dieses Kennwort hatten Sie schon einmal. Es darf keines Ihrer letzten \($0) sein.")
          } ?? say("You have used this password before. Choose another one.", "Dieses Kennwort hatten Sie schon einmal. Wählen Sie ein anderes."))
      case .tooSoon:
        lines.append(
          rules.changeableFrom.map {
            say(
              "The password was changed a short time ago. You can change it again from \($0.description.prefix(16)) UTC on.",
              "Das Kennwort wurde erst vor Kurzem geändert. Ab \($0.description.prefix(16)) UTC können Sie es wieder ändern.")
          }
            ?? say(
              "The password was changed a short time ago and cannot be changed again yet.",
              "Das Kennwort wurde erst vor Kurzem geändert und kann noch nicht wieder geändert werden."))
      case .tooSimple:
        lines.append(
          say(
            "The new password is too simple: use three of capital letters, small letters, digits and other characters, and not your name.",
            "Das neue Kennwort ist zu einfach: Verwenden Sie drei von Großbuchstaben, Kleinbuchstaben, Ziffern und anderen Zeichen, und nicht Ihren Namen."
          ))
      case .mayNotChange:
        lines.append(
          say(
            "This password cannot be changed here. Ask your help desk.",
            "Dieses Kennwort kann hier nicht geändert werden. Wenden Sie sich an Ihren Helpdesk."))
      case .other:
        lines.append(
          say(
            "The directory did not accept the new password. Choose another one.",
            "Das Verzeichnis hat das neue Kennwort nicht angenommen. Wählen Sie ein anderes."))
      }
    }
    if lines.isEmpty {
      lines.append(
        say("The directory did not accept the new password. It asks for:", "Das Verzeichnis hat das neue Kennwort nicht angenommen. Es verlangt:"))
      if let length = rules.minimumLength { lines.append(say("at least \(length) characters", "mindestens \(length) Zeichen")) }
      if let history = rules.historyLength {
        lines.append(say("none of your last \(history) passwords", "keines Ihrer letzten \(history) Kennwörter"))
      }
      if rules.complexity == true {
        lines.append(
          say(
            "three of capital letters, small letters, digits and other characters",
            "drei von Großbuchstaben, Kleinbuchstaben, Ziffern und anderen Zeichen"))
      }
    }
    return lines
  }

  /// Why no application was reached, for the person; whoever runs it finds more under the reference.
  func refusal(_ refusal: PageRefusal) -> String {
    let party = refusal.party ?? say("the application", "der Anwendung")
    switch refusal.reason {
    case .malformed:
      return say(
        "The application sent a request that cannot be understood. Start again at the application; if it happens again, tell your help desk.",
        "Die Anwendung hat eine Anfrage geschickt, die nicht zu verstehen ist. Beginnen Sie noch einmal in der Anwendung; kommt es wieder vor, sagen Sie es Ihrem Helpdesk."
      )
    case .unknownParty:
      return say(
        "The application that sent you here is not registered. Tell your help desk which one it was.",
        "Die Anwendung, die Sie hierher geschickt hat, ist nicht registriert. Sagen Sie Ihrem Helpdesk, welche es war.")
    case .partyDisabled: return say("Sign-in to \(party) is switched off at the moment.", "Die Anmeldung bei \(party) ist zurzeit abgeschaltet.")
    case .badSignature:
      return say(
        "The request does not come from \(party), or was changed on its way. Nothing was sent to anybody.",
        "Die Anfrage kommt nicht von \(party), oder sie wurde unterwegs verändert. Es wurde nichts weitergegeben.")
    case .consumerNotRegistered:
      return say(
        "\(party) asks for the answer at an address that is not registered for it. Nothing was sent to anybody.",
        "\(party) möchte die Antwort an eine Adresse, die dafür nicht registriert ist. Es wurde nichts weitergegeben.")
    case .misdirected: return say("The request was meant for another server.", "Die Anfrage war für einen anderen Server bestimmt.")
    case .stale:
      return say(
        "This request has grown old. Start again at the application.", "Diese Anfrage ist zu alt. Beginnen Sie noch einmal in der Anwendung.")
    case .repeated:
      return say(
        "This request was used already. Start again at the application.",
        "Diese Anfrage wurde schon verwendet. Beginnen Sie noch einmal in der Anwendung.")
    case .notPermitted:
      return say("You may not use \(party). Ask your help desk.", "Sie dürfen \(party) nicht verwenden. Wenden Sie sich an Ihren Helpdesk.")
    case .noToken:
      return say(
        "You are signed in, but what \(party) needs to know of you is missing. Tell your help desk.",
        "Sie sind angemeldet, aber es fehlt etwas, das \(party) über Sie wissen muss. Sagen Sie es Ihrem Helpdesk.")
    case .transactionOver:
      return say(
        "This page has grown old, or was opened in another browser. Start again at the application.",
        "Diese Seite ist zu alt, oder sie wurde in einem anderen Browser geöffnet. Beginnen Sie noch einmal in der Anwendung.")
    case .unavailable:
      return say("This cannot be done just now. Try again in a moment.", "Das geht gerade nicht. Versuchen Sie es gleich noch einmal.")
    case .secondFactor:
      return say(
        "\(party) demands a second proof of who you are, such as a code, and only a password is asked for here. Tell your help desk; trying again will not help.",
        "\(party) verlangt einen zweiten Nachweis, wer Sie sind, etwa einen Code; hier wird nur ein Kennwort abgefragt. Sagen Sie es Ihrem Helpdesk; ein neuer Versuch hilft nicht."
      )
    case .authenticationMethod:
      return say(
        "\(party) asks for a way of signing in that there is not here. Tell your help desk; trying again will not help.",
        "\(party) verlangt eine Art der Anmeldung, die es hier nicht gibt. Sagen Sie es Ihrem Helpdesk; ein neuer Versuch hilft nicht.")
    case .loop:
      return say(
        "You are signed in, but \(party) sends you back here again and again. Most likely it cannot keep your sign-in (does your browser refuse its cookies?), or it does not accept ours. Wait half a minute and try once more; if it happens again, tell your help desk the reference.",
        "Sie sind angemeldet, aber \(party) schickt Sie immer wieder hierher zurück. Wahrscheinlich kann die Anwendung Ihre Anmeldung nicht behalten (lehnt Ihr Browser ihre Cookies ab?), oder sie nimmt unsere nicht an. Warten Sie eine halbe Minute und versuchen Sie es noch einmal; geschieht es wieder, nennen Sie Ihrem Helpdesk die Vorgangsnummer."
      )
    case .unsolicitedNotAllowed:
      return say("Sign-in to \(party) must begin at the application.", "Die Anmeldung bei \(party) muss in der Anwendung beginnen.")
    }
  }
}
