//! Making topologies: the first one, the next one, and the checks that every one passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assignment::{Weight, assign, count};
use super::shard_url::{ShardUrl, redacted_url};
use super::{KV_KEYSPACE, KV_TABLES, Keyspace, Schema, Shard, SlotSet, Topology, TopologyError};
use crate::types::{Epoch, KeyType, SLOTS, ShardId, Slot};

/// A shard that is to be: it has no number yet.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardSpec {
    pub name: String,
    pub url: ShardUrl,
    /// Its share of the slots, relative to the other shards'. From 0 (none) to [`super::WEIGHT_MAX`].
    pub weight: f64,
}

/// A keyspace that is to be: its slots have no owners yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceSpec {
    pub name: String,
    pub key_column: String,
    pub key_type: KeyType,
    /// Tables whose key column has another name: (table, column).
    pub key_columns: Vec<(String, String)>,
    /// Names of the shards that hold it; empty for all.
    pub shards: Vec<String>,
}

impl ShardSpec {
    /// The shard with its number for life.
    pub fn numbered(&self, id: ShardId) -> Shard {
        Shard { id, name: self.name.clone(), url: self.url.to_text(), weight: self.weight }
    }
}

impl Topology {
    /// Epoch 1: shards numbered from 1, and every keyspace's slots assigned by their weights. The HTTP door's keyspace is
    /// added to those given. It has no tables.
    ///
    /// # Errors
    /// As [`Topology::validated`]; also when a keyspace names a shard that does not exist.
    pub fn first(shards: &[ShardSpec], keyspaces: &[KeyspaceSpec]) -> Result<Topology, TopologyError> {
        let shards: Vec<Shard> = (1..=u16::MAX).map(ShardId).zip(shards).map(|(id, spec)| spec.numbered(id)).collect();
        check_shards(&shards)?;
        let keyspaces = keyspaces.iter().map(|spec| first_keyspace(spec, &shards).map(Arc::new));
        let mut keyspaces: Vec<Arc<Keyspace>> = keyspaces.collect::<Result<_, _>>()?;
        keyspaces.push(Arc::new(Keyspace::create_kv(&shards)?));
        Topology::validated(Epoch(1), shards, keyspaces, Arc::default())
    }

    /// A topology that holds what this module promises.
    ///
    /// # Errors
    /// A name, number or URL is used twice, a number or weight is out of range, or a slot belongs to no shard of its
    /// keyspace.
    pub fn validated(
        epoch: Epoch,
        shards: Vec<Shard>,
        keyspaces: Vec<Arc<Keyspace>>,
        schema: Arc<Schema>,
    ) -> Result<Topology, TopologyError> {
        check_shards(&shards)?;
        let mut names = BTreeSet::new();
        for keyspace in &keyspaces {
            if !names.insert(&keyspace.name) {
                return Err(TopologyError::DuplicateKeyspace(keyspace.name.clone()));
            }
            check_keyspace(keyspace, &shards)?;
        }
        Ok(Topology { epoch, shards, keyspaces, schema })
    }

    /// The next epoch, with one more shard. It joins the named keyspaces (all, when none is named) and owns no slot yet.
    ///
    /// # Errors
    /// The shard's name, number or URL is taken, its number or weight is out of range, or a keyspace does not exist.
    pub fn with_shard(&self, shard: Shard, keyspaces: &[String]) -> Result<Topology, TopologyError> {
        if let Some(unknown) = keyspaces.iter().find(|name| self.keyspace(name).is_none()) {
            return Err(TopologyError::UnknownKeyspace(unknown.clone()));
        }
        let joins = |keyspace: &Keyspace| keyspaces.is_empty() || keyspaces.contains(&keyspace.name);
        let extended = self.keyspaces.iter().map(|keyspace| {
            let mut keyspace = Arc::clone(keyspace);
            if joins(&keyspace) {
                Arc::make_mut(&mut keyspace).shards.push(shard.id);
            }
            keyspace
        });
        let extended = extended.collect();
        let mut shards = self.shards.clone();
        shards.push(shard);
        Topology::validated(self.epoch.next(), shards, extended, Arc::clone(&self.schema))
    }

    /// The next epoch, with another weight for a shard. No slot moves by that.
    ///
    /// # Errors
    /// The weight is out of range, or there is no such shard.
    pub fn with_weight(&self, id: ShardId, weight: f64) -> Result<Topology, TopologyError> {
        let mut shards = self.shards.clone();
        match shards.iter_mut().find(|shard| shard.id == id) {
            Some(shard) => shard.weight = weight,
            None => return Err(TopologyError::ShardNumber(id.0)),
        }
        Topology::validated(self.epoch.next(), shards, self.keyspaces.clone(), Arc::clone(&self.schema))
    }

