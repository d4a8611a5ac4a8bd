//! A topology as rows, and back.

use std::sync::Arc;

use sqlx::{Sqlite, Transaction};

use super::CatalogError;
use super::location::DataPaths;
use crate::topology::{Keyspace, Shard, SlotRange, SlotSet, Topology};
use crate::types::{Epoch, KeyType, ShardId};

type Tx<'a> = Transaction<'a, Sqlite>;

pub(super) async fn epoch(transaction: &mut Tx<'_>) -> Result<Option<Epoch>, CatalogError> {
    let epoch: Option<i64> = sqlx::query_scalar("SELECT epoch FROM cluster").fetch_optional(&mut **transaction).await?;
    epoch.map(|epoch| u64::try_from(epoch).map(Epoch).map_err(|_| corrupt("epoch", epoch))).transpose()
}

pub(super) fn stored_epoch(epoch: Epoch) -> Result<i64, CatalogError> {
    i64::try_from(epoch.0).map_err(|_| corrupt("epoch", epoch))
}

/// One more than the highest number ever given, removed shards included.
pub(super) async fn next_shard_number(transaction: &mut Tx<'_>) -> Result<ShardId, CatalogError> {
    let highest: Option<i64> =
        sqlx::query_scalar("SELECT max(number) FROM shards").fetch_one(&mut **transaction).await?;
    let next = highest.unwrap_or(0) + 1;
    let next = u16::try_from(next).ok().filter(|next| *next <= crate::topology::SHARD_NUMBER_MAX);
    next.map(ShardId).ok_or(CatalogError::NumbersExhausted)
}

pub(super) async fn read(transaction: &mut Tx<'_>, paths: &DataPaths) -> Result<Option<Topology>, CatalogError> {
    let Some(epoch) = epoch(transaction).await? else { return Ok(None) };
    let shards = read_shards(transaction, paths).await?;
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT name, key_column, key_type FROM keyspaces ORDER BY position")
            .fetch_all(&mut **transaction)
            .await?;
    let mut keyspaces = Vec::new();
    for (name, key_column, key_type) in rows {
        let key_type = key_type_named(&key_type)?;
        keyspaces.push(Arc::new(read_keyspace(transaction, name, key_column, key_type).await?));
    }
    Topology::validated(epoch, shards, keyspaces, Arc::default())
        .map(Some)
        .map_err(|error| CatalogError::Corrupt(error.to_string()))
}

async fn read_shards(transaction: &mut Tx<'_>, paths: &DataPaths) -> Result<Vec<Shard>, CatalogError> {
    let rows: Vec<(i64, String, String, f64)> =
        sqlx::query_as("SELECT number, name, url, weight FROM shards WHERE removed_in_epoch IS NULL ORDER BY number")
            .fetch_all(&mut **transaction)
            .await?;
    let shard = |(number, name, url, weight): (i64, String, String, f64)| {
        Ok(Shard { id: shard_id(number)?, name, url: paths.used(&url), weight })
    };
    rows.into_iter().map(shard).collect()
}

async fn read_keyspace(
    transaction: &mut Tx<'_>,
    name: String,
    key_column: String,
    key_type: KeyType,
) -> Result<Keyspace, CatalogError> {
    let key_columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name, column_name FROM keyspace_key_columns WHERE keyspace = ? ORDER BY table_name",
    )
    .bind(&name)
    .fetch_all(&mut **transaction)
    .await?;
    let shards: Vec<i64> = sqlx::query_scalar("SELECT shard FROM keyspace_shards WHERE keyspace = ? ORDER BY shard")
        .bind(&name)
        .fetch_all(&mut **transaction)
        .await?;
    let shards = shards.into_iter().map(shard_id).collect::<Result<_, _>>()?;
    let ranges: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT first_slot, last_slot, shard FROM slot_owners WHERE keyspace = ? ORDER BY first_slot")
            .bind(&name)
            .fetch_all(&mut **transaction)
            .await?;
    let range = |(first, last, shard): (i64, i64, i64)| {
        let slot = |slot: i64| u16::try_from(slot).map_err(|_| corrupt("slot", slot));
        Ok(SlotRange { first: slot(first)?, last: slot(last)?, owner: shard_id(shard)? })
    };
    let ranges: Vec<SlotRange> = ranges.into_iter().map(range).collect::<Result<_, CatalogError>>()?;
    let owners = SlotRange::owners(&ranges).map_err(|error| CatalogError::Corrupt(error.to_string()))?;
    let (strays, held) = (Vec::new(), SlotSet::default());
    Ok(Keyspace { name, key_column, key_type, key_columns, shards, owners, strays, held })
}

