//! What the moves that have not ended mean for statements. Nothing of it is stored: it follows from the stages.

use std::sync::Arc;

use crate::catalog::{MoveStage, RecordedMove};
use crate::topology::{Strays, Topology};
use crate::types::ShardId;

/// The topology with the strays of these moves, and held slots where a crash may have interrupted a cutover.
#[must_use]
pub fn with_moves(topology: Topology, moves: &[RecordedMove]) -> Topology {
    let interrupted =
        moves.iter().find(|moved| moved.stage == MoveStage::CutOver && moved.attempt > 0).map(|moved| moved.id);
    derive(topology, moves, interrupted)
}

/// The same, with the slots of one move held.
pub(super) fn derive(mut topology: Topology, moves: &[RecordedMove], held: Option<i64>) -> Topology {
    for keyspace in &mut topology.keyspaces {
        let own = || moves.iter().filter(|moved| moved.keyspace == keyspace.name);
        let strays: Vec<Strays> =
            own().filter_map(|moved| Some(Strays { shard: stray_on(moved)?, slots: moved.slots.clone() })).collect();
        let held = own().find(|moved| Some(moved.id) == held).map(|moved| moved.slots.clone()).unwrap_or_default();
        if keyspace.strays != strays || keyspace.held != held {
            let keyspace = Arc::make_mut(keyspace);
            (keyspace.strays, keyspace.held) = (strays, held);
        }
    }
    topology
}

/// The shard that may have rows of the moving slots beside their owner.
fn stray_on(moved: &RecordedMove) -> Option<ShardId> {
    match moved.stage {
        MoveStage::Prepare | MoveStage::Done | MoveStage::Cancelled => None,
        MoveStage::Copy | MoveStage::CatchUp | MoveStage::Verify | MoveStage::CutOver | MoveStage::Undo => {
            Some(moved.to)
        }
        MoveStage::CleanUp => Some(moved.from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Asked;
    use crate::topology::Keyspace;
    use crate::topology::Shard;
    use crate::types::{Epoch, KeyType};

    fn moved(stage: MoveStage, attempt: u32) -> RecordedMove {
        RecordedMove {
            id: 7,
            keyspace: "tickets".into(),
            from: ShardId(1),
            to: ShardId(2),
            slots: "0-9".parse().unwrap(),
            stage,
            attempt,
            asked: Asked::GoOn,
            reason: None,
            rows_copied: 0,
            bytes_copied: 0,
            started_us: 0,
            changed_us: 0,
            epoch: None,
        }
    }

    fn topology() -> Topology {
        let shard =
            |number| Shard { id: ShardId(number), name: number.to_string(), url: "sqlite:a.db".into(), weight: 1.0 };
        let keyspace = Keyspace::create("tickets", "event_id", KeyType::Bigint, &[shard(1), shard(2)]).unwrap();
        Topology { epoch: Epoch(3), shards: Vec::new(), keyspaces: vec![Arc::new(keyspace)], schema: Arc::default() }
    }

    #[test]
    fn copies_are_strays_until_the_slots_have_changed_hands_and_the_originals_afterwards() {
        for (stage, shard) in [
            (MoveStage::Prepare, None),
            (MoveStage::Copy, Some(2)),
            (MoveStage::CutOver, Some(2)),
            (MoveStage::CleanUp, Some(1)),
            (MoveStage::Undo, Some(2)),
            (MoveStage::Done, None),
        ] {
            let derived = with_moves(topology(), &[moved(stage, 0)]);
            let shards: Vec<u16> = derived.keyspaces[0].strays.iter().map(|strays| strays.shard.0).collect();
            assert_eq!(shards, Vec::from_iter(shard), "{stage:?}");
            assert!(derived.keyspaces[0].held.is_empty());
        }
    }

    #[test]
    fn slots_are_held_at_the_start_where_nobody_knows_what_has_become_of_a_cutover() {
        let derived = with_moves(topology(), &[moved(MoveStage::CutOver, 1)]);
        assert_eq!(derived.keyspaces[0].held.to_string(), "0-9");
        assert!(derive(derived, &[moved(MoveStage::CutOver, 1)], None).keyspaces[0].held.is_empty());
    }
}