    /// The weights of a keyspace's shards, as `assign` and `rebalance` take them.
    pub fn weights(&self, keyspace: &Keyspace) -> Vec<Weight> {
        weights_of(&keyspace.shards, &self.shards)
    }

    /// How many slots of all keyspaces each shard owns, 0 included.
    pub fn slot_counts(&self) -> BTreeMap<ShardId, usize> {
        let mut counts: BTreeMap<ShardId, usize> = self.shards.iter().map(|shard| (shard.id, 0)).collect();
        for (shard, slots) in self.keyspaces.iter().flat_map(|keyspace| keyspace.slot_counts()) {
            *counts.entry(shard).or_insert(0) += usize::from(slots);
        }
        counts
    }
}

impl Keyspace {
    /// The keyspace of the HTTP door's entries: only [`KV_TABLES`] belong to it, by their column `key`. Its own key column
    /// has the empty name, which no column can have, so that a user's column called `key` shards nothing.
    ///
    /// # Errors
    /// As [`Keyspace::create`].
    pub fn create_kv(shards: &[Shard]) -> Result<Keyspace, TopologyError> {
        let mut keyspace = Keyspace::create(KV_KEYSPACE, "", KeyType::Text, shards)?;
        keyspace.key_columns = KV_TABLES.map(|table| (table.to_owned(), "key".to_owned())).to_vec();
        Ok(keyspace)
    }

    /// A new keyspace on these shards, its slots assigned by their weights.
    ///
    /// # Errors
    /// No shard has a weight above 0, or a weight is out of range.
    pub fn create(
        name: impl Into<String>,
        key_column: impl Into<String>,
        key_type: KeyType,
        shards: &[Shard],
    ) -> Result<Keyspace, TopologyError> {
        let ids: Vec<ShardId> = shards.iter().map(|shard| shard.id).collect();
        let owners = assign(&weights_of(&ids, shards))?;
        let (name, key_column) = (name.into(), key_column.into());
        let (key_columns, strays, held) = (Vec::new(), Vec::new(), SlotSet::default());
        Ok(Keyspace { name, key_column, key_type, key_columns, shards: ids, owners, strays, held })
    }

    /// How many slots each shard of the keyspace owns, 0 included.
    pub fn slot_counts(&self) -> BTreeMap<ShardId, u16> {
        let mut counts = count(&self.owners);
        for shard in &self.shards {
            counts.entry(*shard).or_insert(0);
        }
        counts
    }

    /// The shards that own at least one slot, in order of numbers: where rows can be.
    pub fn owning_shards(&self) -> Vec<ShardId> {
        count(&self.owners).into_keys().collect()
    }
}

fn first_keyspace(spec: &KeyspaceSpec, shards: &[Shard]) -> Result<Keyspace, TopologyError> {
    if let Some(unknown) = spec.shards.iter().find(|name| !shards.iter().any(|shard| shard.name == **name)) {
        return Err(TopologyError::UnknownShard { keyspace: spec.name.clone(), shard: format!("\"{unknown}\"") });
    }
    let holds = |shard: &&Shard| spec.shards.is_empty() || spec.shards.contains(&shard.name);
    let shards: Vec<Shard> = shards.iter().filter(holds).cloned().collect();
    let keyspace = Keyspace::create(&spec.name, &spec.key_column, spec.key_type, &shards)?;
    Ok(Keyspace { key_columns: spec.key_columns.clone(), ..keyspace })
}

fn weights_of(ids: &[ShardId], shards: &[Shard]) -> Vec<Weight> {
    let known = shards.iter().filter(|shard| ids.contains(&shard.id));
    known.map(|shard| Weight { shard: shard.id, weight: shard.weight }).collect()
}

fn check_shards(shards: &[Shard]) -> Result<(), TopologyError> {
    let (mut ids, mut names, mut urls) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for shard in shards {
        if !(1..=super::SHARD_NUMBER_MAX).contains(&shard.id.0) {
            return Err(TopologyError::ShardNumber(shard.id.0));
        }
        if !(0.0..=super::WEIGHT_MAX).contains(&shard.weight) {
            return Err(TopologyError::Weight { shard: format!("\"{}\"", shard.name), weight: shard.weight });
        }
        if !ids.insert(shard.id) || !names.insert(&shard.name) {
            return Err(TopologyError::DuplicateShard(format!("\"{}\" (number {})", shard.name, shard.id)));
        }
        let refuse = |error| TopologyError::Url { shard: shard.name.clone(), error };
        let url = ShardUrl::parse(&shard.url).map_err(refuse)?.to_text();
        if !urls.insert(url) {
            return Err(TopologyError::DuplicateUrl(redacted_url(&shard.url)));
        }
    }
    Ok(())
}