/// Writes a topology into empty tables.
pub(super) async fn write(
    transaction: &mut Tx<'_>,
    topology: &Topology,
    paths: &DataPaths,
) -> Result<(), CatalogError> {
    paths.check_distinct(&topology.shards)?;
    for shard in &topology.shards {
        write_shard(transaction, shard, paths).await?;
    }
    for (position, keyspace) in (0_i64..).zip(&topology.keyspaces) {
        sqlx::query("INSERT INTO keyspaces (name, position, key_column, key_type) VALUES (?, ?, ?, ?)")
            .bind(&keyspace.name)
            .bind(position)
            .bind(&keyspace.key_column)
            .bind(name_of_key_type(keyspace.key_type))
            .execute(&mut **transaction)
            .await?;
        for (table, column) in &keyspace.key_columns {
            sqlx::query("INSERT INTO keyspace_key_columns (keyspace, table_name, column_name) VALUES (?, ?, ?)")
                .bind(&keyspace.name)
                .bind(table)
                .bind(column)
                .execute(&mut **transaction)
                .await?;
        }
        for shard in &keyspace.shards {
            write_membership(transaction, keyspace, *shard).await?;
        }
        write_ranges(transaction, keyspace).await?;
    }
    Ok(())
}

/// Writes the owners of a keyspace's slots in place of those that are there.
pub(super) async fn write_owners(transaction: &mut Tx<'_>, keyspace: &Keyspace) -> Result<(), CatalogError> {
    sqlx::query("DELETE FROM slot_owners WHERE keyspace = ?").bind(&keyspace.name).execute(&mut **transaction).await?;
    write_ranges(transaction, keyspace).await
}

async fn write_ranges(transaction: &mut Tx<'_>, keyspace: &Keyspace) -> Result<(), CatalogError> {
    for range in keyspace.ranges() {
        sqlx::query("INSERT INTO slot_owners (keyspace, first_slot, last_slot, shard) VALUES (?, ?, ?, ?)")
            .bind(&keyspace.name)
            .bind(i64::from(range.first))
            .bind(i64::from(range.last))
            .bind(i64::from(range.owner.0))
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Writes one shard of a topology, and the keyspaces it holds.
pub(super) async fn add_shard(
    transaction: &mut Tx<'_>,
    topology: &Topology,
    number: ShardId,
    paths: &DataPaths,
) -> Result<(), CatalogError> {
    for shard in topology.shards.iter().filter(|shard| shard.id == number) {
        write_shard(transaction, shard, paths).await?;
    }
    for keyspace in topology.keyspaces.iter().filter(|keyspace| keyspace.shards.contains(&number)) {
        write_membership(transaction, keyspace, number).await?;
    }
    Ok(())
}

async fn write_shard(transaction: &mut Tx<'_>, shard: &Shard, paths: &DataPaths) -> Result<(), CatalogError> {
    sqlx::query("INSERT INTO shards (number, name, url, weight) VALUES (?, ?, ?, ?)")
        .bind(i64::from(shard.id.0))
        .bind(&shard.name)
        .bind(paths.stored(&shard.url))
        .bind(shard.weight)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn write_membership(transaction: &mut Tx<'_>, keyspace: &Keyspace, shard: ShardId) -> Result<(), CatalogError> {
    sqlx::query("INSERT INTO keyspace_shards (keyspace, shard) VALUES (?, ?)")
        .bind(&keyspace.name)
        .bind(i64::from(shard.0))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn name_of_key_type(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Bigint => "bigint",
        KeyType::Text => "text",
        KeyType::Uuid => "uuid",
    }
}

fn key_type_named(name: &str) -> Result<KeyType, CatalogError> {
    let known = [KeyType::Bigint, KeyType::Text, KeyType::Uuid];
    known.into_iter().find(|known| name_of_key_type(*known) == name).ok_or_else(|| corrupt("key type", name))
}

fn shard_id(number: i64) -> Result<ShardId, CatalogError> {
    u16::try_from(number).map(ShardId).map_err(|_| corrupt("shard number", number))
}

fn corrupt(what: &str, value: impl std::fmt::Display) -> CatalogError {
    CatalogError::Corrupt(format!("{what} {value}"))
}
