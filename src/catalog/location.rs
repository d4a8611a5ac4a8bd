//! The URLs of SQLite shards as they are stored: relative to the data directory.
//!
//! A data directory is moved, mounted into a container, restored from a backup. With paths stored as they were given,
//! shardd would then open the old files, or create empty ones and serve them as if they were the shards.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::topology::{Shard, ShardUrl, TopologyError, redacted_url};

/// What stands for the data directory in a stored URL. Other paths are stored absolute, so none can begin like it.
const PLACEHOLDER: &str = "$DATA";

/// Translates between URLs as they are used and as they are stored.
#[derive(Clone, Debug)]
pub(super) struct DataPaths {
    data_dir: PathBuf,
}

impl DataPaths {
    pub(super) fn new(data_dir: &Path) -> DataPaths {
        DataPaths { data_dir: data_dir.to_owned() }
    }

    /// A URL as it is stored.
    pub(super) fn stored(&self, url: &str) -> String {
        let Ok(ShardUrl::Sqlite(path)) = ShardUrl::parse(url) else { return url.to_owned() };
        match plain(&path).strip_prefix(plain(&self.data_dir)) {
            Ok(below) => format!("sqlite:{PLACEHOLDER}/{}", below.display()),
            Err(_) => format!("sqlite:{}", plain(&path).display()),
        }
    }

    /// A stored URL as it is used today.
    pub(super) fn used(&self, stored: &str) -> String {
        match stored.strip_prefix("sqlite:").and_then(|path| path.strip_prefix(PLACEHOLDER)) {
            Some(below) if below.starts_with('/') => {
                format!("sqlite:{}", self.data_dir.join(below.trim_start_matches('/')).display())
            }
            _ => stored.to_owned(),
        }
    }

    /// Two shards in one file would each believe that the other's rows are theirs.
    pub(super) fn check_distinct(&self, shards: &[Shard]) -> Result<(), TopologyError> {
        let mut seen = BTreeMap::new();
        for shard in shards {
            if seen.insert(self.stored(&shard.url), &shard.name).is_some() {
                return Err(TopologyError::DuplicateUrl(redacted_url(&shard.url)));
            }
        }
        Ok(())
    }
}

/// An absolute path without `.` and, as far as the text tells, without `..`.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_below_the_data_directory_moves_with_it() {
        let here = DataPaths::new(Path::new("data"));
        let there = DataPaths::new(Path::new("/mnt/copy"));
        let stored = here.stored("sqlite:data/shard-1.db");
        assert_eq!(stored, "sqlite:$DATA/shard-1.db");
        assert_eq!(here.used(&stored), "sqlite:data/shard-1.db");
        assert_eq!(there.used(&stored), "sqlite:/mnt/copy/shard-1.db");
        let absolute = std::path::absolute("data/deep/../shard-1.db").unwrap();
        assert_eq!(here.stored(&format!("sqlite:{}", absolute.display())), stored);
    }

    #[test]
    fn a_shard_elsewhere_stays_where_it_is() {
        let paths = DataPaths::new(Path::new("data"));
        for url in ["sqlite:/var/lib/shard-1.db", "postgres://app:secret@db/tickets"] {
            assert_eq!(paths.used(&paths.stored(url)), url);
        }
        let sibling = paths.used(&paths.stored("sqlite:data-2/shard-1.db"));
        assert!(sibling.starts_with("sqlite:/") && sibling.ends_with("/data-2/shard-1.db"), "{sibling}");
    }
}