fn check_keyspace(keyspace: &Keyspace, shards: &[Shard]) -> Result<(), TopologyError> {
    let mut seen = BTreeSet::new();
    for id in &keyspace.shards {
        if !seen.insert(*id) {
            return Err(TopologyError::DuplicateShard(id.to_string()));
        }
        if !shards.iter().any(|shard| shard.id == *id) {
            return Err(TopologyError::UnknownShard { keyspace: keyspace.name.clone(), shard: id.to_string() });
        }
    }
    if keyspace.owners.len() != usize::from(SLOTS) {
        return Err(TopologyError::SlotCount(keyspace.owners.len()));
    }
    let strange = Slot::all().find(|slot| !seen.contains(&keyspace.owner(*slot)));
    strange.map_or(Ok(()), |slot| {
        Err(TopologyError::StrangeOwner { keyspace: keyspace.name.clone(), slot, shard: keyspace.owner(slot) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u16) -> Shard {
        Shard { id: ShardId(number), name: format!("shard-{number}"), url: format!("sqlite:{number}.db"), weight: 1.0 }
    }

    fn topology(shards: u16) -> Topology {
        let shards: Vec<Shard> = (1..=shards).map(shard).collect();
        let keyspace = Keyspace::create("tickets", "event_id", KeyType::Bigint, &shards).unwrap();
        Topology::validated(Epoch(7), shards, vec![Arc::new(keyspace)], Arc::default()).unwrap()
    }

    #[test]
    fn a_shard_joins_without_slots_in_the_next_epoch() {
        let before = topology(4);
        let after = before.with_shard(shard(5), &[]).unwrap();
        assert_eq!(after.epoch, Epoch(8));
        assert_eq!(after.slot_counts().into_values().collect::<Vec<_>>(), [4096, 4096, 4096, 4096, 0]);
        assert_eq!(after.keyspaces[0].slot_counts()[&ShardId(5)], 0);
        assert_eq!(after.keyspaces[0].owning_shards().len(), 4);
        assert_eq!(after.keyspaces[0].owners, before.keyspaces[0].owners);
        assert_eq!(after.weights(&after.keyspaces[0]).len(), 5);
        assert_eq!(before.shards.len(), 4, "the old epoch is as it was");
    }

    #[test]
    fn a_shard_with_a_taken_name_number_or_url_is_refused() {
        let topology = topology(2);
        let refused = |change: fn(&mut Shard)| {
            let mut newcomer = shard(3);
            change(&mut newcomer);
            topology.with_shard(newcomer, &[]).unwrap_err()
        };
        assert!(matches!(refused(|shard| shard.name = "shard-1".into()), TopologyError::DuplicateShard(_)));
        assert!(matches!(refused(|shard| shard.id = ShardId(2)), TopologyError::DuplicateShard(_)));
        assert!(matches!(refused(|shard| shard.url = "sqlite:1.db".into()), TopologyError::DuplicateUrl(_)));
        assert!(matches!(refused(|shard| shard.id = ShardId(0)), TopologyError::ShardNumber(0)));
        assert!(matches!(refused(|shard| shard.id = ShardId(1_025)), TopologyError::ShardNumber(1_025)));
        assert!(matches!(refused(|shard| shard.weight = -1.0), TopologyError::Weight { .. }));
        let unknown = topology.with_shard(shard(3), &["nowhere".into()]).unwrap_err();
        assert_eq!(unknown, TopologyError::UnknownKeyspace("nowhere".into()));
    }

    #[test]
    fn only_the_http_doors_tables_belong_to_its_keyspace() {
        let keyspace = Keyspace::create_kv(&[shard(1)]).unwrap();
        assert_eq!(keyspace.key_column_of("shardd_kv"), "key");
        assert_eq!(keyspace.key_column_of("settings"), "");
    }

    #[test]
    fn a_slot_whose_owner_is_elsewhere_is_refused() {
        let mut topology = topology(2);
        Arc::make_mut(&mut topology.keyspaces[0]).owners[9] = ShardId(3);
        let error =
            Topology::validated(topology.epoch, topology.shards, topology.keyspaces, topology.schema).unwrap_err();
        assert!(matches!(error, TopologyError::StrangeOwner { shard: ShardId(3), .. }), "{error}");
    }
}
