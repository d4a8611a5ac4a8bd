//! Who a client is: its password by SCRAM (or by md5, where a shard knows no better of it), its certificate, or both.
//!
//! The user is fixed before the first question is asked. A user who does not exist goes through the same messages as one
//! with a password by SCRAM.

use tracing::info;

use super::Gate;
use super::connection::{Connection, Ended};
use super::handshake::read;
use super::peers::UserSeat;
use super::stream::Origin;
use super::users::{Account, Credential};
use crate::error::{Error, Fault, Retry, SqlState};
use crate::wire::md5::{self, Md5Verifier};
use crate::wire::scram::{self, Failure, Verifier};
use crate::wire::{Frame, Limits, backend, frontend, take_frame};

/// How a client's bytes reach this server.
#[derive(Debug)]
pub(super) enum Channel {
    /// In the clear, over a network.
    Plain,
    /// By the Unix socket: in the clear, and read by nobody else.
    Local,
    Tls {
        endpoint_hash: Option<Vec<u8>>,
        /// The client's certificate was verified; the common name in it, where there is exactly one.
        certificate: Option<Option<String>>,
    },
}

impl Channel {
    fn scram(&self) -> scram::Channel<'_> {
        match self {
            Channel::Tls { endpoint_hash: Some(hash), .. } => scram::Channel::Endpoint(hash),
            _ => scram::Channel::Unbound,
        }
    }
}

/// What a client comes in with.
#[derive(Default)]
pub(super) struct Entry {
    /// Given back when it leaves.
    pub(super) seat: Option<UserSeat>,
    /// Its session begins with `default_transaction_read_only`.
    pub(super) read_only: bool,
}

/// Makes sure that the client is the user it says it is, and that there is room for another connection of its.
pub(super) async fn authenticate(
    connection: &mut Connection,
    user: &str,
    origin: Origin,
    channel: &Channel,
    gate: &Gate,
) -> Result<Entry, Ended> {
    let users = gate.settings.users.current();
    if users.is_open() {
        return trust(origin, gate).map(|()| Entry::default());
    }
    let account = users.find(user).await.map_err(Ended::Fatal)?;
    let account = account.as_deref();
    let require_tls = account.map_or_else(|| users.unknown_require_tls(), |account| account.require_tls);
    if require_tls && matches!(channel, Channel::Plain) {
        return Err(Ended::Fatal(unencrypted("this user")));
    }
    let mock = || Credential::Password(Verifier::mock(user, gate.settings.users.mock_secret()));
    let login = Login { user, origin, channel };
    match account.map_or_else(mock, |account| account.credential.clone()) {
        Credential::Password(verifier) => login.by_password(connection, verifier).await?,
        Credential::Md5(verifier) => login.by_md5(connection, &verifier).await?,
        Credential::Certificate(name) => login.by_certificate(&name)?,
        Credential::Both(verifier, name) => {
            // In this order, so that only who knows the password learns that there is a certificate to have.
            login.by_password(connection, verifier).await?;
            login.by_certificate(&name)?;
        }
    }
    let seat = seat_for(user, account, gate)?;
    Ok(Entry { seat, read_only: account.is_some_and(|account| account.read_only) })
}

/// While there are no users, whoever is on this machine is let in.
fn trust(origin: Origin, gate: &Gate) -> Result<(), Ended> {
    if gate.settings.trust_network || origin.is_this_machine() {
        return Ok(());
    }
    let message = "no users are configured, so only clients on this machine may connect";
    let error = Error::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
        .hint("Add users with passwords to shardd's configuration.");
    Err(Ended::Fatal(error))
}

/// What a client is told that came in the clear where it may not. `who`: "this door", "this user".
pub(super) fn unencrypted(who: &str) -> Error {
    let message = format!("{who} takes encrypted connections only");
    Error::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message).hint(
        "Connect with TLS: sslmode=require in the connection string, or better sslmode=verify-full with sslrootcert, the \
         certificate of the server's authority.",
    )
}

fn seat_for(user: &str, account: Option<&Account>, gate: &Gate) -> Result<Option<UserSeat>, Ended> {
    let Some(limit) = account.and_then(|account| account.connection_limit) else { return Ok(None) };
    gate.peers.user_seat(user, limit).map(Some).ok_or_else(|| {
        let error = Error::new(SqlState::TOO_MANY_CONNECTIONS, format!("too many connections for role \"{user}\""))
            .hint("Close idle connections, use a smaller pool in the application, or raise the user's max_clients.")
            .fault(Fault::Proxy)
            .retry(Retry::Safe);
        Ended::Fatal(error)
    })
}

