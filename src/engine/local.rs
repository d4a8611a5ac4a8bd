//! Statements that the session answers itself: transaction control, settings, prepared statements, EXPLAIN.

use std::sync::Arc;

use super::answer::{Answer, RowBatch, Rows, TagCount};
use super::by_key::KEY;
use super::session::{Execution, Scope, Session};
use super::settings::{Settings, show_isolation};
use super::statement::Prepared;
use super::transaction::{Opened, Transaction};
use crate::error::{Error, Result, SqlState};
use crate::metrics::PinReason;
use crate::plan::{Discard, Isolation, Local, Plan};
use crate::shard::postgres::Told;
use crate::shard::sqlite::dialect;
use crate::shard::{OutputColumn, ShardKind};
use crate::sql::{self, SettingCall, ast};
use crate::types::PgType;

/// A text column that comes from no table.
pub(super) fn text_column(name: &str) -> OutputColumn {
    OutputColumn {
        name: name.to_owned(),
        data_type: PgType::Text,
        modifier: -1,
        table_oid: 0,
        attribute: 0,
        foreign: None,
    }
}

/// The types of its placeholders and its columns (`None` when it returns no rows), for a statement that needs no shard.
pub(super) fn describe(plan: &Plan, placeholders: usize) -> (Vec<PgType>, Option<Arc<[OutputColumn]>>) {
    let Plan::Local(local) = plan else { return (vec![PgType::Text; placeholders], None) };
    let mut types = vec![PgType::Text; placeholders];
    let columns = match &**local {
        Local::Show(name) => vec![text_column(&shown_name(name))],
        Local::ShowAll => ["name", "setting", "description"].into_iter().map(text_column).collect(),
        Local::Explain { .. } => vec![text_column("QUERY PLAN")],
        Local::Settings(calls) => {
            let locals = calls.iter().filter_map(|call| call.change.as_ref());
            for number in locals.filter_map(|(_, local)| sql::placeholder_number(local)) {
                if let Some(data_type) = types.get_mut(number - 1) {
                    *data_type = PgType::Bool;
                }
            }
            calls.iter().map(|call| text_column(&call.column)).collect()
        }
        Local::Sequence(call) => {
            let columns = vec![super::sequence::number_column(call.column())];
            return (types, Some(Arc::from(columns)));
        }
        Local::VoidCall { column } => vec![OutputColumn { data_type: PgType::Void, ..text_column(column) }],
        // What its text asks for is asked again when it is executed.
        Local::Prepare { .. } => return (Vec::new(), None),
        // They are its query's, which gives them their types.
        Local::Declare { .. } => return (vec![PgType::Unknown; placeholders], None),
        _ => return (types, None),
    };
    (types, Some(Arc::from(columns)))
}

/// SHOW's column has the setting's own spelling.
fn shown_name(name: &str) -> String {
    Settings::reported_name(name).map_or_else(|| name.to_lowercase(), str::to_owned)
}

