//! What a transaction changed, as bytes that can be applied again: SQLite's session extension.
//!
//! rusqlite's own feature for it needs libclang to build, so the few functions that are used are declared here, after
//! `sqlite3session.h`. This is the only file of the store with `unsafe` in it.
//!
//! <https://www.sqlite.org/session/intro.html>
#![allow(unsafe_code, reason = "the session extension has no safe binding that builds without libclang")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use rusqlite::types::Value;
use rusqlite::{Connection, ffi};

use super::respelling::{Key, Respelled, Respellings};
use super::shared::Shared;
use crate::error::{Error, Fault, SqlState};
use crate::types::TextStyle;

#[repr(C)]
struct sqlite3_session {
    _opaque: [u8; 0],
}

#[repr(C)]
struct sqlite3_changeset_iter {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn sqlite3session_create(db: *mut ffi::sqlite3, name: *const c_char, session: *mut *mut sqlite3_session) -> c_int;
    fn sqlite3session_delete(session: *mut sqlite3_session);
    fn sqlite3session_object_config(session: *mut sqlite3_session, op: c_int, argument: *mut c_void) -> c_int;
    fn sqlite3session_attach(session: *mut sqlite3_session, table: *const c_char) -> c_int;
    fn sqlite3session_table_filter(
        session: *mut sqlite3_session,
        filter: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int>,
        context: *mut c_void,
    );
    fn sqlite3session_changeset(session: *mut sqlite3_session, size: *mut c_int, changes: *mut *mut c_void) -> c_int;
    fn sqlite3changeset_apply_v3(
        db: *mut ffi::sqlite3,
        size: c_int,
        changes: *mut c_void,
        filter: Option<unsafe extern "C" fn(*mut c_void, *mut sqlite3_changeset_iter) -> c_int>,
        conflict: Option<unsafe extern "C" fn(*mut c_void, c_int, *mut sqlite3_changeset_iter) -> c_int>,
        context: *mut c_void,
        rebase: *mut *mut c_void,
        rebase_size: *mut c_int,
        flags: c_int,
    ) -> c_int;
    fn sqlite3changeset_start(iterator: *mut *mut sqlite3_changeset_iter, size: c_int, changes: *mut c_void) -> c_int;
    fn sqlite3changeset_next(iterator: *mut sqlite3_changeset_iter) -> c_int;
    fn sqlite3changeset_finalize(iterator: *mut sqlite3_changeset_iter) -> c_int;
    fn sqlite3changeset_pk(iterator: *mut sqlite3_changeset_iter, is_key: *mut *mut u8, columns: *mut c_int) -> c_int;
    fn sqlite3changeset_new(
        iterator: *mut sqlite3_changeset_iter,
        column: c_int,
        value: *mut *mut ffi::sqlite3_value,
    ) -> c_int;
    fn sqlite3changeset_old(
        iterator: *mut sqlite3_changeset_iter,
        column: c_int,
        value: *mut *mut ffi::sqlite3_value,
    ) -> c_int;
    fn sqlite3changeset_op(
        iterator: *mut sqlite3_changeset_iter,
        table: *mut *const c_char,
        columns: *mut c_int,
        operation: *mut c_int,
        indirect: *mut c_int,
    ) -> c_int;
}

const SESSION_OBJCONFIG_ROWID: c_int = 2;
const CHANGESETAPPLY_FKNOACTION: c_int = 8;
const CHANGESET_DATA: c_int = 1;
const CHANGESET_NOTFOUND: c_int = 2;
const CHANGESET_CONFLICT: c_int = 3;
const CHANGESET_CONSTRAINT: c_int = 4;
const CHANGESET_FOREIGN_KEY: c_int = 5;
const CHANGESET_OMIT: c_int = 0;
const CHANGESET_REPLACE: c_int = 1;
const CHANGESET_ABORT: c_int = 2;

/// Tables of shardd's own whose rows travel with the users'.
const SEQUENCES: &CStr = c"shardd_sequence";

/// Tables of the store's own: what they hold is each shard's, and written with its commit.
const OWN: [&CStr; 3] = [c"shardd_meta", c"shardd_table", c"shardd_applied"];

/// Records the changes of one connection. Tables without a primary key are recorded by rowid.
pub(super) struct Recording<'c> {
    session: *mut sqlite3_session,
    _connection: PhantomData<&'c Connection>,
}

