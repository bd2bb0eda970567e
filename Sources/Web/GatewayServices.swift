import Bytes
import Health
import Identity
import PassThrough
import SignIn

/// The rooms, ports and settings that routes need; filled in by the house's assembly.
package struct GatewayServices: Sendable {
  package var signIn: SignInService
  package var admission: AdmissionGate
  package var desk: FrontEndDesk
  package var frontEnds: any FrontEndStore
  package var realms: RealmDirectory
  package var realmStore: any RealmStore
  package var lockouts: any LockoutStore
  package var lockoutPolicies: LockoutPolicies
  package var audit: any AuditLog
  package var hub: AgentHub
  package var registry: AgentRegistry
  package var enrolment: AgentEnrolment
  package var authority: AgentAuthority
  package var canaries: CanaryRegister
  package var quarantine: AgentQuarantine
  package var federation: SignOnServices
  /// The lockout that an account of a realm is under, as its directory says.
  package var lockoutThreshold: @Sendable (RealmName, UserName) async -> LockoutThreshold
  package var alarms: [any AlarmSource]
  package var alarmDesk: AlarmDesk
  /// The URLs of all gateway nodes for agents.
  package var nodes: [String]
  package var nodeName: String
  /// The longest a sign-in may take.
  package var deadline: Duration
  package var started: Instant
  package var now: @Sendable () -> Instant
  package var obstacles: @Sendable () async -> [String]
  package var metrics: @Sendable () -> String
  /// The user ids that may use the admin socket, and in which role.
  package var adminRoles: AdminRoles

  package init(
    signIn: SignInService, admission: AdmissionGate, desk: FrontEndDesk, frontEnds: any FrontEndStore, realms: RealmDirectory,
    realmStore: any RealmStore, lockouts: any LockoutStore, lockoutPolicies: LockoutPolicies, audit: any AuditLog, hub: AgentHub,
    registry: AgentRegistry, enrolment: AgentEnrolment, authority: AgentAuthority, canaries: CanaryRegister, quarantine: AgentQuarantine,
    federation: SignOnServices,
    lockoutThreshold: @escaping @Sendable (RealmName, UserName) async -> LockoutThreshold, alarms: [any AlarmSource], alarmDesk: AlarmDesk,
    nodes: [String],
    nodeName: String, deadline: Duration,
    started: Instant, now: @escaping @Sendable () -> Instant, obstacles: @escaping @Sendable () async -> [String],
    metrics: @escaping @Sendable () -> String, adminRoles: AdminRoles
  ) {
    self.signIn = signIn
    self.admission = admission
    self.desk = desk
    self.frontEnds = frontEnds
    self.realms = realms
    self.realmStore = realmStore
    self.lockouts = lockouts
    self.lockoutPolicies = lockoutPolicies
    self.audit = audit
    self.hub = hub
    self.registry = registry
    self.enrolment = enrolment
    self.authority = authority
    self.canaries = canaries
    self.quarantine = quarantine
    self.federation = federation
    self.lockoutThreshold = lockoutThreshold
    self.alarms = alarms
    self.alarmDesk = alarmDesk
    self.nodes = nodes
    self.nodeName = nodeName
    self.deadline = deadline
    self.started = started
    self.now = now
    self.obstacles = obstacles
    self.metrics = metrics
    self.adminRoles = adminRoles
  }
}

/// Who may do what over the admin socket.
package struct AdminRoles: Sendable {
  /// The user that the gateway runs as, and root: everything.
  package var administrators: Set<UInt32>
  /// May look, but not change.
  package var auditors: Set<UInt32>

  package init(administrators: Set<UInt32>, auditors: Set<UInt32> = []) {
    self.administrators = administrators
    self.auditors = auditors
  }
}
