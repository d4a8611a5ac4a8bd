//! Logs in at a shard, as whatever the server asks for.
//!
//! A server is believed to be who it says only as far as TLS proved it, so a password goes out readable only over a
//! connection that nobody can listen to, and a SCRAM login ends only with the server's own proof.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};

use super::certificate::end_point_hash;
use super::failure::violation;
use super::frames::Frame;
use super::password;
use super::target::{ChannelBindingMode, Method, Target};
use crate::error::{Error, Fault, Result, SqlState};

/// What is known of the connection that a login goes over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel<'a> {
    /// Nobody between can read it.
    pub(super) private: bool,
    /// The certificate that the server showed.
    pub(super) certificate: Option<&'a [u8]>,
}

/// A login under way: fed with the server's Authentication messages, it gives what to answer.
pub(super) struct Login<'a> {
    target: &'a Target,
    stage: Stage,
}

enum Stage {
    Start,
    /// A password or its hash was sent; the server's word ends it.
    Sent,
    ScramFirst(Box<ScramSha256>),
    ScramFinal(Box<ScramSha256>),
    /// The server proved that it knows the password.
    ScramProven,
}

impl<'a> Login<'a> {
    pub(super) fn new(target: &'a Target) -> Login<'a> {
        Login { target, stage: Stage::Start }
    }

    /// Takes an Authentication message, and writes the answer to `output`. True: the login is over.
    ///
    /// # Errors
    /// The server asks for what cannot be or shall not be given, or did not prove what it must.
    pub(super) async fn take(&mut self, frame: &Frame, channel: Channel<'_>, output: &mut BytesMut) -> Result<bool> {
        let Some((code, data)) = frame.body.split_first_chunk::<4>() else {
            return Err(violation("an authentication message is too short"));
        };
        match (u32::from_be_bytes(*code), std::mem::replace(&mut self.stage, Stage::Start)) {
            (0, stage) => return self.finished(&stage).map(|()| true),
            (3, Stage::Start) => self.cleartext(channel, output).await?,
            (5, Stage::Start) => self.md5(data, output).await?,
            (10, Stage::Start) => self.scram_first(data, channel, output).await?,
            (11, Stage::ScramFirst(scram)) => self.scram_final(scram, frame.body.slice(4..), output).await?,
            (12, Stage::ScramFinal(mut scram)) => {
                scram.finish(data).map_err(|error| self.unproven(&error))?;
                self.stage = Stage::ScramProven;
            }
            (code, Stage::Start) => return Err(self.unsupported(code)),
            _ => return Err(violation("an authentication message is out of turn")),
        }
        Ok(false)
    }

    fn finished(&self, stage: &Stage) -> Result<()> {
        match stage {
            Stage::Start => {
                self.permit(Method::Trust, "none")?;
                self.require_binding()
            }
            Stage::Sent | Stage::ScramProven => Ok(()),
            Stage::ScramFirst(_) | Stage::ScramFinal(_) => Err(violation("a login ended without the server's proof")),
        }
    }

    async fn cleartext(&mut self, channel: Channel<'_>, output: &mut BytesMut) -> Result<()> {
        self.permit(Method::Cleartext, "password")?;
        self.require_binding()?;
        let asked_for = self.target.methods.is_some();
        if !channel.private && !asked_for {
            return Err(self
                .refused("the server asks for the password in the clear over a connection without TLS")
                .hint(
                    "Set sslmode=require or stronger in the shard's URL, or scram-sha-256 in the server's pg_hba.conf. \
                 require_auth=password in the URL sends it all the same.",
                ));
        }
        let password = password::find(self.target).await?;
        put_password(output, password.reveal().as_bytes());
        self.stage = Stage::Sent;
        Ok(())
    }

    async fn md5(&mut self, data: &[u8], output: &mut BytesMut) -> Result<()> {
        self.permit(Method::Md5, "md5")?;
        self.require_binding()?;
        let salt = data.try_into().map_err(|_| violation("an md5 salt must have four bytes"))?;
        let password = password::find(self.target).await?;
        let hash = md5_hash(self.target.user.as_bytes(), password.reveal().as_bytes(), salt);
        put_password(output, hash.as_bytes());
        self.stage = Stage::Sent;
        Ok(())
    }

    async fn scram_first(&mut self, data: &[u8], channel: Channel<'_>, output: &mut BytesMut) -> Result<()> {
        self.permit(Method::Scram, "scram-sha-256")?;
        let offered = |mechanism: &str| data.split(|byte| *byte == 0).any(|name| name == mechanism.as_bytes());
        let wanted = self.target.channel_binding != ChannelBindingMode::Disable;
        let hash = channel.certificate.filter(|_| wanted).and_then(end_point_hash);
        let (mechanism, binding) = match hash {
            Some(hash) if offered(SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash))
            }
            // Tells the server that we would have bound, so that it notices if its offer was taken out on the way.
            Some(_) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        };
        if mechanism != SCRAM_SHA_256_PLUS {
            self.require_binding()?;
            if !offered(SCRAM_SHA_256) {
                return Err(self.refused("the server offers no SASL mechanism that shardd knows"));
            }
        }
        let password = password::find(self.target).await?;
        let scram = ScramSha256::new(password.reveal().as_bytes(), binding);
        put_message(output, |output| {
            output.put_slice(mechanism.as_bytes());
            output.put_u8(0);
            output.put_u32(scram.message().len() as u32);
            output.put_slice(scram.message());
        });
        self.stage = Stage::ScramFirst(Box::new(scram));
        Ok(())
    }

    async fn scram_final(&mut self, mut scram: Box<ScramSha256>, data: Bytes, output: &mut BytesMut) -> Result<()> {
        // Thousands of rounds of a hash: milliseconds that the clients of this thread must not wait for.
        let computed = tokio::task::spawn_blocking(move || scram.update(&data).map(|()| scram)).await;
        let scram = computed
            .map_err(|error| Error::internal(format!("a login's computation did not end: {error}")))?
            .map_err(|error| violation(format_args!("SCRAM: {error}")))?;
        put_message(output, |output| output.put_slice(scram.message()));
        self.stage = Stage::ScramFinal(scram);
        Ok(())
    }

    fn permit(&self, method: Method, word: &str) -> Result<()> {
        match &self.target.methods {
            Some(methods) if !methods.contains(&method) => Err(self
                .refused(&format!("the server asks for the login method \"{word}\", which require_auth does not allow"))
                .hint("Change require_auth in the shard's URL, or the method in the server's pg_hba.conf.")),
            _ => Ok(()),
        }
    }

    /// Of a login that is not bound to the channel.
    fn require_binding(&self) -> Result<()> {
        match self.target.channel_binding {
            ChannelBindingMode::Require => Err(self
                .refused("channel_binding=require, and the server does not bind the login to the connection")
                .hint("Use scram-sha-256 over TLS (hostssl) in the server's pg_hba.conf.")),
            _ => Ok(()),
        }
    }

    fn unproven(&self, error: &std::io::Error) -> Error {
        self.refused(&format!("the server did not prove that it knows the password: {error}")).hint(
            "Something between may pretend to be the server. Check the shard's address, and use sslmode=verify-full.",
        )
    }

    fn unsupported(&self, code: u32) -> Error {
        let name = match code {
            2 => "Kerberos V5",
            7 | 8 => "GSSAPI",
            9 => "SSPI",
            11 | 12 => return violation("an authentication message is out of turn"),
            _ => "one that shardd does not know",
        };
        self.refused(&format!("the server asks for the login method {name}"))
            .hint("Use scram-sha-256 for shardd's user in the server's pg_hba.conf.")
    }

    fn refused(&self, reason: &str) -> Error {
        Error::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            format!("cannot log in at {}: {reason}", self.target.address()),
        )
        .fault(Fault::Proxy)
    }
}

fn put_password(output: &mut BytesMut, password: &[u8]) {
    put_message(output, |output| {
        output.put_slice(password);
        output.put_u8(0);
    });
}

fn put_message(output: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    output.put_u8(b'p');
    let begin = output.len();
    output.put_u32(0);
    write(output);
    let length = (output.len() - begin) as u32;
    output[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
}
