import GRDB
import Identity

/// The tables, as numbered migrations. Expand and contract: a migration only adds what the version before it can live with; what is no longer
/// used goes one version later, so that a node can be upgraded, and taken back one step, under load. A released migration is never edited.
enum Schema {
  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1 realms, front-ends, agents") { try $0.execute(sql: first) }
    migrator.registerMigration("2 lockout") { try $0.execute(sql: lockout) }
    migrator.registerMigration("3 audit") { try $0.execute(sql: audit) }
    migrator.registerMigration("4 agents that lie") { try $0.execute(sql: lying) }
    migrator.registerMigration("5 lockout by person and address") { try $0.execute(sql: lockoutByPerson) }
    migrator.registerMigration("6 relying parties and sessions") { try $0.execute(sql: federation) }
    migrator.registerMigration("7 rollover records") { try $0.execute(sql: rollover) }
    migrator.registerMigration("8 alarms") { try $0.execute(sql: alarms) }
    migrator.registerMigration("9 what outlives a restore") { try $0.execute(sql: recovery) }
    migrator.registerMigration("10 WS-Trust endpoints, federated realms") { try $0.execute(sql: passive) }
    return migrator
  }

  // `federation.document` is JSON: the settings besides the entityID.
  private static let passive = """
    ALTER TABLE federation ADD COLUMN document BLOB;
    ALTER TABLE realm ADD COLUMN is_federated INTEGER NOT NULL DEFAULT 0;
    """

  // Ids and digests are BLOB, and so are texts (their UTF-8 bytes): they compare byte by byte. Times are INTEGER milliseconds since 1970.
  // `position` keeps the order of a list. `version` is for compare-and-swap.
  private static let first = """
    CREATE TABLE realm (
      name BLOB NOT NULL PRIMARY KEY, is_default INTEGER NOT NULL, method BLOB NOT NULL, display_name BLOB, version INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX realm_one_default ON realm (is_default) WHERE is_default = 1;
    CREATE TABLE realm_suffix (
      suffix BLOB NOT NULL PRIMARY KEY, realm BLOB NOT NULL REFERENCES realm ON DELETE CASCADE, position INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX realm_suffix_realm ON realm_suffix (realm);

    CREATE TABLE front_end (
      id BLOB NOT NULL PRIMARY KEY, name BLOB NOT NULL UNIQUE, rate INTEGER NOT NULL, disabled INTEGER NOT NULL, version INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE front_end_realm (
      front_end BLOB NOT NULL REFERENCES front_end ON DELETE CASCADE, position INTEGER NOT NULL, realm BLOB NOT NULL,
      PRIMARY KEY (front_end, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE front_end_key (
      digest BLOB NOT NULL PRIMARY KEY, front_end BLOB NOT NULL REFERENCES front_end ON DELETE CASCADE, position INTEGER NOT NULL,
      made INTEGER NOT NULL, expires INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX front_end_key_front_end ON front_end_key (front_end);
    CREATE TABLE front_end_certificate (
      digest BLOB NOT NULL PRIMARY KEY, front_end BLOB NOT NULL REFERENCES front_end ON DELETE CASCADE, position INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX front_end_certificate_front_end ON front_end_certificate (front_end);

    CREATE TABLE agent (
      id BLOB NOT NULL PRIMARY KEY, name BLOB NOT NULL, enrolled INTEGER NOT NULL, revoked INTEGER, version INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX agent_name_in_use ON agent (name) WHERE revoked IS NULL;
    CREATE TABLE agent_realm (
      agent BLOB NOT NULL REFERENCES agent ON DELETE CASCADE, position INTEGER NOT NULL, realm BLOB NOT NULL, PRIMARY KEY (agent, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE agent_certificate (
      digest BLOB NOT NULL PRIMARY KEY, agent BLOB NOT NULL REFERENCES agent ON DELETE CASCADE, position INTEGER NOT NULL,
      not_after INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX agent_certificate_agent ON agent_certificate (agent);
    CREATE TABLE enrolment_token (
      digest BLOB NOT NULL PRIMARY KEY, agent_name BLOB, made INTEGER NOT NULL, expires INTEGER NOT NULL, used INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE enrolment_token_realm (
      token BLOB NOT NULL REFERENCES enrolment_token ON DELETE CASCADE, position INTEGER NOT NULL, realm BLOB NOT NULL,
      PRIMARY KEY (token, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE document (name BLOB NOT NULL PRIMARY KEY, ciphertext BLOB NOT NULL, version INTEGER NOT NULL) STRICT;
    """

  // `lockout_name` holds the state of a name that means no known object, or (object IS NOT NULL) what it means; then only `blocked` is its own.
  // `reservations` packs 24 bytes each: id, expiry. `held_until` is the latest expiry.
  private static let lockout = """
    CREATE TABLE lockout_name (
      realm BLOB NOT NULL, key BLOB NOT NULL, object BLOB, seen INTEGER NOT NULL,
      failures INTEGER NOT NULL DEFAULT 0, last_failure INTEGER, locks INTEGER NOT NULL DEFAULT 0, locked_until INTEGER,
      blocked INTEGER NOT NULL DEFAULT 0, reservations BLOB NOT NULL DEFAULT x'', held_until INTEGER,
      PRIMARY KEY (realm, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX lockout_name_object ON lockout_name (realm, object) WHERE object IS NOT NULL;
    CREATE INDEX lockout_name_barred ON lockout_name (realm, key) WHERE blocked = 1 OR locked_until IS NOT NULL;
    CREATE TABLE lockout_object (
      realm BLOB NOT NULL, object BLOB NOT NULL, seen INTEGER NOT NULL,
      failures INTEGER NOT NULL DEFAULT 0, last_failure INTEGER, locks INTEGER NOT NULL DEFAULT 0, locked_until INTEGER,
      blocked INTEGER NOT NULL DEFAULT 0, reservations BLOB NOT NULL DEFAULT x'', held_until INTEGER,
      PRIMARY KEY (realm, object)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX lockout_object_barred ON lockout_object (realm, object) WHERE blocked = 1 OR locked_until IS NOT NULL;
    """

  // `agent` is that of a sign-in's details; rows from before have none, since a row is never changed.
  private static let lying = """
    ALTER TABLE agent ADD COLUMN quarantined INTEGER;
    ALTER TABLE audit_row ADD COLUMN agent BLOB;
    CREATE INDEX audit_row_agent ON audit_row (agent, time) WHERE agent IS NOT NULL;
    """

  // `familiar_…` counts tries from addresses where the person has signed in before. `charges` packs 24 bytes each: begun, until, failures since;
  // `addresses`: length, address, last seen. `held_until` of an object also covers its charges. `realm.lockout` is JSON.
  private static let lockoutByPerson = """
    ALTER TABLE lockout_object ADD COLUMN familiar_failures INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE lockout_object ADD COLUMN familiar_last_failure INTEGER;
    ALTER TABLE lockout_object ADD COLUMN familiar_locks INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE lockout_object ADD COLUMN familiar_locked_until INTEGER;
    ALTER TABLE lockout_object ADD COLUMN familiar_reservations BLOB NOT NULL DEFAULT x'';
    ALTER TABLE lockout_object ADD COLUMN charges BLOB NOT NULL DEFAULT x'';
    ALTER TABLE lockout_object ADD COLUMN addresses BLOB NOT NULL DEFAULT x'';
    ALTER TABLE realm ADD COLUMN lockout BLOB;
    """

  // `federation` is one row. `relying_party.document` is JSON; name and entity_id stand beside it to be unique. `parties_version` counts every change.
  // `participant.name` is JSON, `name_value` its value, to be found by. A session's relying parties go with it.
  private static let federation = """
    CREATE TABLE federation (
      one INTEGER PRIMARY KEY CHECK (one = 1), entity_id BLOB, version INTEGER NOT NULL, parties_version INTEGER NOT NULL
    ) STRICT;
    INSERT INTO federation VALUES (1, NULL, 0, 0);
    CREATE TABLE relying_party (
      id BLOB NOT NULL PRIMARY KEY, name BLOB NOT NULL UNIQUE, entity_id BLOB NOT NULL UNIQUE, document BLOB NOT NULL, version INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE persistent_name (
      relying_party BLOB NOT NULL REFERENCES relying_party ON DELETE CASCADE, realm BLOB NOT NULL, object BLOB NOT NULL, value BLOB NOT NULL,
      PRIMARY KEY (relying_party, realm, object)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX persistent_name_value ON persistent_name (relying_party, value);
    CREATE TABLE session (
      digest BLOB NOT NULL PRIMARY KEY, realm BLOB NOT NULL, object BLOB NOT NULL, user_name BLOB NOT NULL, person BLOB NOT NULL,
      authenticated INTEGER NOT NULL, ends INTEGER NOT NULL, is_kept INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_object ON session (realm, object);
    CREATE INDEX session_ends ON session (ends);
    CREATE TABLE participant (
      session BLOB NOT NULL REFERENCES session ON DELETE CASCADE, relying_party BLOB NOT NULL REFERENCES relying_party ON DELETE CASCADE,
      name BLOB, name_value BLOB, session_index BLOB NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (session, relying_party)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX participant_name ON participant (relying_party, name_value) WHERE name_value IS NOT NULL;
    CREATE TABLE seen_message (
      issuer BLOB NOT NULL, id BLOB NOT NULL, until INTEGER NOT NULL, holder BLOB NOT NULL, PRIMARY KEY (issuer, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX seen_message_until ON seen_message (until);
    """

  // `rollover_record.document` is JSON: what was observed of a relying party in view of changing keys. `rollover_records_version` counts every record put.
  private static let rollover = """
    CREATE TABLE rollover_record (
      relying_party BLOB NOT NULL PRIMARY KEY REFERENCES relying_party ON DELETE CASCADE, document BLOB NOT NULL, version INTEGER NOT NULL
    ) STRICT;
    ALTER TABLE federation ADD COLUMN rollover_records_version INTEGER NOT NULL DEFAULT 0;
    """

  // `alarm.document` is JSON; code and subject stand beside it to be unique.
  private static let alarms = """
    CREATE TABLE alarm (
      code BLOB NOT NULL, subject BLOB NOT NULL, document BLOB NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (code, subject)
    ) STRICT, WITHOUT ROWID;
    """

  // `recovery` is one row. `revocation.document` is JSON.
  private static let recovery = """
    CREATE TABLE recovery (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL) STRICT;
    INSERT INTO recovery VALUES (1, 0);
    CREATE TABLE revocation (position INTEGER PRIMARY KEY, kind BLOB NOT NULL, document BLOB NOT NULL) STRICT;
    CREATE INDEX revocation_kind ON revocation (kind);
    """

  // The columns of `audit_row` beside `event` are for searching only; what the row says, and what its hash covers, is `event`.
  // The triggers let rows be appended at the end of their chain and deleted from its beginning after the anchor has moved; nothing else. (They
  // hold against the gateway's own bugs and a slip of the hand; whoever owns the file can drop them, which is what the hashes are for.)
  private static let audit = """
    CREATE TABLE audit_chain (
      chain BLOB NOT NULL PRIMARY KEY, first INTEGER NOT NULL, anchor BLOB NOT NULL, last INTEGER NOT NULL, last_hash BLOB NOT NULL,
      exported_through INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE audit_row (
      id INTEGER PRIMARY KEY, chain BLOB NOT NULL REFERENCES audit_chain, sequence INTEGER NOT NULL, time INTEGER NOT NULL, kind BLOB NOT NULL,
      reference BLOB, actor BLOB NOT NULL, subject BLOB, event BLOB NOT NULL, hash BLOB NOT NULL, UNIQUE (chain, sequence)
    ) STRICT;
    CREATE INDEX audit_row_time ON audit_row (time);
    CREATE INDEX audit_row_reference ON audit_row (reference) WHERE reference IS NOT NULL;
    CREATE INDEX audit_row_subject ON audit_row (subject, time) WHERE subject IS NOT NULL;
    CREATE TRIGGER audit_row_appended BEFORE INSERT ON audit_row
      WHEN NEW.sequence IS NOT (SELECT last + 1 FROM audit_chain WHERE chain = NEW.chain)
      BEGIN SELECT RAISE(ABORT, 'an audit row can only be appended'); END;
    CREATE TRIGGER audit_row_counted AFTER INSERT ON audit_row
      BEGIN UPDATE audit_chain SET last = NEW.sequence, last_hash = NEW.hash WHERE chain = NEW.chain; END;
    CREATE TRIGGER audit_row_unchanged BEFORE UPDATE ON audit_row
      BEGIN SELECT RAISE(ABORT, 'an audit row is never changed'); END;
    CREATE TRIGGER audit_row_kept BEFORE DELETE ON audit_row
      WHEN OLD.sequence >= (SELECT first FROM audit_chain WHERE chain = OLD.chain)
      BEGIN SELECT RAISE(ABORT, 'an audit row is deleted only by pruning what was exported'); END;
    CREATE TRIGGER audit_chain_forward BEFORE UPDATE ON audit_chain
      WHEN NEW.chain IS NOT OLD.chain OR NEW.first < OLD.first OR NEW.last < OLD.last OR NEW.exported_through < OLD.exported_through
        OR NEW.exported_through > NEW.last OR NEW.first > NEW.exported_through + 1
      BEGIN SELECT RAISE(ABORT, 'an audit chain only goes forward'); END;
    CREATE TRIGGER audit_chain_kept BEFORE DELETE ON audit_chain
      BEGIN SELECT RAISE(ABORT, 'an audit chain is never deleted'); END;
    """
}
