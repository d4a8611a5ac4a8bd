//! The name of a commit over several Postgres shards: `shardd:<cluster>:<deciding shard's number>:<128 random bits>`.
//!
//! Nothing in it belongs to a process, so that whoever finds it knows where the decision is. On each shard the transaction is prepared under
//! this name and the shard's own number, since a server may have several shards' databases, and one name only once.

use std::fmt::{self, Display};

use crate::types::ShardId;

/// The name of one commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gid {
    cluster: String,
    pub(super) decider: ShardId,
    random: u128,
}

impl Gid {
    pub(super) fn new(cluster: &str, decider: ShardId, random: u128) -> Gid {
        Gid { cluster: cluster.to_owned(), decider, random }
    }

    /// What all of a cluster's begin with.
    pub(super) fn of_cluster(cluster: &str) -> String {
        format!("shardd:{cluster}:")
    }

    /// What a shard's transaction is prepared as.
    pub(super) fn on(&self, shard: ShardId) -> String {
        format!("{self}:{shard}")
    }

    /// The commit that a prepared transaction belongs to; `None`: it is not of this cluster.
    pub(super) fn of_prepared(name: &str, cluster: &str) -> Option<Gid> {
        let (commit, shard) = name.strip_prefix(&Gid::of_cluster(cluster))?.rsplit_once(':')?;
        shard.parse::<u16>().ok()?;
        let (decider, random) = commit.split_once(':')?;
        let decider = ShardId(decider.parse().ok()?);
        let gid = Gid::new(cluster, decider, u128::from_str_radix(random, 16).ok()?);
        // Whatever is printed in another way is another name.
        (gid.on(ShardId(shard.parse().ok()?)) == name).then_some(gid)
    }
}

impl Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardd:{}:{}:{:032x}", self.cluster, self.decider, self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_transaction_tells_its_commit() {
        let gid = Gid::new("0f3c", ShardId(7), 1 << 100);
        assert_eq!(gid.to_string(), "shardd:0f3c:7:00000010000000000000000000000000");
        assert_eq!(Gid::of_prepared(&gid.on(ShardId(2)), "0f3c"), Some(gid.clone()));
        assert!(gid.on(ShardId(1024)).len() < 200, "Postgres takes no longer ones");
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in [
            "",
            "shardd:0f3c:7:00000010000000000000000000000000",
            "shardd:other:7:00000010000000000000000000000000:2",
            "shardd:0f3c:7:10000000000000000000000000:2",
            "shardd:0f3c:7:00000010000000000000000000000000:x",
            "shardd:0f3c:x:00000010000000000000000000000000:2",
        ] {
            assert_eq!(Gid::of_prepared(name, "0f3c"), None, "{name}");
        }
    }
}
