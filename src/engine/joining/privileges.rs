//! Owners and privileges of what was copied, where the roles are there.

use std::collections::BTreeSet;

use super::Joining;
use super::making::Offered;
use crate::error::Result;
use crate::shard::postgres::PostgresTransaction;
use crate::shard::postgres::schema::copy::{self, Privilege, Privileges};

const SAVEPOINT: &str = "shardd_privileges";

impl Joining<'_> {
    /// What cannot be given is told, and does not keep the shard from joining: rows are read and written by shardd's own role.
    pub(super) async fn grant(
        &self,
        filling: &mut PostgresTransaction,
        privileges: &Privileges,
        offered: &Offered,
    ) -> Result<Vec<String>> {
        let name = self.shard.name();
        let has = Privileges::read(name, &filling.rows_here(&copy::privileges_query()).await?)?;
        let (mut missing, mut warnings) = (BTreeSet::new(), Vec::new());
        for (label, wanted) in privileges.lacking(&has) {
            let mut statements = Vec::new();
            for Privilege { role, statement } in wanted {
                let is_owner = statement.starts_with("ALTER ");
                if role.is_empty() || offered.has(role, is_owner) {
                    statements.push(statement.clone());
                } else {
                    missing.insert(role.as_str());
                }
            }
            if statements.is_empty() {
                continue;
            }
            filling.savepoint(SAVEPOINT).await?;
            if let Err(error) = filling.run_batch(&statements).await {
                filling.rollback_to(SAVEPOINT).await?;
                warnings.push(format!("the privileges of {label} were not copied: {}", error.message()));
            }
            filling.release(SAVEPOINT).await?;
        }
        for role in missing {
            warnings.push(format!(
                "what the role {role} owns or may do was not copied to {name}: it is not there, or shardd's role is no member of it"
            ));
        }
        Ok(warnings)
    }
}