impl<'c> Recording<'c> {
    pub(super) fn begin(connection: &'c Connection) -> rusqlite::Result<Recording<'c>> {
        let mut session = ptr::null_mut();
        // SAFETY: the handle is a live connection's; "main" is a C string; `session` is written before it is read.
        check(unsafe { sqlite3session_create(connection.handle(), c"main".as_ptr(), &raw mut session) })?;
        let recording = Recording { session, _connection: PhantomData };
        let mut on: c_int = 1;
        // SAFETY: the session is live and has no tables yet; the option reads and writes one int.
        check(unsafe { sqlite3session_object_config(session, SESSION_OBJCONFIG_ROWID, (&raw mut on).cast()) })?;
        // SAFETY: the filter takes no context and is a function of the program's life.
        unsafe { sqlite3session_table_filter(session, Some(is_recorded), ptr::null_mut()) };
        // SAFETY: the session is live; no table name means all tables.
        check(unsafe { sqlite3session_attach(session, ptr::null()) })?;
        Ok(recording)
    }

    /// Everything that was changed since the recording began.
    pub(super) fn changes(self) -> rusqlite::Result<Vec<u8>> {
        let mut size: c_int = 0;
        let mut changes: *mut c_void = ptr::null_mut();
        // SAFETY: the session is live; both outputs are written, or stay empty.
        check(unsafe { sqlite3session_changeset(self.session, &raw mut size, &raw mut changes) })?;
        if changes.is_null() {
            return Ok(Vec::new());
        }
        let length = usize::try_from(size).unwrap_or(0);
        // SAFETY: SQLite gave `length` bytes at `changes`, which stay until they are freed below.
        let copied = unsafe { std::slice::from_raw_parts(changes.cast::<u8>(), length) }.to_vec();
        // SAFETY: the buffer came from SQLite's allocator and is not used after this.
        unsafe { ffi::sqlite3_free(changes) };
        Ok(copied)
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        // SAFETY: the session was created by `begin`, is deleted once, and its connection outlives this borrow.
        unsafe { sqlite3session_delete(self.session) };
    }
}

/// The users' tables, and the sequences that fill them. shardd's other tables are each shard's own.
unsafe extern "C" fn is_recorded(_context: *mut c_void, table: *const c_char) -> c_int {
    // SAFETY: SQLite passes a table's name as a C string.
    let table = unsafe { CStr::from_ptr(table) };
    c_int::from(!OWN.contains(&table))
}

/// Whose changes are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applying {
    /// This shard's own, that it lost: cascades were recorded with them, and are not to happen again.
    Own,
    /// Another shard's, of reference tables: only those of tables that are [`TableKind::Reference`](crate::topology::TableKind)
    /// and their sequences are taken, and cascades into this shard's rows happen.
    Copy,
    /// The same, leaving rows without parents or children behind: to find out which they are, and then to be taken back.
    Trial,
}

/// Why changes were not applied; nothing of them was.
#[derive(Debug)]
pub(super) enum Unapplied {
    Sqlite(rusqlite::Error),
    /// Rows of this shard need what the changes take away.
    ForeignKey,
    /// The rows that they change are not what they were.
    Conflict {
        table: String,
        kind: &'static str,
    },
}

impl Unapplied {
    pub(super) fn error(self, shared: &Shared) -> Error {
        match self {
            Unapplied::Sqlite(error) => shared.translate(&error),
            Unapplied::ForeignKey => super::constraint::foreign_key_error(None, &TextStyle::default()),
            Unapplied::Conflict { table, kind } => Error::new(
                SqlState::DATA_CORRUPTED,
                format!("changes of table \"{table}\" cannot be applied on shard \"{}\": {kind}", shared.name),
            )
            .detail("The table's rows are not what they were on the shard where the statement ran.")
            .hint("Compare the table's rows on all shards; somebody may have written to a shard's file directly.")
            .fault(Fault::Shard),
        }
    }
}

struct Context<'a> {
    applying: Applying,
    takes: &'a dyn Fn(&str) -> bool,
    respellings: Respellings,
    conflict: Option<Conflict>,
}

enum Conflict {
    ForeignKey,
    Row { table: String, kind: &'static str },
}

/// Applies a changeset in the connection's open transaction: all of it, or nothing.
pub(super) fn apply(
    connection: &Connection,
    changes: &[u8],
    applying: Applying,
    takes: &dyn Fn(&str) -> bool,
) -> Result<(), Unapplied> {
    let size = c_int::try_from(changes.len()).map_err(|_| Unapplied::Sqlite(too_big()))?;
    let respellings = respellings(changes, size).map_err(Unapplied::Sqlite)?;
    let mut context = Context { applying, takes, respellings, conflict: None };
    let flags = if applying == Applying::Own { CHANGESETAPPLY_FKNOACTION } else { 0 };
    // SAFETY: the handle is a live connection's; SQLite only reads `size` bytes of the changes during the call; the
    // callbacks are given `context`, which outlives the call; no rebase buffer is asked for.
    let code = unsafe {
        sqlite3changeset_apply_v3(
            connection.handle(),
            size,
            changes.as_ptr().cast_mut().cast(),
            Some(is_taken),
            Some(decide),
            (&raw mut context).cast(),
            ptr::null_mut(),
            ptr::null_mut(),
            flags,
        )
    };
    match (context.conflict, code) {
        (_, ffi::SQLITE_OK) => context.respellings.apply(connection, |table| applying == Applying::Own || takes(table)),
        (Some(Conflict::ForeignKey), _) => Err(Unapplied::ForeignKey),
        (Some(Conflict::Row { table, kind }), _) => Err(Unapplied::Conflict { table, kind }),
        (None, _) => check(code).map_err(Unapplied::Sqlite),
    }
}

fn check(code: c_int) -> rusqlite::Result<()> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)) }
}

