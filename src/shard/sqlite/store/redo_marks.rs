//! Which parts of statements that span shards this shard has done: the table `shardd_applied`.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

/// Notes `gid` in the open transaction. `false`: it was there.
pub(super) fn mark(connection: &Connection, gid: &str) -> rusqlite::Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let inserted = connection
        .prepare_cached("INSERT INTO shardd_applied (gid, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute((gid, i64::try_from(now).unwrap_or(i64::MAX)))?;
    Ok(inserted > 0)
}

/// Forgets marks whose records are finished.
pub(super) fn prune(connection: &Connection, gids: &[String]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM shardd_applied WHERE gid = ?1")?;
    for gid in gids {
        statement.execute([gid])?;
    }
    Ok(())
}
