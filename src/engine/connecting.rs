//! What drivers and ORMs ask of a Postgres shard at every connect, before they know a key: `version()`, `current_schema()`.
//!
//! It is answered here where that is certainly what every shard would say, so that a connect takes no connection to a shard;
//! otherwise a shard is asked. SHOW and `current_setting` are settings (`settings`), and what is cleaned up between two
//! uses of a connection (`DISCARD ALL`) is the session's own (`local`).

use std::sync::Arc;

use super::servers::WHEREABOUTS;
use super::session::{Execution, Session};
use crate::error::Result;
use crate::shard::ShardKind;
use crate::shard::sqlite::{self, Environment, EnvironmentValue, Whereabouts};
use crate::sql::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, SetExpr, Statement,
};
use crate::sql::{fold, function_name};

/// Whether a statement is nothing but `SELECT version(), current_schema(), ...`: no operator, cast or clause in it could mean
/// anything else on a server than here.
pub(super) fn asks_of_server_only(statement: &Statement) -> bool {
    let Statement::Query(query) = statement else { return false };
    let SetExpr::Select(select) = &*query.body else { return false };
    let asks = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
            is_asked(expression)
        }
        _ => false,
    };
    let items: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
    !items.is_empty()
        && select.projection.iter().all(asks)
        && statement.to_string() == format!("SELECT {}", items.join(", "))
}

fn is_asked(expression: &Expr) -> bool {
    match expression {
        Expr::Identifier(name) => name.quote_style.is_none() && fold(name) == "current_schema",
        Expr::Function(call) => {
            let name = function_name(&call.name);
            name.is_some_and(|name| matches!(&*name, "version" | "current_schema" | "current_schemas"))
                && is_plain(call)
        }
        _ => false,
    }
}

/// A call with values or without arguments.
fn is_plain(call: &Function) -> bool {
    let is_value =
        |argument: &FunctionArg| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(_))));
    match &call.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.clauses.is_empty() && list.args.iter().all(is_value),
        FunctionArguments::Subquery(_) => false,
    }
}

impl Session {
    /// Learns what a statement asks of the server, where it asks and that is not known for certain.
    ///
    /// # Errors
    /// A shard has to be asked, and cannot be.
    pub(super) async fn look_around(&mut self, program: &sqlite::Program, execution: &Execution) -> Result<()> {
        let asks = |values: &[EnvironmentValue]| values.iter().any(|value| program.environment.contains(value));
        let schema = asks(&[EnvironmentValue::Schema, EnvironmentValue::Schemas, EnvironmentValue::AllSchemas]);
        if self.engine.kind == ShardKind::Sqlite || !(schema || asks(&[EnvironmentValue::Version])) {
            return Ok(());
        }
        let known = self.engine.servers.known().whereabouts.clone();
        let known = if schema { known.and_then(|known| self.own_whereabouts(known)) } else { known };
        let whereabouts = match known {
            Some(known) => known,
            None => {
                self.engine.refresh_servers();
                Arc::new(Whereabouts::read(self.ask_rows(WHEREABOUTS).await?)?)
            }
        };
        let environment = Environment { whereabouts, ..(*self.environment()).clone() };
        let _ = execution.environment.set(Arc::new(environment));
        Ok(())
    }

    /// What a shard would say to this session, by what it says to a fresh one; `None` where only the shard can tell.
    fn own_whereabouts(&self, fresh: Arc<Whereabouts>) -> Option<Arc<Whereabouts>> {
        // A function may have set it for the transaction, whose shard is at hand.
        let on_shard = self.transaction.as_ref().is_some_and(|transaction| !transaction.participants.is_empty());
        let as_somebody_else = ["role", "session_authorization"].iter().any(|name| self.settings.own(name).is_some());
        // It may have a schema of its own there, for temporary tables.
        let keeps = self.kept.is_some();
        if on_shard || as_somebody_else || keeps || self.engine.servers.known().is_old() {
            return None;
        }
        match self.settings.own("search_path") {
            None => Some(fresh),
            Some(path) if path.value() == "public" && fresh.schemas.contains(r#""public""#) => {
                let Whereabouts { schema, schemas, all_schemas, .. } = &*Whereabouts::own();
                let (schema, schemas, all_schemas) = (schema.clone(), schemas.clone(), all_schemas.clone());
                Some(Arc::new(Whereabouts { version: fresh.version.clone(), schema, schemas, all_schemas }))
            }
            Some(_) => None,
        }
    }
}