fn too_big() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_TOOBIG), None)
}

unsafe extern "C" fn is_taken(context: *mut c_void, change: *mut sqlite3_changeset_iter) -> c_int {
    // SAFETY: `apply` passes its context, and nothing else refers to it during the call.
    let context = unsafe { &mut *context.cast::<Context<'_>>() };
    // SAFETY: SQLite passes an iterator that stands on a change.
    let (table, operation) = unsafe { describe(change) };
    // SAFETY: as above.
    let own_way = unsafe { Change::read(change, operation) }.is_some_and(|change| match change {
        Change::Insert(key) => !context.respellings.is_first(&table, key),
        Change::Respelled { .. } => true,
    });
    if own_way {
        return 0;
    }
    if context.applying == Applying::Own {
        return 1;
    }
    if table.as_bytes() != SEQUENCES.to_bytes() {
        return c_int::from((context.takes)(&table));
    }
    // A sequence goes where its table goes.
    // SAFETY: as above.
    let owner = unsafe { first_column(change, operation) };
    c_int::from(owner.is_some_and(|owner| (context.takes)(&owner)))
}

/// A change that could be one of a row whose primary key is only spelled anew.
enum Change {
    /// Its whole key, in texts.
    Insert(Key),
    Respelled {
        key: Vec<(usize, Value)>,
        changed: Vec<(usize, Value)>,
    },
}

impl Change {
    /// Reads the change that the iterator stands on; `None` for one that SQLite can apply for sure.
    unsafe fn read(change: *mut sqlite3_changeset_iter, operation: c_int) -> Option<Change> {
        let (mut is_key, mut columns) = (ptr::null_mut(), 0);
        // SAFETY: the caller's promise; both outputs are written.
        let code = unsafe { sqlite3changeset_pk(change, &raw mut is_key, &raw mut columns) };
        let columns = usize::try_from(columns).unwrap_or(0);
        if code != ffi::SQLITE_OK || is_key.is_null() {
            return None;
        }
        // SAFETY: SQLite gave one byte for each column, which live as long as the iterator.
        let is_key = unsafe { std::slice::from_raw_parts(is_key, columns) };
        let keys = (0..columns).filter(|column| is_key[*column] != 0);
        // SAFETY: the caller's promise.
        let new = |column: usize| unsafe { value_of(sqlite3changeset_new, change, column) };
        match operation {
            ffi::SQLITE_INSERT => {
                let key: Vec<Value> = keys.filter_map(new).collect();
                key.iter().any(|value| matches!(value, Value::Text(_))).then(|| Change::Insert(Key::of(&key)))
            }
            ffi::SQLITE_UPDATE => {
                keys.clone().find_map(new)?;
                // SAFETY: the caller's promise.
                let old = |column: usize| unsafe { value_of(sqlite3changeset_old, change, column) };
                let with = |column: usize, value: Option<Value>| Some((column, value?));
                Some(Change::Respelled {
                    key: keys.filter_map(|column| with(column, old(column))).collect(),
                    changed: (0..columns).filter_map(|column| with(column, new(column))).collect(),
                })
            }
            _ => None,
        }
    }
}

type Reader = unsafe extern "C" fn(*mut sqlite3_changeset_iter, c_int, *mut *mut ffi::sqlite3_value) -> c_int;

/// One value of the change that the iterator stands on; `None` when the change has none for the column.
unsafe fn value_of(read: Reader, change: *mut sqlite3_changeset_iter, column: usize) -> Option<Value> {
    let mut value = ptr::null_mut();
    // SAFETY: the caller's promise; the output is written.
    let code = unsafe { read(change, c_int::try_from(column).ok()?, &raw mut value) };
    if code != ffi::SQLITE_OK || value.is_null() {
        return None;
    }
    // SAFETY: the value is live as long as the iterator stands where it does, and is copied here.
    unsafe {
        let length = usize::try_from(ffi::sqlite3_value_bytes(value)).unwrap_or(0);
        let bytes = |start: *const u8| match length {
            0 => Vec::new(),
            _ => std::slice::from_raw_parts(start, length).to_vec(),
        };
        Some(match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_INTEGER => Value::Integer(ffi::sqlite3_value_int64(value)),
            ffi::SQLITE_FLOAT => Value::Real(ffi::sqlite3_value_double(value)),
            ffi::SQLITE_TEXT => Value::Text(String::from_utf8(bytes(ffi::sqlite3_value_text(value))).ok()?),
            ffi::SQLITE_BLOB => Value::Blob(bytes(ffi::sqlite3_value_blob(value).cast())),
            _ => Value::Null,
        })
    }
}

