-- The main job: what was received, the incidents made of it, what was seen in NATS, and the work still to do.
--
-- Portable on purpose: integer keys are private and double as cursors, public ids and states are text, instants
-- are microseconds UTC, JSON is text that SQL never looks into.

CREATE TABLE notifications (
    notification_key  INTEGER PRIMARY KEY,
    notification_id   TEXT   NOT NULL UNIQUE,
    received_at       BIGINT NOT NULL,
    sender            TEXT   NOT NULL,
    receiver          TEXT   NOT NULL,
    group_key         TEXT   NOT NULL,
    alert_count       BIGINT NOT NULL,
    truncated_alerts  BIGINT NOT NULL,
    digest            TEXT   NOT NULL,
    -- the same content is stored once and counted
    seen_count        BIGINT NOT NULL,
    last_seen_at      BIGINT NOT NULL,
    body_size_bytes   BIGINT NOT NULL,
    -- the last: what is behind it costs as much to read as the body
    body              BLOB   NOT NULL
);

CREATE INDEX notifications_by_digest ON notifications (digest, notification_key);

CREATE TABLE incidents (
    incident_key      INTEGER PRIMARY KEY,
    incident_id       TEXT   NOT NULL UNIQUE,
    identity          TEXT   NOT NULL,
    cluster           TEXT,
    mapped_by         TEXT,
    subject           TEXT,
    alert_name        TEXT   NOT NULL,
    state             TEXT   NOT NULL,
    acknowledged_by   TEXT,
    acknowledged_at   BIGINT,
    recovering_since  BIGINT,
    resolution        TEXT,
    resolved_at       BIGINT,
    resolved_by       TEXT,
    reopened          BIGINT NOT NULL,
    previous_id       TEXT,
    verdict           TEXT,
    opened_at         BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    headline          TEXT
);

-- at most one unresolved incident per identity
CREATE UNIQUE INDEX incidents_unresolved ON incidents (identity) WHERE state <> 'resolved';
-- the newest of an identity is the one that alerts are told to
CREATE INDEX incidents_by_identity ON incidents (identity, incident_key);
-- those that have been resolved the longest go first
CREATE INDEX incidents_resolved ON incidents (resolved_at, incident_key) WHERE state = 'resolved';
CREATE INDEX incidents_by_cluster ON incidents (cluster, incident_key);
CREATE INDEX incidents_by_alert_name ON incidents (alert_name, incident_key);

CREATE TABLE alerts (
    alert_key          INTEGER PRIMARY KEY,
    incident_key       BIGINT NOT NULL REFERENCES incidents (incident_key),
    fingerprint        TEXT   NOT NULL,
    generation         BIGINT NOT NULL,
    flaps              BIGINT NOT NULL,
    stale_since        BIGINT,
    suppression        TEXT,
    status             TEXT   NOT NULL,
    starts_at          BIGINT NOT NULL,
    ended_at           BIGINT,
    labels             TEXT   NOT NULL,
    annotations        TEXT   NOT NULL,
    generator_url      TEXT   NOT NULL,
    value              TEXT,
    value_source       TEXT,
    server_url         TEXT,
    server_matched_by  TEXT,
    first_seen_at      BIGINT NOT NULL,
    last_seen_at       BIGINT NOT NULL,
    UNIQUE (incident_key, fingerprint)
);

CREATE INDEX alerts_firing ON alerts (incident_key) WHERE status = 'firing';
-- the few that are said to fire against their end: asked for where the last firing ends, and by reconciliation
CREATE INDEX alerts_stale ON alerts (incident_key) WHERE stale_since IS NOT NULL;

CREATE TABLE entries (
    entry_key        INTEGER PRIMARY KEY,
    incident_key     BIGINT NOT NULL REFERENCES incidents (incident_key),
    at               BIGINT NOT NULL,
    actor            TEXT   NOT NULL,
    kind             TEXT   NOT NULL,
    text             TEXT   NOT NULL,
    notification_id  TEXT
);

CREATE INDEX entries_by_incident ON entries (incident_key, entry_key);
CREATE INDEX entries_by_notification ON entries (notification_id) WHERE notification_id IS NOT NULL;

CREATE TABLE snapshots (
    snapshot_key  INTEGER PRIMARY KEY,
    snapshot_id   TEXT   NOT NULL UNIQUE,
    incident_key  BIGINT NOT NULL REFERENCES incidents (incident_key),
    cluster       TEXT   NOT NULL,
    taken_at      BIGINT NOT NULL,
    seen          BIGINT NOT NULL,
    total         BIGINT NOT NULL,
    complete      BIGINT NOT NULL,
    coverage      TEXT   NOT NULL,
    -- one compressed document, written like those of breakdowns; empty where nobody asked for closed connections
    closed        BLOB
);

CREATE INDEX snapshots_by_incident ON snapshots (incident_key, snapshot_key);

-- one compressed document per dimension or crossing of two; `format` says how to read it
CREATE TABLE breakdowns (
    snapshot_key  BIGINT NOT NULL REFERENCES snapshots (snapshot_key),
    grouped_by    TEXT   NOT NULL,
    format        BIGINT NOT NULL,
    document      BLOB   NOT NULL,
    PRIMARY KEY (snapshot_key, grouped_by)
);

CREATE TABLE jobs (
    job_key        INTEGER PRIMARY KEY,
    kind           TEXT   NOT NULL,
    subject        TEXT   NOT NULL,
    state          TEXT   NOT NULL,
    attempts       BIGINT NOT NULL,
    failures       BIGINT NOT NULL DEFAULT 0,
    interruptions  BIGINT NOT NULL DEFAULT 0,
    created_at     BIGINT NOT NULL,
    due_at         BIGINT NOT NULL,
    lease_until    BIGINT,
    last_error     TEXT
);

-- the same work is not queued twice while it waits
CREATE UNIQUE INDEX jobs_waiting ON jobs (kind, subject) WHERE state = 'waiting';
CREATE INDEX jobs_due ON jobs (due_at) WHERE state = 'waiting' OR state = 'running';

-- what /varz last said of each configured server: alerts are mapped by it, also straight after a start
CREATE TABLE servers (
    cluster      TEXT   NOT NULL,
    url          TEXT   NOT NULL,
    server_id    TEXT   NOT NULL,
    server_name  TEXT   NOT NULL,
    version      TEXT   NOT NULL,
    learnt_at    BIGINT NOT NULL,
    PRIMARY KEY (cluster, url)
);

CREATE TABLE settings (
    name   TEXT PRIMARY KEY,
    value  TEXT NOT NULL
);
