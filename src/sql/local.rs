//! The statements that a session answers by itself, read by hand from their tokens.
//!
//! Transactions, settings and prepared statements are most of what drivers send beside queries. A general parser loses
//! what matters here (how a value was quoted, where an inner statement's text begins), so they are read exactly.

use super::ast;
use super::changes::{Concurrent, change_of_sequence, concurrent};
use super::copy::{Copy, copy};
use super::cursor::Cursor;
use super::kept::{Direction, close, declare, fetch, listen, load, notify, unlisten};
use super::lexer::TokenKind;
use super::name::quote_identifier;
use super::parse::{parse_data_types, parse_expressions};
use super::sequence::SequenceCall;
use crate::error::{Error, Result, SqlState};
use crate::types::{Interval, ShardId, Zone};

/// A statement that the session answers itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Local {
    Begin {
        /// `BEGIN` or `START TRANSACTION`: the answer repeats the client's words.
        tag: &'static str,
        isolation: Option<Isolation>,
        read_only: Option<bool>,
    },
    /// `chain`: a transaction of the same kind begins at once.
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    SetTransaction {
        isolation: Option<Isolation>,
        read_only: Option<bool>,
        /// SET SESSION CHARACTERISTICS: for the transactions to come.
        session: bool,
    },
    /// `value`: `None` is DEFAULT.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    /// `SELECT current_setting(...), set_config(...)`: such calls and nothing else.
    Settings(Vec<SettingCall>),
    Show(String),
    ShowAll,
    Reset(Option<String>),
    Discard(Discard),
    /// `text` is the statement's own, to be prepared like any other.
    Prepare {
        name: String,
        types: Vec<ast::DataType>,
        text: String,
    },
    Execute {
        name: String,
        arguments: Vec<ast::Expr>,
    },
    Deallocate(Option<String>),
    /// EXPLAIN: `text` is what it explains, `prefix` what stands before it.
    Explain {
        prefix: String,
        text: String,
        json: bool,
        /// shardd's own plan is asked for.
        shardd: bool,
        analyze: bool,
    },
    /// For the shard of the key that the transaction was given: no key is read in it.
    OnKeyShard {
        tag: &'static str,
    },
    /// A call of one function for session-level advisory locks, by itself.
    AdvisoryLock(AdvisoryLock),
    /// `None`: all.
    Unlisten(Option<String>),
    Listen,
    /// NOTIFY, or a call of pg_notify by itself.
    Notify {
        tag: &'static str,
    },
    Load,
    /// It names temporary tables, which this shard has for the session.
    OnTemporaryTables {
        shard: ShardId,
    },
    /// `query` is the statement's own.
    Declare {
        name: String,
        hold: bool,
        /// SCROLL or NO SCROLL, where one of them was written.
        scroll: Option<bool>,
        binary: bool,
        query: String,
    },
    Fetch {
        name: String,
        /// MOVE.
        moves: bool,
        direction: Direction,
    },
    /// `None`: all.
    Close(Option<String>),
    /// Planned for the shards, and read by hand all the same.
    Copy(Box<Copy>),
    /// `pg_advisory_unlock_all()` by itself: one row with one empty column of type void.
    VoidCall {
        column: String,
    },
    /// nextval() or setval() by itself.
    Sequence(SequenceCall),
    /// CREATE and ALTER SEQUENCE: on every shard.
    ChangeSequence {
        tag: &'static str,
        /// The parts of its name.
        name: Vec<String>,
    },
    /// DROP INDEX or REINDEX with CONCURRENTLY: on every shard by itself.
    Concurrently(Concurrent),
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// READ UNCOMMITTED too, as in Postgres.
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// A call whose arguments are constants or placeholders.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingCall {
    pub name: ast::Expr,
    /// set_config's value, and whether it is for the transaction only; `None` for current_setting.
    pub change: Option<(ast::Expr, ast::Expr)>,
    /// The result's column.
    pub column: String,
}

/// What a call does to an advisory lock that its session holds until it gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvisoryLock {
    /// `tries`: it answers whether it got the lock, and does not wait.
    Take {
        tries: bool,
        shared: bool,
    },
    GiveBack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temporary,
}

