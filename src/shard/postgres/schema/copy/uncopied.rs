//! What a schema has that is not copied.

use super::super::{TextRow, strange};
use crate::error::{Error, Fault, Result, SqlState};

/// How many are named.
const MAX_NAMED: usize = 8;

/// What is there and not copied, and what has to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uncopied {
    /// Statements may depend on it.
    refused: Vec<String>,
    /// It does no harm to statements.
    left_out: Vec<String>,
    /// (a role, a policy that is for it)
    roles: Vec<(String, String)>,
}

impl Uncopied {
    /// # Errors
    /// 08P01: the rows are not those of the query.
    pub fn read(shard: &str, rows: &[TextRow]) -> Result<Uncopied> {
        let mut found = Uncopied::default();
        for row in rows {
            let [Some(what), _, Some(role), Some(label), _] = row.as_slice() else {
                return Err(strange(shard, format_args!("an object without a name: {row:?}")));
            };
            match what.as_str() {
                "refuse" => found.refused.push(label.clone()),
                "warn" => found.left_out.push(label.clone()),
                _ => found.roles.push((role.clone(), label.clone())),
            }
        }
        found.refused.sort();
        found.left_out.sort();
        Ok(found)
    }

    /// `roles`: those of the new shard's server.
    ///
    /// # Errors
    /// 0A000: something cannot be copied. 55000: a policy is for a role that is not there.
    pub fn refuse(&self, source: &str, new: &str, roles: &[String]) -> Result<()> {
        if !self.refused.is_empty() {
            return Err(Error::unsupported(
                format!("copying {} from shard \"{source}\"", listed(&self.refused)),
                "Make the tables on the new server first, by the migrations that made the others' or with pg_dump \
                 --schema-only, and add it then. Nothing was added.",
            ));
        }
        let missing = self.roles.iter().find(|(role, _)| !roles.contains(role));
        missing.map_or(Ok(()), |(role, policy)| {
            let message =
                format!("there is no role \"{role}\" on the server of shard \"{new}\", which {policy} is for");
            Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("Make the role there (CREATE ROLE), and run the command again. Nothing was added.")
                .fault(Fault::Shard))
        })
    }

    /// For people.
    pub fn warning(&self, source: &str) -> Option<String> {
        (!self.left_out.is_empty()).then(|| format!("not copied from {source}: {}", listed(&self.left_out)))
    }
}

fn listed(all: &[String]) -> String {
    let more = all.len().saturating_sub(MAX_NAMED);
    let mut listed = all[..all.len() - more].join(", ");
    if more > 0 {
        listed.push_str(&format!(", and {more} more"));
    }
    listed
}
