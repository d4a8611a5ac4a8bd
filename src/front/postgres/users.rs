//! Who may log in at the Postgres door, and by what.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::error::Result;
use crate::wire::md5::Md5Verifier;
use crate::wire::scram::Verifier;

/// What a user has to show.
#[derive(Clone, Debug)]
pub enum Credential {
    Password(Verifier),
    /// A password of which only an md5 hash is known.
    Md5(Md5Verifier),
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
    /// Sessions begin with `default_transaction_read_only`.
    pub read_only: bool,
}

impl Account {
    /// A user with a password, and nothing else asked of it.
    pub fn with_password(verifier: Verifier) -> Account {
        let credential = Credential::Password(verifier);
        Account { credential, require_tls: false, connection_limit: None, read_only: false }
    }
}

impl Credential {
    /// What a Postgres server keeps of a password; `None` for any other text, a password in the clear above all.
    pub fn stored(text: &str) -> Option<Credential> {
        let scram = Verifier::parse(text).map(Credential::Password);
        scram.or_else(|| Md5Verifier::parse(text).map(Credential::Md5))
    }
}

/// What a lookup gives: what the user has to show, `None` for a user who does not exist, or why it could not be found out.
pub type Found<'a> = Pin<Box<dyn Future<Output = Result<Option<Credential>>> + Send + 'a>>;

type Ask = dyn for<'a> Fn(&'a str) -> Found<'a> + Send + Sync;

/// Asks elsewhere (a shard) for what a user has to show whom the configuration does not name. It bounds its own time; the
/// time for logging in ends it, too, by dropping it.
#[derive(Clone)]
pub struct Lookup {
    ask: Arc<Ask>,
    /// As an [`Account`]'s, of every user who is found.
    pub require_tls: bool,
    pub connection_limit: Option<usize>,
}

impl Lookup {
    pub fn new(ask: impl for<'a> Fn(&'a str) -> Found<'a> + Send + Sync + 'static) -> Lookup {
        Lookup { ask: Arc::new(ask), require_tls: false, connection_limit: None }
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
    pub fn is_open(&self) -> bool {
        self.named.is_empty() && self.lookup.is_none()
    }

    /// # Errors
    /// The lookup failed.
    pub(super) async fn find(&self, user: &str) -> Result<Option<Cow<'_, Account>>> {
        if let Some(account) = self.named.get(user) {
            return Ok(Some(Cow::Borrowed(account)));
        }
        let Some(lookup) = &self.lookup else { return Ok(None) };
        let found = (lookup.ask)(user).await?;
        Ok(found.map(|credential| {
            let (require_tls, connection_limit) = (lookup.require_tls, lookup.connection_limit);
            Cow::Owned(Account { credential, require_tls, connection_limit, read_only: false })
        }))
    }

    /// Whether a user who does not exist is treated like one who needs an encrypted connection. Where some do, that does
    /// not tell who they are.
    pub(super) fn unknown_require_tls(&self) -> bool {
        let looked_up = self.lookup.as_ref().is_some_and(|lookup| lookup.require_tls);
        looked_up || self.named.values().any(|account| account.require_tls)
    }

    /// Makes the salts of users who do not exist. It outlives the process where there are passwords to make it from.
    fn mock_secret(&self) -> [u8; 32] {
        let verifiers: Vec<&Verifier> = self.named.values().filter_map(|account| account.verifier()).collect();
        if verifiers.is_empty() { rand::random() } else { Verifier::mock_secret(verifiers.into_iter()) }
    }
}

/// Those who may log in now. Who has logged in stays connected when others take their place.
#[derive(Debug)]
pub struct LiveUsers {
    current: ArcSwap<Users>,
    /// Stays as it is: a salt that changes when users do would tell those who exist from those who do not.
    mock_secret: [u8; 32],
}

impl LiveUsers {
    pub fn new(users: Users) -> LiveUsers {
        LiveUsers { mock_secret: users.mock_secret(), current: ArcSwap::from_pointee(users) }
    }

    pub fn replace(&self, users: Users) {
        self.current.store(Arc::new(users));
    }

    /// Other users in the configuration; the others are looked for as before.
    pub fn replace_named(&self, named: HashMap<String, Account>) {
        let lookup = self.current.load().lookup.clone();
        self.replace(Users { named, lookup });
    }

    pub(super) fn current(&self) -> Arc<Users> {
        self.current.load_full()
    }

    /// Makes the salts of users who do not exist.
    pub(super) fn mock_secret(&self) -> &[u8; 32] {
        &self.mock_secret
    }
}

impl Account {
    fn verifier(&self) -> Option<&Verifier> {
        match &self.credential {
            Credential::Password(verifier) | Credential::Both(verifier, _) => Some(verifier),
            Credential::Md5(_) | Credential::Certificate(_) => None,
        }
    }
}