/// Reads a statement that the session answers; `None` when it is some other statement.
///
/// # Errors
/// 42601, or 0A000 for one that shardd refuses.
pub(super) fn parse_local(cursor: &mut Cursor<'_>) -> Result<Option<Local>> {
    let Some(word) = cursor.peek_word() else { return Ok(None) };
    let local = match word.to_ascii_lowercase().as_str() {
        "begin" => begin(cursor)?,
        "start" => {
            cursor.advance();
            cursor.expect_word("transaction")?;
            let (isolation, read_only) = transaction_modes(cursor)?;
            Local::Begin { tag: "START TRANSACTION", isolation, read_only }
        }
        "commit" | "end" => commit(cursor)?,
        "rollback" | "abort" => rollback(cursor)?,
        "savepoint" => {
            cursor.advance();
            Local::Savepoint(cursor.name()?)
        }
        "release" => {
            cursor.advance();
            cursor.eat_word("savepoint");
            Local::Release(cursor.name()?)
        }
        "set" => set(cursor)?,
        "show" => show(cursor)?,
        "reset" => reset(cursor)?,
        "discard" => discard(cursor)?,
        "prepare" => prepare(cursor)?,
        "execute" => execute(cursor)?,
        "deallocate" => deallocate(cursor)?,
        "explain" => explain(cursor)?,
        "close" => close(cursor)?,
        "declare" => declare(cursor)?,
        "fetch" | "move" => fetch(cursor)?,
        "unlisten" => unlisten(cursor)?,
        "listen" => listen(cursor)?,
        "notify" => notify(cursor)?,
        "load" => load(cursor)?,
        "copy" => Local::Copy(Box::new(copy(cursor)?)),
        "alter" if cursor.second_word().is_some_and(|word| word.eq_ignore_ascii_case("sequence")) => {
            return change_of_sequence(cursor, "ALTER SEQUENCE").map(Some);
        }
        "create" if cursor.second_word().is_some_and(|word| word.eq_ignore_ascii_case("sequence")) => {
            return change_of_sequence(cursor, "CREATE SEQUENCE").map(Some);
        }
        "drop" | "reindex" if let Some(change) = concurrent(cursor)? => Local::Concurrently(change),
        other => return for_shards(cursor, other).map(|()| None),
    };
    cursor.expect_end()?;
    Ok(Some(local))
}

/// Lets statements through that are for the shards, and no others: the parser knows many that are not Postgres's.
///
/// # Errors
/// 0A000 with what to do instead, or 42601.
fn for_shards(cursor: &Cursor<'_>, word: &str) -> Result<()> {
    match word {
        "select" | "insert" | "update" | "delete" | "with" | "values" | "table" | "truncate" | "comment" | "merge" => {
            Ok(())
        }
        "create" | "alter" | "drop" => {
            let mut after = cursor.clone();
            after.advance();
            let replaces = after.eat_words(&["or", "replace"]);
            let object = after.peek_word().unwrap_or_default().to_ascii_lowercase();
            match object.as_str() {
                "view" | "temp" | "temporary" | "recursive" | "or" => Ok(()),
                "table" | "unlogged" | "index" | "unique" | "materialized" | "sequence" | "schema" | "type"
                | "domain" | "extension"
                    if !replaces =>
                {
                    Ok(())
                }
                _ => Err(Error::unsupported(
                    format!("{} {}", word.to_ascii_uppercase(), object.to_ascii_uppercase()),
                    "Tables, indexes and their columns are kept by shardd; run anything else on each shard directly.",
                )),
            }
        }
        other => Err(refused(other).unwrap_or_else(|| cursor.error())),
    }
}

