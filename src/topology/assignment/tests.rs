//! Properties: balance and movement are both optimal, whatever the weights.

use proptest::prelude::*;

use super::*;

fn equal(shards: u16) -> Vec<Weight> {
    (1..=shards).map(|shard| Weight { shard: ShardId(shard), weight: 1.0 }).collect()
}

/// 1 to 64 shards of mixed weights, some of them 0, never all.
fn mixed_weights() -> impl Strategy<Value = Vec<Weight>> {
    let weight = prop_oneof![
        4 => Just(1.0),
        2 => (1_u32..=10).prop_map(f64::from),
        2 => 0.01_f64..100.0,
        1 => Just(0.0),
    ];
    prop::collection::vec(weight, 1..=64)
        .prop_filter("somebody must own slots", |weights| weights.iter().any(|weight| *weight > 0.0))
        .prop_map(|weights| {
            let numbered = (1..).zip(weights);
            numbered.map(|(shard, weight)| Weight { shard: ShardId(shard), weight }).collect()
        })
}

fn assert_balanced(owners: &[ShardId], weights: &[Weight]) {
    let total: f64 = weights.iter().map(|weight| weight.weight).sum();
    let counts = count(owners);
    assert_eq!(counts.values().map(|count| usize::from(*count)).sum::<usize>(), usize::from(SLOTS));
    for weight in weights {
        let share = f64::from(SLOTS) * weight.weight / total;
        let owned = f64::from(counts.get(&weight.shard).copied().unwrap_or(0));
        assert!((owned - share).abs() <= 1.0, "shard {} owns {owned} of a share of {share}", weight.shard);
        assert!(weight.weight > 0.0 || owned == 0.0, "shard {} of weight 0 owns slots", weight.shard);
    }
}

fn apply(owners: &[ShardId], moves: &[Move]) -> Vec<ShardId> {
    let mut owners = owners.to_vec();
    for step in moves {
        let owner = &mut owners[usize::from(step.slot.number())];
        assert_eq!(*owner, step.from, "a slot leaves its owner, once");
        assert_ne!(step.from, step.to);
        *owner = step.to;
    }
    owners
}

