-- What is normal: samples of each cluster, fewer and fewer with age, and what was seen when for the first time.

CREATE TABLE baselines (
    baseline_key  INTEGER PRIMARY KEY,
    cluster       TEXT   NOT NULL,
    at            BIGINT NOT NULL,
    -- the sample whose document the compressor was given to compare with; none stands for itself
    base_key      BIGINT REFERENCES baselines (baseline_key),
    format        BIGINT NOT NULL,
    document      BLOB   NOT NULL
);

CREATE INDEX baselines_by_cluster ON baselines (cluster, at);
CREATE INDEX baselines_by_base ON baselines (base_key) WHERE base_key IS NOT NULL;

CREATE TABLE first_seen (
    cluster        TEXT   NOT NULL,
    dimension      TEXT   NOT NULL,
    key            TEXT   NOT NULL,
    first_seen_at  BIGINT NOT NULL,
    -- when it was last looked for in vain
    not_seen_at    BIGINT,
    -- to the hour
    last_seen_at   BIGINT NOT NULL,
    PRIMARY KEY (cluster, dimension, key)
);

CREATE INDEX first_seen_by_last ON first_seen (cluster, dimension, last_seen_at);

-- when a look last saw every key of a dimension: what is new after it was not there then
CREATE TABLE whole_looks (
    cluster    TEXT   NOT NULL,
    dimension  TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (cluster, dimension)
);