impl Session {
    pub(super) async fn answer_locally(&mut self, local: &Local, execution: &Execution) -> Result<Answer> {
        match local {
            Local::Empty => Ok(Answer::empty()),
            Local::Copy(_) => Err(Error::internal("a COPY was not planned")),
            Local::Begin { tag, isolation, read_only } => self.begin(tag, *isolation, *read_only),
            Local::Commit { chain } => self.commit(*chain).await,
            Local::Rollback { chain } => self.rollback(*chain).await,
            Local::Savepoint(_) | Local::Release(_) | Local::RollbackTo(_) => self.savepoint_control(local).await,
            Local::SetTransaction { isolation, read_only, session } => {
                self.set_transaction(*isolation, *read_only, *session)
            }
            Local::Set { name, value, local } => {
                self.join_batch(execution);
                self.set(name, value.as_deref(), *local).await
            }
            Local::Settings(calls) => self.setting_calls(calls, execution).await,
            Local::Show(name) => self.show(name, execution).await,
            Local::ShowAll => self.show_all(execution),
            Local::Reset(name) => self.reset(name.as_deref()),
            Local::Discard(what) => self.discard(*what).await,
            Local::Prepare { name, types, text } => self.prepare_named(name, types, text).await,
            Local::Execute { name, arguments } => self.execute_named(name, arguments, execution).await,
            Local::Deallocate(name) => self.deallocate(name.as_deref()),
            Local::Explain { .. } => self.explain(local, execution).await,
            Local::OnKeyShard { tag } => self.run_on_key_shard(tag, execution).await,
            Local::Declare { .. } | Local::Fetch { .. } | Local::Close(_) => self.cursor(local, execution).await,
            Local::AdvisoryLock(action) => self.advisory_lock(*action, execution).await,
            Local::Listen => self.listen(execution).await,
            Local::Unlisten(channel) => self.unlisten(channel.as_deref(), execution).await,
            Local::Notify { tag } => self.notify(tag, execution).await,
            Local::Load => self.load(execution).await,
            Local::OnTemporaryTables { shard } => self.run_on_temporary_tables(*shard, execution).await,
            Local::Sequence(call) => self.sequence(call, execution).await,
            Local::ChangeSequence { tag, name } => self.change_sequence(tag, name, execution).await,
            Local::Concurrently(change) => self.change_concurrently(change, execution).await,
            Local::VoidCall { .. } => {
                self.give_all_locks_back().await?;
                self.text_answer(execution, "SELECT", &[vec![String::new()]])
            }
        }
    }

