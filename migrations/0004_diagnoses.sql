-- What the evidence of an incident says, and what of it other incidents are compared with.

-- one for each look; one compressed document, `format` says how to read it
CREATE TABLE diagnoses (
    snapshot_key  BIGINT NOT NULL PRIMARY KEY REFERENCES snapshots (snapshot_key),
    made_at       BIGINT NOT NULL,
    format        BIGINT NOT NULL,
    document      BLOB   NOT NULL
);

-- of the last diagnosis of each incident
CREATE TABLE findings (
    incident_key  BIGINT NOT NULL REFERENCES incidents (incident_key),
    place         BIGINT NOT NULL,
    kind          TEXT   NOT NULL,
    PRIMARY KEY (incident_key, place)
);

CREATE TABLE culprits (
    incident_key  BIGINT NOT NULL REFERENCES incidents (incident_key),
    dimension     TEXT   NOT NULL,
    group_key     TEXT   NOT NULL,
    grown_by      BIGINT NOT NULL,
    PRIMARY KEY (incident_key, dimension, group_key)
);

CREATE INDEX culprits_by_group ON culprits (dimension, group_key, incident_key);