/// The rows of a changeset whose primary key is only spelled anew.
fn respellings(changes: &[u8], size: c_int) -> rusqlite::Result<Respellings> {
    let mut found = Respellings::default();
    let mut iterator = ptr::null_mut();
    // SAFETY: SQLite only reads `size` bytes of the changes, which outlive the iterator; it is written before it is read.
    check(unsafe { sqlite3changeset_start(&raw mut iterator, size, changes.as_ptr().cast_mut().cast()) })?;
    loop {
        // SAFETY: the iterator is live until it is finalized below.
        if unsafe { sqlite3changeset_next(iterator) } != ffi::SQLITE_ROW {
            break;
        }
        // SAFETY: the iterator stands on a change.
        let (table, operation) = unsafe { describe(iterator) };
        // SAFETY: as above.
        if let Some(Change::Respelled { key, changed }) = unsafe { Change::read(iterator, operation) } {
            found.add(Respelled { table, key, changed });
        }
    }
    // SAFETY: it is finalized once; what went wrong on the way is told now.
    check(unsafe { sqlite3changeset_finalize(iterator) })?;
    Ok(found)
}

/// The text in the first column of the change that the iterator stands on: a column of the primary key.
unsafe fn first_column(change: *mut sqlite3_changeset_iter, operation: c_int) -> Option<String> {
    let mut value = ptr::null_mut();
    let code = if operation == ffi::SQLITE_INSERT {
        // SAFETY: the caller's promise; an insert has new values.
        unsafe { sqlite3changeset_new(change, 0, &raw mut value) }
    } else {
        // SAFETY: the caller's promise; updates and deletes have the old values of the primary key.
        unsafe { sqlite3changeset_old(change, 0, &raw mut value) }
    };
    if code != ffi::SQLITE_OK || value.is_null() {
        return None;
    }
    // SAFETY: the value is live as long as the iterator stands where it does.
    let text = unsafe { ffi::sqlite3_value_text(value) };
    // SAFETY: SQLite ends the text of a value with a zero.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text.cast()) }.to_string_lossy().into_owned())
}

unsafe extern "C" fn decide(context: *mut c_void, kind: c_int, change: *mut sqlite3_changeset_iter) -> c_int {
    // SAFETY: as in `is_taken`; the filter is not running now.
    let context = unsafe { &mut *context.cast::<Context<'_>>() };
    let copies = context.applying != Applying::Own;
    if kind == CHANGESET_FOREIGN_KEY {
        if context.applying == Applying::Trial {
            return CHANGESET_OMIT;
        }
        context.conflict = Some(Conflict::ForeignKey);
        return CHANGESET_ABORT;
    }
    // SAFETY: for every other kind SQLite passes an iterator that stands on the change.
    let (table, operation) = unsafe { describe(change) };
    let kind = match kind {
        // The sequence moved on here, or a cascade came first: the change says what the row has to be.
        CHANGESET_DATA if copies => return CHANGESET_REPLACE,
        CHANGESET_CONFLICT if table.as_bytes() == SEQUENCES.to_bytes() => return CHANGESET_REPLACE,
        // A cascade came first.
        CHANGESET_NOTFOUND if copies && operation == ffi::SQLITE_DELETE => {
            return CHANGESET_OMIT;
        }
        CHANGESET_DATA => "a row was changed in between",
        CHANGESET_NOTFOUND => "a row is missing",
        CHANGESET_CONFLICT => "a row exists already",
        CHANGESET_CONSTRAINT => "a constraint is broken",
        _ => "of a conflict that is not known",
    };
    context.conflict = Some(Conflict::Row { table, kind });
    CHANGESET_ABORT
}

/// The table and operation of the change that the iterator stands on.
unsafe fn describe(change: *mut sqlite3_changeset_iter) -> (String, c_int) {
    let (mut table, mut columns, mut operation, mut indirect) = (ptr::null(), 0, 0, 0);
    // SAFETY: the caller's promise; the outputs are plain values, and the name lives as long as the iterator.
    let code =
        unsafe { sqlite3changeset_op(change, &raw mut table, &raw mut columns, &raw mut operation, &raw mut indirect) };
    if code != ffi::SQLITE_OK || table.is_null() {
        return ("?".to_owned(), 0);
    }
    // SAFETY: SQLite wrote a C string.
    (unsafe { CStr::from_ptr(table) }.to_string_lossy().into_owned(), operation)
}
