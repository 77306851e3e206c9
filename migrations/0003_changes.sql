-- What was changed around incidents: told by others (deployments, annotations), or seen on NATS servers.

CREATE TABLE changes (
    change_key   INTEGER PRIMARY KEY,
    change_id    TEXT   NOT NULL UNIQUE,
    -- equal for what is one change, however often it is told
    digest       TEXT   NOT NULL,
    at           BIGINT NOT NULL,
    ended_at     BIGINT,
    kind         TEXT   NOT NULL,
    cluster      TEXT,
    application  TEXT,
    server       TEXT,
    title        TEXT   NOT NULL,
    text         TEXT   NOT NULL,
    url          TEXT,
    tags         TEXT   NOT NULL,
    author       TEXT   NOT NULL,
    source       TEXT   NOT NULL,
    external_id  TEXT,
    received_at  BIGINT NOT NULL
);

-- they are told in any order, and listed by their time
CREATE INDEX changes_by_time ON changes (at, change_key);
CREATE INDEX changes_by_digest ON changes (digest, change_key);

-- what /varz last said of when each server was started and with what; `server` is its name, else its monitoring URL
CREATE TABLE server_runs (
    cluster           TEXT   NOT NULL,
    server            TEXT   NOT NULL,
    version           TEXT   NOT NULL,
    started_at        BIGINT NOT NULL,
    config_loaded_at  BIGINT,
    config_digest     TEXT,
    PRIMARY KEY (cluster, server)
);
