-- Moves of slots from one shard to another. A move that has ended stays: it is the history of where rows were.
CREATE TABLE moves (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    keyspace TEXT NOT NULL REFERENCES keyspaces (name),
    from_shard INTEGER NOT NULL REFERENCES shards (number),
    to_shard INTEGER NOT NULL REFERENCES shards (number) CHECK (to_shard <> from_shard),
    -- As ranges: 0-99,120.
    slots TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (
        stage IN ('prepare', 'copy', 'catch_up', 'verify', 'cut_over', 'clean_up', 'done', 'undo', 'cancelled')
    ),
    -- How often a cutover was begun: each has a decision of its own, on the shard that is to take the slots.
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    -- What an operator wants of it.
    asked TEXT NOT NULL CHECK (asked IN ('go_on', 'pause', 'cancel')),
    -- Why it waits, or why it was cancelled.
    reason TEXT,
    rows_copied INTEGER NOT NULL,
    bytes_copied INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    -- The epoch in which the slots changed hands.
    epoch INTEGER
) STRICT;
CREATE INDEX moves_unfinished ON moves (id) WHERE stage NOT IN ('done', 'cancelled');