/// Statements of Postgres that have no place in front of shards.
fn refused(word: &str) -> Option<Error> {
    let (construct, hint) = match word {
        "lock" => ("LOCK TABLE", "Use SELECT ... FOR UPDATE on the rows of one key."),
        "vacuum" | "analyze" | "analyse" | "reindex" | "cluster" | "checkpoint" => {
            ("maintenance of tables by SQL", "Run it on each shard directly; SQLite shards need none.")
        }
        "do" | "call" | "import" | "security" | "reassign" | "refresh" => {
            let construct = word.to_ascii_uppercase();
            let hint = "Run it on each shard directly. A Postgres shard runs DO and CALL when its key is named: BEGIN; SET LOCAL \
                        shardd.key = '...'.";
            return Some(Error::unsupported(construct, hint));
        }
        "grant" | "revoke" => ("GRANT/REVOKE", "Users are set in shardd's configuration."),
        _ => return None,
    };
    Some(Error::unsupported(construct, hint))
}

fn begin(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    let _ = cursor.eat_word("work") || cursor.eat_word("transaction");
    let (isolation, read_only) = transaction_modes(cursor)?;
    Ok(Local::Begin { tag: "BEGIN", isolation, read_only })
}

/// `ISOLATION LEVEL ... , READ ONLY, NOT DEFERRABLE`: the commas are optional.
fn transaction_modes(cursor: &mut Cursor<'_>) -> Result<(Option<Isolation>, Option<bool>)> {
    let (mut isolation, mut read_only) = (None, None);
    loop {
        if cursor.eat_word("isolation") {
            cursor.expect_word("level")?;
            isolation = Some(if cursor.eat_word("serializable") {
                Isolation::Serializable
            } else if cursor.eat_word("repeatable") {
                cursor.expect_word("read")?;
                Isolation::RepeatableRead
            } else {
                cursor.expect_word("read")?;
                if !cursor.eat_word("committed") {
                    cursor.expect_word("uncommitted")?;
                }
                Isolation::ReadCommitted
            });
        } else if cursor.eat_word("read") {
            read_only = Some(cursor.eat_word("only"));
            if read_only == Some(false) {
                cursor.expect_word("write")?;
            }
        } else if cursor.eat_word("not") {
            cursor.expect_word("deferrable")?;
        } else if !cursor.eat_word("deferrable") {
            return Ok((isolation, read_only));
        }
        if cursor.eat(TokenKind::Comma) && cursor.at_end() {
            return Err(cursor.error());
        }
    }
}

fn commit(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    if cursor.eat_word("prepared") {
        return Err(prepared_transactions());
    }
    let chain = end_of_transaction(cursor)?;
    Ok(Local::Commit { chain })
}

fn rollback(cursor: &mut Cursor<'_>) -> Result<Local> {
    let abort = cursor.peek_word().is_some_and(|word| word.eq_ignore_ascii_case("abort"));
    cursor.advance();
    if cursor.eat_word("prepared") {
        return Err(prepared_transactions());
    }
    let _ = cursor.eat_word("work") || cursor.eat_word("transaction");
    if !abort && cursor.eat_word("to") {
        cursor.eat_word("savepoint");
        return Ok(Local::RollbackTo(cursor.name()?));
    }
    let chain = end_of_transaction(cursor)?;
    Ok(Local::Rollback { chain })
}

fn end_of_transaction(cursor: &mut Cursor<'_>) -> Result<bool> {
    let _ = cursor.eat_word("work") || cursor.eat_word("transaction");
    if !cursor.eat_word("and") {
        return Ok(false);
    }
    let no = cursor.eat_word("no");
    cursor.expect_word("chain")?;
    Ok(!no)
}

fn prepared_transactions() -> Error {
    Error::unsupported("PREPARE TRANSACTION", "shardd commits across shards by itself: use COMMIT.")
}

