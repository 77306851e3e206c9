-- Acts against connections: what was planned, who decided, what was done to whom, what it achieved; and who did what.

CREATE TABLE mitigations (
    mitigation_key   INTEGER PRIMARY KEY,
    mitigation_id    TEXT   NOT NULL UNIQUE,
    incident_key     BIGINT REFERENCES incidents (incident_key),
    cluster          TEXT   NOT NULL,
    action           TEXT   NOT NULL,
    -- the selector's conditions as JSON, always written alike: what cool-downs are counted by
    target           TEXT   NOT NULL,
    digest           TEXT   NOT NULL,
    state            TEXT   NOT NULL,
    planned_by       TEXT   NOT NULL,
    planned_at       BIGINT NOT NULL,
    reason           TEXT,
    -- what is asked for by SQL; all of them stay once they are known, also when the state no longer says them
    approved_by      TEXT,
    approved_at      BIGINT,
    valid_until      BIGINT,
    started_at       BIGINT,
    executed_at      BIGINT,
    -- when nothing could become of it any more, however that came
    finished_at      BIGINT,
    outcome          TEXT,
    stop             TEXT,
    -- of whoever had it planned: the same request under the same key is not planned twice
    idempotency_key  TEXT   UNIQUE,
    request_digest   TEXT,
    victim_count     BIGINT NOT NULL,
    -- the state with all that it says, as JSON
    state_data       TEXT   NOT NULL,
    -- the last, the longest: without its victims, as JSON
    plan             TEXT   NOT NULL
);

-- at most one run per cluster
CREATE UNIQUE INDEX mitigations_running ON mitigations (cluster) WHERE state = 'running';
CREATE INDEX mitigations_by_incident ON mitigations (incident_key, mitigation_key) WHERE incident_key IS NOT NULL;
CREATE INDEX mitigations_by_cluster ON mitigations (cluster, mitigation_key);
-- those that were run, for cool-downs and for the breaker
CREATE INDEX mitigations_started ON mitigations (cluster, started_at) WHERE started_at IS NOT NULL;
CREATE INDEX mitigations_ended ON mitigations (cluster, finished_at) WHERE started_at IS NOT NULL;
CREATE INDEX mitigations_unfinished ON mitigations (mitigation_key) WHERE finished_at IS NULL;
-- those that belong to no incident go by their age
CREATE INDEX mitigations_finished ON mitigations (finished_at, mitigation_key) WHERE incident_key IS NULL;

-- the journal of a run: written before and after each request
CREATE TABLE victims (
    mitigation_key  BIGINT NOT NULL REFERENCES mitigations (mitigation_key),
    place           BIGINT NOT NULL,
    server_id       TEXT   NOT NULL,
    -- 64 bits without a sign, as the server counts
    cid             BIGINT NOT NULL,
    start           TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    at              BIGINT NOT NULL,
    error           TEXT,
    -- what was known of it when the plan was made, as JSON
    known           TEXT   NOT NULL,
    PRIMARY KEY (mitigation_key, place)
);

CREATE UNIQUE INDEX victims_by_connection ON victims (mitigation_key, server_id, cid, start);
CREATE INDEX victims_by_state ON victims (mitigation_key, state, place);
-- connections that were cut, or may have been, for the hourly budget
CREATE INDEX victims_cut ON victims (at) WHERE state IN ('sent', 'asked', 'confirmed', 'left', 'error');

-- how the cluster looked before the first victim (0 ms) and so long after the last, as JSON
CREATE TABLE mitigation_looks (
    mitigation_key  BIGINT NOT NULL REFERENCES mitigations (mitigation_key),
    after_ms        BIGINT NOT NULL,
    document        TEXT   NOT NULL,
    PRIMARY KEY (mitigation_key, after_ms)
);

-- while there is one, nothing runs; it is deleted when it ends
CREATE TABLE pauses (
    name       TEXT   NOT NULL PRIMARY KEY,
    -- every cluster, where there is none
    cluster    TEXT,
    reason     TEXT   NOT NULL,
    paused_by  TEXT   NOT NULL,
    paused_at  BIGINT NOT NULL
);

-- every act with its actor, whether it concerns an incident or not; added to, never changed
CREATE TABLE audit (
    audit_key  INTEGER PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor      TEXT   NOT NULL,
    act        TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    text       TEXT   NOT NULL
);

CREATE INDEX audit_by_subject ON audit (subject, audit_key);
