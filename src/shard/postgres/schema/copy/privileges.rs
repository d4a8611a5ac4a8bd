//! Who may do what with the objects of a schema, and who owns them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{TextRow, strange};
use crate::error::Result;

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Privilege {
    /// The role that it names, in quotes where SQL needs them; empty: none that may be missing.
    pub role: String,
    pub statement: String,
}

/// The statements for each object, in their order, by what they are for: `table public.orders`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges(BTreeMap<String, Vec<Privilege>>);

impl Privileges {
    /// # Errors
    /// 08P01: the rows are not those of the query.
    pub fn read(shard: &str, rows: &[TextRow]) -> Result<Privileges> {
        let mut all = Privileges::default();
        for row in rows {
            let [_, _, Some(role), Some(label), Some(statement)] = row.as_slice() else {
                return Err(strange(shard, format_args!("a privilege without a statement: {row:?}")));
            };
            let privilege = Privilege { role: role.clone(), statement: statement.clone() };
            all.0.entry(label.clone()).or_default().push(privilege);
        }
        Ok(all)
    }

    /// Those of the objects that have others on a copy.
    pub fn lacking<'p>(&'p self, copy: &Privileges) -> impl Iterator<Item = (&'p str, &'p [Privilege])> {
        let differ: Vec<_> = self.0.iter().filter(|(label, own)| copy.0.get(*label) != Some(*own)).collect();
        differ.into_iter().map(|(label, own)| (label.as_str(), own.as_slice()))
    }

    /// The roles that are named.
    pub fn roles(&self) -> BTreeSet<&str> {
        let named = self.0.values().flatten().map(|privilege| privilege.role.as_str());
        named.filter(|role| !role.is_empty()).collect()
    }
}
