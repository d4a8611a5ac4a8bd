-- The catalog: the durable topology of one cluster, and what must survive a crash.

-- One row: the cluster, and the epoch that every change of the topology raises by one.
CREATE TABLE cluster (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    cluster_id TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 1)
) STRICT;

-- A shard keeps its number for life. Rows are never deleted, so that no number is given twice.
CREATE TABLE shards (
    number INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 1024),
    name TEXT NOT NULL,
    -- A SQLite file below the data directory is stored as sqlite:$DATA/..., so that the directory can be moved.
    url TEXT NOT NULL,
    weight REAL NOT NULL CHECK (weight >= 0),
    removed_in_epoch INTEGER
) STRICT;
CREATE UNIQUE INDEX shards_name ON shards (name) WHERE removed_in_epoch IS NULL;
CREATE UNIQUE INDEX shards_url ON shards (url) WHERE removed_in_epoch IS NULL;

CREATE TABLE keyspaces (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL UNIQUE,
    key_column TEXT NOT NULL,
    key_type TEXT NOT NULL CHECK (key_type IN ('bigint', 'text', 'uuid'))
) STRICT, WITHOUT ROWID;

-- Tables whose key column has another name than their keyspace's.
CREATE TABLE keyspace_key_columns (
    keyspace TEXT NOT NULL REFERENCES keyspaces (name),
    table_name TEXT NOT NULL,
    column_name TEXT NOT NULL,
    PRIMARY KEY (keyspace, table_name)
) STRICT, WITHOUT ROWID;

-- The shards that hold a keyspace; some may own no slots yet.
CREATE TABLE keyspace_shards (
    keyspace TEXT NOT NULL REFERENCES keyspaces (name),
    shard INTEGER NOT NULL REFERENCES shards (number),
    PRIMARY KEY (keyspace, shard)
) STRICT, WITHOUT ROWID;

-- Every slot's owner, as ranges that cover 0 to 16383 without gaps.
CREATE TABLE slot_owners (
    keyspace TEXT NOT NULL REFERENCES keyspaces (name),
    first_slot INTEGER NOT NULL CHECK (first_slot BETWEEN 0 AND 16383),
    last_slot INTEGER NOT NULL CHECK (last_slot BETWEEN first_slot AND 16383),
    shard INTEGER NOT NULL REFERENCES shards (number),
    PRIMARY KEY (keyspace, first_slot)
) STRICT, WITHOUT ROWID;

-- A statement that spans shards: its work on each, kept until every shard has done it.
CREATE TABLE redo (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    gid TEXT NOT NULL,
    shard INTEGER NOT NULL REFERENCES shards (number),
    payload BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('recorded', 'applied')),
    UNIQUE (gid, shard)
) STRICT;

-- Who changed what, and when (microseconds since 1970). No secrets: URLs are stored without passwords.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
