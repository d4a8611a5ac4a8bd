//! A statement as Postgres shards run it: its text, and what a shard has told of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::call::Aftermath;
use super::hazards::Hazards;
use crate::error::Result;
use crate::shard::{ForeignType, OutputColumn, Tag};
use crate::types::PgType;
use crate::wire::response;

/// A statement, cached and shared; equal for all Postgres shards, since their schemas are equal.
#[derive(Debug)]
pub struct Program {
    pub tag: Tag,
    /// The text of a statement that was derived from the client's, with placeholders for the literals too; `None`: what the
    /// client wrote.
    pub template: Option<String>,
    /// The text without literals, and the functions that it calls: what may change a session is looked for in them.
    text: Arc<str>,
    calls: Box<[Box<str>]>,
    /// What was found in them, with the hazards' version.
    found: AtomicU64,
    /// Shards may return other types: each tells its own with the rows.
    pub described_each_time: bool,
    /// What it returns and takes, once a shard was asked.
    description: OnceLock<Description>,
    /// The last RowDescription that came with its rows, and what was read in it.
    described: ArcSwapOption<Described>,
}

/// Columns, and the whole RowDescription frame that told them.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) frame: Bytes,
    pub(super) columns: Arc<[OutputColumn]>,
}

/// No version of the hazards.
const UNKNOWN: u64 = u64::MAX;

/// What a shard tells of a statement that it has parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The types of its parameters, as the client is told them.
    pub parameter_oids: Vec<u32>,
    /// The same, as any shard understands them: 0 where each has to infer it.
    pub sent_oids: Vec<u32>,
    /// `None` when it returns no rows.
    pub columns: Option<Arc<[OutputColumn]>>,
    /// The frame that told them, with all formats text.
    pub row_description: Option<Bytes>,
}

impl Program {
    /// A client's statement, as it was written.
    pub fn as_written(tag: Tag, text: Arc<str>, calls: Box<[Box<str>]>) -> Program {
        Program {
            tag,
            template: None,
            text,
            calls,
            found: AtomicU64::new(UNKNOWN),
            described_each_time: false,
            description: OnceLock::new(),
            described: ArcSwapOption::empty(),
        }
    }

    #[must_use]
    pub fn described_each_time(self, described_each_time: bool) -> Program {
        Program { described_each_time, ..self }
    }

    /// A statement that was derived from a client's.
    pub fn derived(tag: Tag, template: String, of: &Program) -> Program {
        Program { template: Some(template), ..Program::as_written(tag, Arc::clone(&of.text), of.calls.clone()) }
    }

    /// What has to follow it, as far as this version of the hazards tells.
    pub fn aftermath(&self, version: u64, hazards: &Hazards) -> Aftermath {
        self.found(version, hazards).0
    }

    /// The same, and whether it may take numbers from sequences unseen.
    pub fn found(&self, version: u64, hazards: &Hazards) -> (Aftermath, bool) {
        let found = self.found.load(Ordering::Relaxed);
        if found >> 3 == version {
            let aftermath = match found & 3 {
                0 => Aftermath::Keep,
                1 => Aftermath::Reset,
                _ => Aftermath::Close,
            };
            return (aftermath, found & 4 != 0);
        }
        let aftermath = hazards.aftermath(&self.text, &self.calls);
        let takes = hazards.takes_numbers(&self.text, self.tag == Tag::Select);
        self.found.store(version << 3 | u64::from(takes) << 2 | aftermath as u64, Ordering::Relaxed);
        (aftermath, takes)
    }

    /// Whether it calls a function of the user's that may change something.
    pub fn calls(&self, hazards: &Hazards) -> bool {
        self.calls.iter().any(|name| hazards.is_volatile(name))
    }

    /// Whether it calls an aggregate of these databases that is not one of the known ones.
    pub fn calls_other_aggregate(&self, hazards: &Hazards, is_known: impl Fn(&str) -> bool) -> bool {
        self.calls.iter().any(|name| !is_known(name) && hazards.is_aggregate(name))
    }

    /// A function of the user's that it calls and that names something like this, or whose body cannot be read.
    pub fn naming(&self, hazards: &Hazards, asked: &dyn Fn(&str) -> bool) -> Option<String> {
        hazards.naming(&self.calls, asked)
    }

    pub fn description(&self) -> Option<&Description> {
        self.description.get()
    }

    pub fn describe(&self, description: Description) -> &Description {
        self.description.get_or_init(|| description)
    }

    /// What a RowDescription tells. Most are like the last one of the same statement.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn described(&self, frame: &[u8]) -> Result<Described> {
        if let Some(known) = &*self.described.load()
            && known.frame == frame
        {
            return Ok(Described::clone(known));
        }
        let described = Described::read(frame)?;
        self.described.store(Some(Arc::new(described.clone())));
        Ok(described)
    }
}

impl Described {
    /// # Errors
    /// The RowDescription cannot be read.
    pub(super) fn read(frame: &[u8]) -> Result<Described> {
        let columns = read_columns(frame.get(5..).unwrap_or_default())?;
        Ok(Described { frame: Bytes::copy_from_slice(frame), columns })
    }
}

/// # Errors
/// The RowDescription cannot be read.
fn read_columns(row_description: &[u8]) -> Result<Arc<[OutputColumn]>> {
    let mut columns = Vec::new();
    response::row_description(row_description, |field| {
        let known = PgType::from_oid(field.type_oid);
        columns.push(OutputColumn {
            name: field.name.to_owned(),
            data_type: known.unwrap_or(PgType::Unknown),
            modifier: field.modifier,
            table_oid: field.table_oid,
            attribute: field.attribute,
            foreign: known.is_none().then_some(ForeignType { oid: field.type_oid, size: field.type_size }),
        });
    })?;
    Ok(columns.into())
}
