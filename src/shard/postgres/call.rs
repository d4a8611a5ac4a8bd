//! One statement for one Postgres shard, with everything it needs to run there.

use std::sync::Arc;

use bytes::BytesMut;

use super::keeper::Keeper;
use super::program::Program;
use super::session_state::SessionSettings;
use crate::shard::{CancelFlag, Formats, RawParameters, Tag};

/// A statement and its values, which are passed on as the client sent them.
#[derive(Clone, Debug)]
pub struct Call {
    pub program: Arc<Program>,
    pub text: Arc<str>,
    pub way: Way,
    pub formats: Formats,
    pub cancel: CancelFlag,
    /// What the session has set.
    pub settings: Arc<SessionSettings>,
    pub aftermath: Aftermath,
    /// What its session keeps, if anything.
    pub keeper: Option<Arc<Keeper>>,
    pub replica: OnReplica,
    /// It calls a function of the user's that may change something.
    pub calls_unknown: bool,
    /// What the server is asked for, when the statement stands alone and has written rows, before anybody else uses its
    /// connection: a row of numbers.
    pub then_ask: Option<Arc<str>>,
}

/// Whether a replica may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReplica {
    Never,
    /// In a transaction that is there; none begins there with it.
    Continues,
    /// Its client has said that it will only read.
    May,
}

/// What has to be done to a connection after a statement, before the next client may have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aftermath {
    /// Nothing: the statement changed nothing of the session that it does not say.
    #[default]
    Keep,
    /// Its session is made as new.
    Reset,
    /// It is closed: no statement could make the session as new.
    Close,
}

/// How a statement is sent.
#[derive(Clone, Debug)]
pub enum Way {
    /// As a simple query: no parameters, rows in text.
    Simple,
    /// As Parse, Bind and Execute.
    Extended {
        /// The types of the parameters; 0 where the shard infers it.
        type_oids: Arc<[u32]>,
        parameters: Arc<RawParameters>,
        /// The name under which connections keep it; `None`: it is parsed each time.
        name: Option<Arc<StatementName>>,
    },
}

/// The name of a prepared statement on every connection to every shard. A number is given to one text and one version of
/// the schema, and never again to another.
#[derive(Debug, PartialEq, Eq)]
pub struct StatementName {
    pub number: u64,
    pub text: String,
    /// How a Bind of it to the unnamed portal begins, but for its length.
    bind: Box<[u8]>,
}

impl StatementName {
    pub fn new(number: u64) -> StatementName {
        let text = format!("shardd_{number}");
        let bind = format!("B\0\0\0\0\0{text}\0").into_bytes().into();
        StatementName { number, text, bind }
    }

    /// Writes a Bind of it to the unnamed portal, which goes on with `rest` behind its name.
    pub fn write_bind(&self, rest: &[u8], out: &mut BytesMut) {
        let begin = out.len();
        out.extend_from_slice(&self.bind);
        out.extend_from_slice(rest);
        // The client's own Bind was no longer than a message may be.
        let length = (out.len() - begin - 1) as u32;
        out[begin + 1..begin + 5].copy_from_slice(&length.to_be_bytes());
    }
}

impl Call {
    /// It changes nothing, so that it can be sent again when its answer was lost.
    pub(super) fn reads_only(&self) -> bool {
        self.program.tag == Tag::Select && !self.calls_unknown
    }
}