/// The least number of moves after which every shard has its share rounded down or up, found without the planner's choices: what
/// shards must give away at least, or what others must receive at least, whichever is more.
fn fewest_moves(owners: &[ShardId], weights: &[Weight]) -> u32 {
    let total: f64 = weights.iter().map(|weight| weight.weight).sum();
    let counts = count(owners);
    let (mut must_give, mut must_receive) = (0, 0);
    for weight in weights {
        let share = f64::from(SLOTS) * weight.weight / total;
        let owned = u32::from(counts.get(&weight.shard).copied().unwrap_or(0));
        must_give += owned.saturating_sub(share.ceil() as u32);
        must_receive += (share.floor() as u32).saturating_sub(owned);
    }
    must_give.max(must_receive)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_new_keyspace_is_balanced_within_one_slot(weights in mixed_weights()) {
        assert_balanced(&assign(&weights).unwrap(), &weights);
    }

    #[test]
    fn any_change_of_weights_moves_the_minimum(before in mixed_weights(), after in mixed_weights()) {
        let owners = assign(&before).unwrap();
        let mut after = after;
        // Shards that are gone have weight 0.
        let next = after.len() as u16 + 1;
        after.extend((next..=before.len() as u16).map(|shard| Weight { shard: ShardId(shard), weight: 0.0 }));
        let moves = rebalance(&owners, &after).unwrap();
        assert_balanced(&apply(&owners, &moves), &after);
        prop_assert_eq!(moves.len() as u32, fewest_moves(&owners, &after));
        let givers: std::collections::BTreeSet<ShardId> = moves.iter().map(|step| step.from).collect();
        prop_assert!(moves.iter().all(|step| !givers.contains(&step.to)), "nobody both gives and receives");
    }

    #[test]
    fn a_new_shard_receives_its_share_and_nobody_else_anything(weights in mixed_weights(), weight in 0.01_f64..100.0) {
        let owners = assign(&weights).unwrap();
        let newcomer = ShardId(weights.len() as u16 + 1);
        let mut after = weights.clone();
        after.push(Weight { shard: newcomer, weight });
        let moves = rebalance(&owners, &after).unwrap();
        let fewest = fewest_moves(&owners, &after);
        prop_assert_eq!(moves.len() as u32, fewest);
        // Rounding alone can make another shard due for a slot that the newcomer has no right to.
        let due = apply(&owners, &moves).iter().filter(|owner| **owner == newcomer).count() as u32;
        let elsewhere = moves.iter().filter(|step| step.to != newcomer).count() as u32;
        prop_assert_eq!(elsewhere, fewest - due);
        let total: f64 = after.iter().map(|weight| weight.weight).sum();
        prop_assert!(elsewhere == 0 || f64::from(due) + 1.0 > f64::from(SLOTS) * weight / total);
        assert_balanced(&apply(&owners, &moves), &after);
    }

    #[test]
    fn a_removed_shard_gives_everything_and_nobody_else_anything(weights in mixed_weights(), which in any::<prop::sample::Index>()) {
        let removed = which.index(weights.len());
        let mut after = weights.clone();
        after[removed].weight = 0.0;
        prop_assume!(after.iter().any(|weight| weight.weight > 0.0));
        let owners = assign(&weights).unwrap();
        let moves = rebalance(&owners, &after).unwrap();
        let owned = u32::from(count(&owners).get(&weights[removed].shard).copied().unwrap_or(0));
        let elsewhere = moves.iter().filter(|step| step.from != weights[removed].shard).count() as u32;
        // Rounding alone can make another shard due for more than the removed one has to give.
        prop_assert_eq!(elsewhere, fewest_moves(&owners, &after) - owned);
        prop_assert_eq!(moves.len() as u32, elsewhere + owned);
        assert_balanced(&apply(&owners, &moves), &after);
    }

    #[test]
    fn with_equal_weights_only_the_shard_that_comes_or_goes_takes_part(shards in 1_u16..=64) {
        let owners = assign(&equal(shards)).unwrap();
        let moves = rebalance(&owners, &equal(shards + 1)).unwrap();
        prop_assert!(moves.iter().all(|step| step.to == ShardId(shards + 1)));
        prop_assert_eq!(moves.len(), usize::from(SLOTS / (shards + 1)));
        let grown = apply(&owners, &moves);
        let back = rebalance(&grown, &equal(shards)).unwrap();
        prop_assert!(back.iter().all(|step| step.from == ShardId(shards + 1)));
        prop_assert_eq!(back.len(), moves.len());
    }

    #[test]
    fn a_balanced_keyspace_stays_as_it_is(weights in mixed_weights()) {
        let owners = assign(&weights).unwrap();
        prop_assert_eq!(rebalance(&owners, &weights).unwrap(), vec![]);
    }

    #[test]
    fn the_order_in_which_shards_are_listed_means_nothing(weights in mixed_weights()) {
        let mut reversed = weights.clone();
        reversed.reverse();
        prop_assert_eq!(assign(&weights).unwrap(), assign(&reversed).unwrap());
    }
}

#[test]
fn among_equals_the_slot_whose_ring_owner_is_the_receiver_moves() {
    let owners = assign(&equal(4)).unwrap();
    let weights = equal(5);
    let moves = rebalance(&owners, &weights).unwrap();
    let ring = Ring::new(&weights);
    let as_proposed = moves.iter().filter(|step| ring.owner(step.slot) == Some(step.to)).count();
    let proposed = Slot::all().filter(|slot| ring.owner(*slot) == Some(ShardId(5))).count();
    assert!(as_proposed * 10 > moves.len().min(proposed) * 8, "{as_proposed} of {} moves", moves.len());
}

#[test]
fn most_slots_of_a_new_keyspace_lie_where_the_ring_proposes() {
    let weights = equal(4);
    let ring = Ring::new(&weights);
    let owners = assign(&weights).unwrap();
    let as_proposed = Slot::all().filter(|slot| ring.owner(*slot) == Some(owners[usize::from(slot.number())])).count();
    assert!(as_proposed > 13_000, "{as_proposed}");
}

#[test]
fn weights_that_mean_nothing_are_refused() {
    for bad in [f64::NAN, -1.0, f64::INFINITY, 100.1] {
        let weights = [Weight { shard: ShardId(1), weight: bad }];
        assert!(matches!(assign(&weights), Err(TopologyError::Weight { .. })), "{bad}");
    }
    assert_eq!(assign(&[]), Err(TopologyError::NoWeight));
    assert_eq!(assign(&[Weight { shard: ShardId(1), weight: 0.0 }]), Err(TopologyError::NoWeight));
    let twice = [Weight { shard: ShardId(1), weight: 1.0 }; 2];
    assert!(matches!(assign(&twice), Err(TopologyError::DuplicateShard(_))));
    assert_eq!(rebalance(&[ShardId(1)], &equal(1)), Err(TopologyError::SlotCount(1)));
}