/// One client that says it is `user`.
struct Login<'a> {
    user: &'a str,
    origin: Origin,
    channel: &'a Channel,
}

impl Login<'_> {
    fn by_certificate(&self, expected: &str) -> Result<(), Ended> {
        let refused = |message: String, hint: &str| {
            let error = Error::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message).hint(hint);
            Err(Ended::Fatal(error))
        };
        match self.channel {
            Channel::Tls { certificate: Some(Some(name)), .. } if name == expected => Ok(()),
            Channel::Tls { certificate: Some(name), .. } => {
                let name = name.as_deref().unwrap_or("none, or several");
                info!(user = self.user, origin = %self.origin, name, "certificate authentication failed");
                refused(
                    format!("certificate authentication failed for user \"{}\"", self.user),
                    "The certificate's one common name has to be the user's name, or its certificate_name in shardd's \
                     configuration.",
                )
            }
            Channel::Tls { certificate: None, .. } => refused(
                "connection requires a valid client certificate".to_owned(),
                "Give the driver a certificate and its key (sslcert and sslkey), signed by shardd's listen.tls.client_ca_file.",
            ),
            Channel::Plain | Channel::Local => refused(
                "connection requires a valid client certificate".to_owned(),
                "Connect over TCP with sslmode=require or stronger, and give the driver a certificate and its key (sslcert \
                 and sslkey).",
            ),
        }
    }

    async fn by_password(&self, connection: &mut Connection, verifier: Verifier) -> Result<(), Ended> {
        let exchanged = scram_exchange(connection, verifier, self.channel.scram()).await;
        exchanged.map_err(|failure| self.refused(failure))
    }

    async fn by_md5(&self, connection: &mut Connection, verifier: &Md5Verifier) -> Result<(), Ended> {
        md5_exchange(connection, verifier).await.map_err(|failure| self.refused(failure))
    }

    fn refused(&self, failure: ExchangeFailure) -> Ended {
        let user = self.user;
        match failure {
            ExchangeFailure::Ended(ended) => {
                if let Ended::Fatal(error) = &ended {
                    info!(user, origin = %self.origin, %error, "password authentication failed");
                }
                ended
            }
            ExchangeFailure::WrongPassword => {
                info!(user, origin = %self.origin, "password authentication failed");
                let message = format!("password authentication failed for user \"{user}\"");
                Ended::Fatal(Error::new(SqlState::INVALID_PASSWORD, message))
            }
        }
    }
}

enum ExchangeFailure {
    Ended(Ended),
    WrongPassword,
}

impl From<Ended> for ExchangeFailure {
    fn from(ended: Ended) -> ExchangeFailure {
        ExchangeFailure::Ended(ended)
    }
}

async fn md5_exchange(connection: &mut Connection, verifier: &Md5Verifier) -> Result<(), ExchangeFailure> {
    let mut salt = [0; md5::SALT_BYTES];
    rand::fill(&mut salt);
    backend::authentication_md5(&mut connection.output, &salt);
    let message = password_message(connection).await?;
    let proof = frontend::password(&message.body).map_err(Ended::Fatal)?;
    if verifier.accepts(&salt, proof.as_bytes()) { Ok(()) } else { Err(ExchangeFailure::WrongPassword) }
}

async fn scram_exchange(
    connection: &mut Connection,
    verifier: Verifier,
    channel: scram::Channel<'_>,
) -> Result<(), ExchangeFailure> {
    backend::authentication_sasl(&mut connection.output, channel.mechanisms());
    let initial = password_message(connection).await?;
    let (mechanism, client_first) = frontend::sasl_initial_response(&initial.body).map_err(Ended::Fatal)?;
    let mut nonce = [0; scram::NONCE_BYTES];
    rand::fill(&mut nonce);
    let (server_first, exchange) =
        scram::begin(mechanism, client_first, verifier, &nonce, channel).map_err(Ended::Fatal)?;
    backend::authentication_sasl_continue(&mut connection.output, &server_first);
    let response = password_message(connection).await?;
    let server_final = exchange.finish(&response.body).map_err(|failure| match failure {
        Failure::WrongPassword => ExchangeFailure::WrongPassword,
        Failure::Protocol(error) => Ended::Fatal(error).into(),
    })?;
    backend::authentication_sasl_final(&mut connection.output, &server_final);
    Ok(())
}

/// Asks what is written, and reads the answer: anything but a password message ends the connection.
async fn password_message(connection: &mut Connection) -> Result<Frame, Ended> {
    connection.flush().await?;
    loop {
        match take_frame(&mut connection.input, Limits::Authenticating).map_err(Ended::Fatal)? {
            Some(frame) => return Ok(frame),
            None => read(connection).await?,
        }
    }
}
