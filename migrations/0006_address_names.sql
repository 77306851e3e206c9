-- The names that DNS gave client addresses of a look, asked for after the look was stored.
CREATE TABLE address_names (
    snapshot_key  BIGINT NOT NULL REFERENCES snapshots (snapshot_key),
    address       TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    PRIMARY KEY (snapshot_key, address)
);