fn set(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    let local = cursor.eat_word("local");
    let session = !local && cursor.eat_word("session");
    if session && cursor.eat_word("characteristics") {
        cursor.expect_word("as")?;
        cursor.expect_word("transaction")?;
        let (isolation, read_only) = transaction_modes(cursor)?;
        return Ok(Local::SetTransaction { isolation, read_only, session: true });
    }
    if cursor.eat_word("transaction") {
        if cursor.eat_word("snapshot") {
            return Err(Error::unsupported("SET TRANSACTION SNAPSHOT", "There is no snapshot across shards."));
        }
        let (isolation, read_only) = transaction_modes(cursor)?;
        return Ok(Local::SetTransaction { isolation, read_only, session: false });
    }
    if cursor.eat_words(&["time", "zone"]) {
        let value = time_zone(cursor)?;
        return Ok(Local::Set { name: "timezone".into(), value, local });
    }
    if cursor.eat_word("names") {
        let value = if cursor.at_end() || cursor.eat_word("default") { None } else { Some(cursor.string()?) };
        return Ok(Local::Set { name: "client_encoding".into(), value, local });
    }
    if cursor.eat_word("schema") {
        return Ok(Local::Set { name: "search_path".into(), value: Some(cursor.string()?), local });
    }
    if cursor.eat_word("role") {
        // It is a setting too: `SET role = none`.
        let _ = cursor.eat_word("to") || cursor.eat_operator("=");
        return set_role(cursor, "role", local);
    }
    if (session && cursor.eat_word("authorization")) || cursor.eat_words(&["session", "authorization"]) {
        return set_role(cursor, "session_authorization", local);
    }
    if cursor.eat_word("constraints") {
        return Err(Error::unsupported("SET CONSTRAINTS", "Constraints are checked at once."));
    }
    let name = cursor.dotted_name()?;
    if !cursor.eat_word("to") && !cursor.eat_operator("=") {
        return Err(cursor.error());
    }
    if cursor.eat_word("default") {
        return Ok(Local::Set { name, value: None, local });
    }
    // Each word of these is a name, whatever is in it.
    let names = ["search_path", "temp_tablespaces"].iter().any(|list| name.eq_ignore_ascii_case(list));
    let written = |value: String| if names { quote_identifier(&value) } else { value };
    let mut values = vec![written(setting_value(cursor)?)];
    while cursor.eat(TokenKind::Comma) {
        values.push(written(setting_value(cursor)?));
    }
    Ok(Local::Set { name, value: Some(values.join(", ")), local })
}

fn set_role(cursor: &mut Cursor<'_>, name: &str, local: bool) -> Result<Local> {
    let none = cursor.eat_word("default") || (name == "role" && cursor.eat_word("none"));
    let value = if none { None } else { Some(setting_value(cursor)?) };
    Ok(Local::Set { name: name.to_owned(), value, local })
}

fn time_zone(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if cursor.eat_word("local") || cursor.eat_word("default") {
        return Ok(None);
    }
    if cursor.eat_word("interval") {
        return interval_zone(cursor).map(Some);
    }
    setting_value(cursor).map(Some)
}

/// `SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE`: the setting's value that means the same.
fn interval_zone(cursor: &mut Cursor<'_>) -> Result<String> {
    let text = cursor.string()?;
    let hour = cursor.eat_word("hour");
    let minute = hour && cursor.eat_words(&["to", "minute"]);
    // A bare number counts the last of the fields.
    let is_number = !text.is_empty() && text.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit());
    let unit = match (hour && is_number, minute) {
        (false, _) => "",
        (true, false) => " hour",
        (true, true) => " minute",
    };
    let interval = Interval::parse(&format!("{text}{unit}"))?;
    let invalid = |what: &str| {
        let message = format!("invalid value for parameter \"TimeZone\": \"INTERVAL '{text}'\"");
        Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .detail(format!("Cannot specify {what} in time zone interval.")))
    };
    match interval {
        Interval { months: 1.. | ..=-1, .. } => invalid("months"),
        Interval { days: 1.. | ..=-1, .. } => invalid("days"),
        Interval { microseconds, .. } => {
            let seconds = microseconds / 1_000_000;
            let seconds = if minute {
                seconds / 60 * 60
            } else if hour {
                seconds / 3600 * 3600
            } else {
                seconds
            };
            match i32::try_from(seconds) {
                Ok(seconds) if seconds.abs() < 168 * 3600 => Ok(Zone::fixed(seconds).name().to_owned()),
                _ => invalid("so many hours"),
            }
        }
    }
}