    fn begin(&mut self, tag: &'static str, isolation: Option<Isolation>, read_only: Option<bool>) -> Result<Answer> {
        match &mut self.transaction {
            Some(Transaction { opened: Opened::Client, .. }) => {
                self.notices
                    .push(Error::new(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress"));
            }
            // What the batch did until now becomes part of the client's transaction, as in Postgres.
            Some(transaction) => transaction.opened = Opened::Client,
            None => self.transaction = Some(self.new_transaction(Opened::Client)),
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.set(isolation, read_only)?;
        }
        Ok(Answer::command(tag))
    }

    async fn commit(&mut self, chain: bool) -> Result<Answer> {
        let Some(transaction) = self.take_transaction(chain)? else { return Ok(Answer::command("COMMIT")) };
        let mut next = transaction.like(&self.settings);
        let tag = if transaction.failed {
            self.roll_back(transaction).await;
            "ROLLBACK"
        } else {
            self.commit_transaction(transaction).await?;
            "COMMIT"
        };
        // What SET LOCAL had set has ended by now.
        next.settings.clone_from(&self.settings);
        self.transaction = chain.then_some(next);
        Ok(Answer::command(tag))
    }

    async fn rollback(&mut self, chain: bool) -> Result<Answer> {
        if let Some(transaction) = self.take_transaction(chain)? {
            let mut next = transaction.like(&self.settings);
            self.roll_back(transaction).await;
            next.settings.clone_from(&self.settings);
            self.transaction = chain.then_some(next);
        }
        Ok(Answer::command("ROLLBACK"))
    }

    /// The open transaction, to be ended; with a warning when the client opened none.
    fn take_transaction(&mut self, chain: bool) -> Result<Option<Transaction>> {
        let by_client = self.transaction.as_ref().is_some_and(|t| t.opened == Opened::Client);
        if !by_client && chain {
            let word = "AND CHAIN can only be used in transaction blocks";
            return Err(Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, word));
        }
        if !by_client {
            self.warn_no_transaction();
        }
        Ok(self.transaction.take())
    }

    fn warn_no_transaction(&mut self) {
        self.notices.push(Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"));
    }

    /// Commits on the shards, then lets others see a changed schema.
    pub(super) async fn commit_transaction(&mut self, mut transaction: Transaction) -> Result<()> {
        self.risk_commit();
        let local_settings = std::mem::take(&mut transaction.local_settings);
        let settings = transaction.settings.clone();
        let row_cursors = std::mem::take(&mut transaction.row_cursors);
        let told = transaction.told();
        let outcome = transaction.commit(&self.engine).await;
        self.notices.extend(told.iter().flat_map(Told::take));
        match &outcome {
            Ok(warning) => {
                self.notices.extend(warning.clone());
                self.row_cursors.keep(row_cursors);
            }
            Err(_) => self.restore_settings(settings),
        }
        for (name, earlier) in local_settings {
            self.settings.restore(&name, earlier);
            self.settings_touched = true;
        }
        if self.kept.is_some() {
            self.look_after_transaction().await;
        }
        outcome.map(|_| ())
    }

    pub(super) async fn roll_back(&mut self, mut transaction: Transaction) {
        let settings = std::mem::replace(&mut transaction.settings, self.settings.clone());
        self.restore_settings(settings);
        transaction.rollback().await;
        if self.kept.is_some() {
            self.look_after_transaction().await;
        }
    }

    async fn savepoint_control(&mut self, local: &Local) -> Result<Answer> {
        let settings = self.settings.clone();
        let Some(transaction) = self.transaction.as_mut().filter(|t| t.opened == Opened::Client) else {
            let word = match local {
                Local::Savepoint(_) => "SAVEPOINT",
                Local::Release(_) => "RELEASE SAVEPOINT",
                _ => "ROLLBACK TO SAVEPOINT",
            };
            return Err(Error::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                format!("{word} can only be used in transaction blocks"),
            ));
        };
        match local {
            Local::Savepoint(name) => {
                transaction.savepoint(name, &settings).await.map(|()| Answer::command("SAVEPOINT"))
            }
            Local::Release(name) => transaction.release(name).await.map(|()| Answer::command("RELEASE")),
            Local::RollbackTo(name) => {
                let settings = transaction.rollback_to(name).await?;
                self.restore_settings(settings);
                if self.kept.is_some() {
                    self.look_after_transaction().await;
                }
                Ok(Answer::command("ROLLBACK"))
            }
            other => Err(Error::internal(format!("{other:?} is no savepoint statement"))),
        }
    }

    fn set_transaction(
        &mut self,
        isolation: Option<Isolation>,
        read_only: Option<bool>,
        session: bool,
    ) -> Result<Answer> {
        if session {
            if let Some(isolation) = isolation {
                self.settings.set("default_transaction_isolation", show_isolation(isolation))?;
            }
            if let Some(read_only) = read_only {
                self.settings.set("default_transaction_read_only", if read_only { "on" } else { "off" })?;
            }
            self.settings_touched = true;
            return Ok(Answer::command("SET"));
        }
        match &mut self.transaction {
            Some(transaction) => transaction.set(isolation, read_only)?,
            None => self.notices.push(Error::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION can only be used in transaction blocks",
            )),
        }
        Ok(Answer::command("SET"))
    }

    /// Settings of several statements that are sent together fall with them.
    pub(super) fn join_batch(&mut self, execution: &Execution) {
        if self.transaction.is_none() && execution.scope == Scope::Batch {
            self.transaction = Some(self.new_transaction(Opened::Batch));
        }
    }

    /// `value`: `None` is DEFAULT.
    async fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<Answer> {
        match value {
            Some(value) => drop(self.assign(name, value, local).await?),
            None if local => {
                if self.keep_for_the_end(name) {
                    self.reset(Some(name))?;
                }
            }
            None => {
                self.keep_no_local(name);
                self.reset(Some(name))?;
            }
        }
        Ok(Answer::command("SET"))
    }

    async fn assign(&mut self, name: &str, value: &str, local: bool) -> Result<String> {
        if name.eq_ignore_ascii_case(KEY) && self.engine.kind == ShardKind::Postgres {
            self.check_key(value, local)?;
        }
        if name.eq_ignore_ascii_case("transaction_isolation") || name.eq_ignore_ascii_case("transaction_read_only") {
            return self.assign_to_transaction(name, value);
        }
        if !local {
            self.keep_no_local(name);
            return self.apply_setting(name, value).await;
        }
        if !self.keep_for_the_end(name) {
            return Ok(value.to_owned());
        }
        self.apply_setting(name, value).await
    }

