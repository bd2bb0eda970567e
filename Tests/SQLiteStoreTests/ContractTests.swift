import GatehouseTesting
import SQLiteStore
import Testing

@Suite struct `SQLite keeps the contract of` {
  let folder: Folder
  let store: EmbeddedStore

  init() throws {
    folder = try Folder()
    store = try folder.open()
  }

  @Test(arguments: LockoutStoreContract.sentences)
  func `a lockout store`(sentence: ContractSentence<LockoutStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: AuditLogContract.sentences)
  func `an audit log`(sentence: ContractSentence<AuditLogContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: RealmStoreContract.sentences)
  func `a realm store`(sentence: ContractSentence<RealmStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: FrontEndStoreContract.sentences)
  func `a front-end store`(sentence: ContractSentence<FrontEndStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: AgentStoreContract.sentences)
  func `an agent store`(sentence: ContractSentence<AgentStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: DocumentStoreContract.sentences)
  func `a document store`(sentence: ContractSentence<DocumentStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: RelyingPartyStoreContract.sentences)
  func `a store of relying parties`(sentence: ContractSentence<RelyingPartyStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: FederationSettingsStoreContract.sentences)
  func `a store of federation settings`(sentence: ContractSentence<FederationSettingsStoreContract.Store>) async throws {
    try await sentence.test(store)
  }

  @Test(arguments: SessionStoreContract.sentences)
  func `a session store`(sentence: ContractSentence<SessionStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: FederationStoreContract.sentences)
  func `a store of federation`(sentence: ContractSentence<FederationStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: RolloverRecordStoreContract.sentences)
  func `a store of rollover records`(sentence: ContractSentence<RolloverRecordStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: AlarmStoreContract.sentences)
  func `a store of alarms`(sentence: ContractSentence<AlarmStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: RevocationStoreContract.sentences)
  func `a store of what outlives a restore`(sentence: ContractSentence<RevocationStoreContract.Store>) async throws { try await sentence.test(store) }
}

@Suite struct `The store in memory keeps the contract of` {
  let store = InMemoryStore()

  @Test(arguments: LockoutStoreContract.sentences)
  func `a lockout store`(sentence: ContractSentence<LockoutStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: AuditLogContract.sentences)
  func `an audit log`(sentence: ContractSentence<AuditLogContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: RealmStoreContract.sentences)
  func `a realm store`(sentence: ContractSentence<RealmStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: FrontEndStoreContract.sentences)
  func `a front-end store`(sentence: ContractSentence<FrontEndStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: AgentStoreContract.sentences)
  func `an agent store`(sentence: ContractSentence<AgentStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: DocumentStoreContract.sentences)
  func `a document store`(sentence: ContractSentence<DocumentStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: RelyingPartyStoreContract.sentences)
  func `a store of relying parties`(sentence: ContractSentence<RelyingPartyStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: FederationSettingsStoreContract.sentences)
  func `a store of federation settings`(sentence: ContractSentence<FederationSettingsStoreContract.Store>) async throws {
    try await sentence.test(store)
  }

  @Test(arguments: SessionStoreContract.sentences)
  func `a session store`(sentence: ContractSentence<SessionStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: FederationStoreContract.sentences)
  func `a store of federation`(sentence: ContractSentence<FederationStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: RolloverRecordStoreContract.sentences)
  func `a store of rollover records`(sentence: ContractSentence<RolloverRecordStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: AlarmStoreContract.sentences)
  func `a store of alarms`(sentence: ContractSentence<AlarmStoreContract.Store>) async throws { try await sentence.test(store) }

  @Test(arguments: RevocationStoreContract.sentences)
  func `a store of what outlives a restore`(sentence: ContractSentence<RevocationStoreContract.Store>) async throws { try await sentence.test(store) }
}