/// A word, a string or a number, as a setting's value is written.
fn setting_value(cursor: &mut Cursor<'_>) -> Result<String> {
    let negative = cursor.eat_operator("-");
    if !negative {
        cursor.eat_operator("+");
    }
    let token = cursor.peek().ok_or_else(|| cursor.error())?;
    match token.kind {
        TokenKind::Integer | TokenKind::Decimal | TokenKind::RadixInteger => {
            let raw = cursor.advance_text().replace('_', "");
            Ok(if negative { format!("-{raw}") } else { raw })
        }
        _ if negative => Err(cursor.error()),
        kind if kind.is_string() => cursor.string(),
        _ => cursor.name(),
    }
}

fn show(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    if cursor.eat_word("all") {
        return Ok(Local::ShowAll);
    }
    if cursor.eat_words(&["time", "zone"]) {
        return Ok(Local::Show("timezone".into()));
    }
    if cursor.eat_words(&["transaction", "isolation", "level"]) {
        return Ok(Local::Show("transaction_isolation".into()));
    }
    if cursor.eat_words(&["session", "authorization"]) {
        return Ok(Local::Show("session_authorization".into()));
    }
    Ok(Local::Show(cursor.dotted_name()?))
}

fn reset(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    if cursor.eat_word("all") {
        return Ok(Local::Reset(None));
    }
    if cursor.eat_words(&["time", "zone"]) {
        return Ok(Local::Reset(Some("timezone".into())));
    }
    if cursor.eat_words(&["transaction", "isolation", "level"]) {
        return Ok(Local::Reset(Some("transaction_isolation".into())));
    }
    if cursor.eat_words(&["session", "authorization"]) {
        return Ok(Local::Reset(Some("session_authorization".into())));
    }
    Ok(Local::Reset(Some(cursor.dotted_name()?)))
}

fn discard(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    let what = if cursor.eat_word("all") {
        Discard::All
    } else if cursor.eat_word("plans") {
        Discard::Plans
    } else if cursor.eat_word("sequences") {
        Discard::Sequences
    } else if cursor.eat_word("temp") || cursor.eat_word("temporary") {
        Discard::Temporary
    } else {
        return Err(cursor.error());
    };
    Ok(Local::Discard(what))
}

fn prepare(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    if cursor.eat_word("transaction") {
        return Err(prepared_transactions());
    }
    let name = cursor.name()?;
    let types = match cursor.parenthesised()? {
        Some(tokens) => parse_data_types(cursor.text(), &tokens)?,
        None => Vec::new(),
    };
    cursor.expect_word("as")?;
    Ok(Local::Prepare { name, types, text: cursor.rest()?.to_owned() })
}

fn execute(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    let name = cursor.name()?;
    let arguments = match cursor.parenthesised()? {
        Some(tokens) => parse_expressions(cursor.text(), &tokens)?,
        None => Vec::new(),
    };
    Ok(Local::Execute { name, arguments })
}

fn deallocate(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    cursor.eat_word("prepare");
    if cursor.eat_word("all") {
        return Ok(Local::Deallocate(None));
    }
    Ok(Local::Deallocate(Some(cursor.name()?)))
}

fn explain(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    let (mut json, mut shardd, mut analyze) = (false, false, false);
    if cursor.eat(TokenKind::LeftParen) {
        loop {
            let option = cursor.name()?;
            let value = match cursor.peek().map(|token| token.kind) {
                Some(TokenKind::Comma | TokenKind::RightParen) => String::new(),
                _ => setting_value(cursor)?.to_ascii_lowercase(),
            };
            let on = !matches!(value.as_str(), "false" | "off" | "0");
            match option.as_str() {
                "analyze" => analyze = on,
                "shardd" => shardd = on,
                "format" => json = value == "json",
                _ => {}
            }
            if !cursor.eat(TokenKind::Comma) {
                break;
            }
        }
        if !cursor.eat(TokenKind::RightParen) {
            return Err(cursor.error());
        }
    } else {
        analyze = cursor.eat_word("analyze") || cursor.eat_word("analyse");
        cursor.eat_word("verbose");
    }
    let (whole, rest) = (cursor.text(), cursor.rest()?);
    let before = (rest.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    let prefix = whole.get(..before).unwrap_or_default().to_owned();
    Ok(Local::Explain { prefix, text: rest.to_owned(), json, shardd, analyze })
}
