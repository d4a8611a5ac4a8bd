//! Who may log in at the Postgres door, and by what.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::Result;
use crate::wire::scram::Verifier;

/// What a user has to show.
#[derive(Clone, Debug)]
pub enum Credential {
    Password(Verifier),
    /// A client certificate with this common name, instead of a password.
    Certificate(String),
    /// Both of them.
    Both(Verifier, String),
}

/// One user.
#[derive(Clone, Debug)]
pub struct Account {
    pub credential: Credential,
    /// Only encrypted connections, or those by the Unix socket.
    pub require_tls: bool,
    /// Connections beyond this many are refused with 53300.
    pub connection_limit: Option<usize>,
}

impl Account {
    /// A user with a password, and nothing else asked of it.
    pub fn with_password(verifier: Verifier) -> Account {
        Account { credential: Credential::Password(verifier), require_tls: false, connection_limit: None }
    }
}

/// What a lookup gives: the verifier, `None` for a user who does not exist, or why it could not be found out.
pub type Found<'a> = Pin<Box<dyn Future<Output = Result<Option<Verifier>>> + Send + 'a>>;

/// Asks elsewhere (a shard) for the verifier of a user whom the configuration does not name. It bounds its own time; the
/// time for logging in ends it, too, by dropping it.
#[derive(Clone)]
pub struct Lookup(Arc<dyn for<'a> Fn(&'a str) -> Found<'a> + Send + Sync>);

impl Lookup {
    pub fn new(ask: impl for<'a> Fn(&'a str) -> Found<'a> + Send + Sync + 'static) -> Lookup {
        Lookup(Arc::new(ask))
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup(..)")
    }
}

/// All who may log in.
#[derive(Clone, Debug, Default)]
pub struct Users {
    pub named: HashMap<String, Account>,
    /// Where users are looked for who are not named.
    pub lookup: Option<Lookup>,
}

impl Users {
    /// There is nobody, and nowhere to look: nobody has to say who they are.
    pub(super) fn is_open(&self) -> bool {
        self.named.is_empty() && self.lookup.is_none()
    }

    /// # Errors
    /// The lookup failed.
    pub(super) async fn find(&self, user: &str) -> Result<Option<Cow<'_, Account>>> {
        if let Some(account) = self.named.get(user) {
            return Ok(Some(Cow::Borrowed(account)));
        }
        let Some(lookup) = &self.lookup else { return Ok(None) };
        Ok((lookup.0)(user).await?.map(|verifier| Cow::Owned(Account::with_password(verifier))))
    }

    /// Whether a user who does not exist is treated like one who needs an encrypted connection. Where some do, that does
    /// not tell who they are.
    pub(super) fn unknown_require_tls(&self) -> bool {
        self.named.values().any(|account| account.require_tls)
    }

    /// Makes the salts of users who do not exist. It outlives the process where there are passwords to make it from.
    pub(super) fn mock_secret(&self) -> [u8; 32] {
        let verifiers: Vec<&Verifier> = self.named.values().filter_map(|account| account.verifier()).collect();
        if verifiers.is_empty() { rand::random() } else { Verifier::mock_secret(verifiers.into_iter()) }
    }
}

impl Account {
    fn verifier(&self) -> Option<&Verifier> {
        match &self.credential {
            Credential::Password(verifier) | Credential::Both(verifier, _) => Some(verifier),
            Credential::Certificate(_) => None,
        }
    }
}