    /// Remembers what the end of the transaction brings back. False, with a warning, when there is none.
    fn keep_for_the_end(&mut self, name: &str) -> bool {
        let Some(transaction) = &mut self.transaction else {
            self.notices.push(Error::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            ));
            return false;
        };
        // It is what was set before the first SET LOCAL.
        if !transaction.local_settings.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            transaction.local_settings.push((name.to_owned(), self.settings.own(name)));
        }
        true
    }

    /// A plain SET outlives the transaction, whatever SET LOCAL said before it.
    fn keep_no_local(&mut self, name: &str) {
        if let Some(transaction) = &mut self.transaction {
            transaction.local_settings.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        }
    }

    fn assign_to_transaction(&mut self, name: &str, value: &str) -> Result<String> {
        let invalid = || {
            Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"{name}\": \"{value}\""),
            )
        };
        let (isolation, read_only) = match name.to_lowercase().as_str() {
            "transaction_isolation" => (Some(super::settings::parse_isolation(value).ok_or_else(invalid)?), None),
            _ => (None, Some(super::settings::parse_bool(value).ok_or_else(invalid)?)),
        };
        self.set_transaction(isolation, read_only, false)?;
        Ok(value.to_owned())
    }

    /// Goes back to the settings of an earlier moment.
    fn restore_settings(&mut self, settings: Settings) {
        self.settings = settings;
        self.settings_touched = true;
    }

    /// current_setting and set_config, in their order.
    async fn setting_calls(&mut self, calls: &[SettingCall], execution: &Execution) -> Result<Answer> {
        let mut row = Vec::with_capacity(calls.len());
        for call in calls {
            let changes = call.change.iter().flat_map(|(value, local)| [value, local]);
            let arguments: Vec<ast::Expr> = std::iter::once(&call.name).chain(changes).cloned().collect();
            let types = [PgType::Text, PgType::Text, PgType::Bool];
            let values = self.evaluate(&arguments, &types[..arguments.len()], execution).await?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            row.push(match values.as_slice() {
                [Some(name)] => self.shown(&text(name)).await?,
                [Some(name), Some(value), local] => {
                    let is_local = local.as_deref() == Some(&[1]);
                    self.assign(&text(name), &text(value), is_local).await?
                }
                [Some(name), None, local] => {
                    let name = text(name);
                    self.set(&name, None, local.as_deref() == Some(&[1])).await?;
                    self.shown(&name).await.unwrap_or_default()
                }
                _ => return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name")),
            });
        }
        self.text_answer(execution, "SELECT", &[row])
    }

    async fn show(&mut self, name: &str, execution: &Execution) -> Result<Answer> {
        let value = self.shown(name).await?;
        self.text_answer(execution, "SHOW", &[vec![value]])
    }

    /// A setting's value, as the session has it now.
    async fn shown(&mut self, name: &str) -> Result<String> {
        Ok(match name.to_lowercase().as_str() {
            "transaction_isolation" | "transaction isolation level" => {
                let isolation = self.transaction.as_ref().map_or(self.settings.default_isolation, |t| t.isolation);
                show_isolation(isolation).to_owned()
            }
            "transaction_read_only" => {
                let read_only = self.transaction.as_ref().map_or(self.settings.default_read_only, |t| t.read_only);
                if read_only { "on" } else { "off" }.to_owned()
            }
            _ => match self.settings.show(name) {
                Err(_) if self.engine.kind == ShardKind::Postgres => self.servers_value(name).await?,
                shown => shown?,
            },
        })
    }

    fn show_all(&self, execution: &Execution) -> Result<Answer> {
        let rows: Vec<_> = self.settings.all().into_iter().map(Vec::from).collect();
        self.text_answer(execution, "SHOW", &rows)
    }

    fn reset(&mut self, name: Option<&str>) -> Result<Answer> {
        self.settings_touched = true;
        match name {
            Some(name) => self.settings.reset(name)?,
            None => self.settings.reset_all(),
        }
        Ok(Answer::command("RESET"))
    }

    async fn discard(&mut self, what: Discard) -> Result<Answer> {
        if what == Discard::All {
            if self.transaction.is_some() {
                return Err(Error::new(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "DISCARD ALL cannot run inside a transaction block",
                ));
            }
            self.statements.clear();
            self.reset(None)?;
            self.settings.restore("session_authorization", None);
            self.settings.restore("role", None);
            self.discard_kept();
            self.row_cursors.clear();
        }
        if what == Discard::Temporary {
            for shard in self.pinned_for(PinReason::TemporaryTable) {
                self.run_text_kept(shard, "DISCARD TEMP").await?;
            }
            self.look().await;
        }
        if matches!(what, Discard::All | Discard::Sequences) {
            self.discard_numbers();
            let kept = if self.pools_by_session() { self.keeper().map(|keeper| keeper.shards()) } else { None };
            for shard in kept.into_iter().flatten().filter(|_| what == Discard::Sequences) {
                self.run_text_kept(shard, "DISCARD SEQUENCES").await?;
            }
        }
        // Plans are shared and hold no state of the session's.
        Ok(Answer::command(match what {
            Discard::All => "DISCARD ALL",
            Discard::Plans => "DISCARD PLANS",
            Discard::Sequences => "DISCARD SEQUENCES",
            Discard::Temporary => "DISCARD TEMP",
        }))
    }

    async fn prepare_named(&mut self, name: &str, types: &[ast::DataType], text: &str) -> Result<Answer> {
        let type_oids: Vec<u32> = types
            .iter()
            .map(|data_type| dialect::parameter_type(data_type).map(|data_type| data_type.oid()))
            .collect::<Result<_>>()?;
        let prepared = self.prepare_checked(text, &type_oids)?;
        if matches!(prepared.statement.plan, Plan::Copy(_)) {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"COPY\""));
        }
        self.describe(&prepared).await?;
        self.store_statement(name, Arc::new(prepared))?;
        Ok(Answer::command("PREPARE"))
    }

    async fn execute_named(&mut self, name: &str, arguments: &[ast::Expr], execution: &Execution) -> Result<Answer> {
        let prepared: Arc<Prepared> = self.statement(name)?;
        let types = prepared.parameter_types()?;
        if arguments.len() != types.len() {
            return Err(Error::new(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .detail(format!("Expected {} parameters but got {}.", types.len(), arguments.len())));
        }
        if matches!(prepared.statement.plan, Plan::Copy(_)) {
            return Err(Error::unsupported("EXECUTE of a COPY", "Run it by the protocol's Bind and Execute."));
        }
        let values = self.evaluate(arguments, &types, execution).await?;
        let parameters = crate::shard::RawParameters { formats: vec![crate::types::Format::Binary], values };
        Box::pin(self.run(&prepared, parameters, execution.formats.clone(), execution.scope)).await
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<Answer> {
        match name {
            Some(name) => {
                self.statement(name)?;
                self.close_statement(name);
                Ok(Answer::command("DEALLOCATE"))
            }
            None => {
                self.statements.clear();
                Ok(Answer::command("DEALLOCATE ALL"))
            }
        }
    }

    /// Rows of text that the session made itself.
    pub(super) fn text_answer(&self, execution: &Execution, tag: &'static str, rows: &[Vec<String>]) -> Result<Answer> {
        let mut batch = RowBatch::default();
        for row in rows {
            batch.push_text_row(row);
        }
        // A row count belongs to SELECT's tag only.
        let count = if tag == "SELECT" { TagCount::Returned } else { TagCount::None };
        Ok(Answer {
            columns: execution.statement.columns().cloned(),
            row_description: None,
            rows: Rows::Ready(batch),
            tag,
            count,
            recording: None,
            copy: None,
        })
    }
}
