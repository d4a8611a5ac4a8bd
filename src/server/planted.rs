//! What a move does to the topology, where a test plants it without one.
//!
//! `SHARDD_TEST_STRAYS=next`: each shard may hold rows of all slots of the next one. `SHARDD_TEST_HELD=KEYSPACE:SLOTS:FROM:UNTIL[:SHARD]`:
//! between these milliseconds after the start new work on the slots waits; then they are the shard's of this number, if there is one. Only
//! debug builds look for either.

use std::sync::Arc;
use std::time::Duration;

use crate::live_topology::LiveTopology;
use crate::topology::{Keyspace, SlotSet, Strays, Topology};
use crate::types::ShardId;

/// The topology with the strays that the environment asks for.
pub(super) fn with_strays(mut topology: Topology) -> Topology {
    if std::env::var("SHARDD_TEST_STRAYS").is_ok_and(|value| value == "next") {
        for keyspace in &mut topology.keyspaces {
            let shards = keyspace.shards.clone();
            let after = shards.iter().cycle().skip(1);
            let strays = shards.iter().zip(after).filter(|(shard, next)| shard != next);
            let strays =
                strays.map(|(shard, next)| Strays { shard: *shard, slots: keyspace.slots_of(*next) }).collect();
            Arc::make_mut(keyspace).strays = strays;
        }
    }
    topology
}

/// Holds slots, and lets them go, as the environment asks for.
pub(super) fn hold(live: &Arc<LiveTopology>) {
    let Ok(value) = std::env::var("SHARDD_TEST_HELD") else { return };
    let parts: Vec<&str> = value.split(':').collect();
    let [name, slots, from, until, rest @ ..] = parts.as_slice() else { panic!("{value}") };
    let slots: SlotSet = slots.parse().expect("slots");
    let [from, until] = [from, until].map(|at| Duration::from_millis(at.parse().expect("milliseconds")));
    let owner = rest.first().map(|number| ShardId(number.parse().expect("a shard's number")));
    let (live, name) = (Arc::clone(live), (*name).to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(from).await;
        publish(&live, &name, |keyspace| keyspace.held = slots.clone());
        tokio::time::sleep(until.saturating_sub(from)).await;
        publish(&live, &name, |keyspace| {
            keyspace.held = SlotSet::default();
            for slot in slots.iter() {
                keyspace.owners[usize::from(slot.number())] = owner.unwrap_or(keyspace.owner(slot));
            }
        });
    });
}

fn publish(live: &LiveTopology, keyspace: &str, change: impl FnOnce(&mut Keyspace)) {
    let mut topology = Topology::clone(&live.snapshot());
    topology.epoch = topology.epoch.next();
    let named = topology.keyspaces.iter_mut().find(|it| it.name == keyspace);
    change(Arc::make_mut(named.expect("a keyspace of the test")));
    live.publish(topology).expect("a newer epoch");
}
