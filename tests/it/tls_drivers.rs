//! Drivers over TLS: each with its own TLS library, verifying the server, binding the channel and showing certificates. Each
//! runs on Postgres first, which shows that the script is right, and then on shardd.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{ChannelBinding as Binding, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::drivers::driver;
use crate::support::client::DATABASE;
use crate::support::tls::{Authority, Identity};
use crate::support::{Postgres, Shardd};

/// Servers that require TLS, with `app`, who has a password, and `robot`, who has a certificate.
struct Secured {
    authority: Authority,
    postgres: Postgres,
    shardd: Shardd,
    robot: Identity,
}

impl Secured {
    fn start() -> Secured {
        let authority = Authority::new();
        authority.serve_as(&["localhost"]);
        let robot = authority.client("robot");
        let verifier = postgres_protocol::password::scram_sha_256(b"secret");
        let postgres = Postgres::start_secured(&authority);
        let shardd = Shardd::start_with(&format!(
            "{}required = true\n[[users]]\nname = 'app'\nverifier = '{verifier}'\n[[users]]\nname = 'robot'\n\
             authentication = 'certificate'\n",
            authority.configuration()
        ));
        Secured { authority, postgres, shardd, robot }
    }

    /// The ports, and whether TLS may begin directly there: with Postgres since version 17.
    fn servers(&self) -> [(u16, bool); 2] {
        [(self.postgres.port, false), (self.shardd.ports.postgres, true)]
    }

    fn completes(&self, command: impl Fn() -> Command) {
        for (port, directly) in self.servers() {
            self.completes_on(port, directly, command());
        }
    }

    fn completes_on(&self, port: u16, directly: bool, mut command: Command) {
        command.env("PGPORT", port.to_string()).env("PGDATABASE", DATABASE);
        if directly {
            command.env("TLS_DIRECTLY", "yes");
        }
        command.env("TLS_ROOT", self.authority.root());
        command.env("TLS_CERTIFICATE", &self.robot.certificate).env("TLS_KEY", &self.robot.key);
        // Nothing of the home directory of whoever runs the tests.
        command.env("HOME", self.shardd.directory());
        let output = command.stdin(Stdio::null()).output().expect("the client runs");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stdout.contains("flow complete"), "{stdout}\n{stderr}");
    }
}

#[test]
fn psycopg_encrypts_and_binds() {
    Secured::start().completes(|| driver("python", "psycopg_tls.py"));
}

#[test]
fn asyncpg_encrypts() {
    Secured::start().completes(|| driver("python", "asyncpg_tls.py"));
}

#[test]
fn node_postgres_encrypts_and_binds() {
    Secured::start().completes(|| driver("node", "node_tls.mjs"));
}

/// What tokio-postgres needs to encrypt with rustls.
#[derive(Clone)]
struct Rustls(Arc<ClientConfig>);

struct Connect(Rustls, ServerName<'static>);

struct Encrypted<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Rustls {
    type Stream = Encrypted<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connect> {
        let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
        Ok(Connect(self.clone(), name))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connect {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let Connect(Rustls(config), name) = self;
        Box::pin(async move { Ok(Encrypted(TlsConnector::from(config).connect(name, stream).await?)) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates().expect("a certificate");
        ChannelBinding::tls_server_end_point(Sha256::digest(&certificates[0]).to_vec())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}

#[test]
fn tokio_postgres_encrypts_and_binds() {
    let secured = Secured::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rustls = |identity| {
        let mut config = secured.authority.client_config(identity);
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Rustls(Arc::new(config))
    };
    let answers = |config: &tokio_postgres::Config, tls: Rustls| {
        runtime.block_on(async {
            let (client, connection) = config.connect(tls).await?;
            let driving = tokio::spawn(connection);
            // Many statements under way at the same time, with answers of some size.
            let long = "y".repeat(200_000);
            let statement = client.prepare("SELECT $1::text || $2::text").await?;
            let client = Arc::new(client);
            let mut queries = tokio::task::JoinSet::new();
            for n in 0..50 {
                let (client, statement, long) = (Arc::clone(&client), statement.clone(), long.clone());
                queries.spawn(async move {
                    let number = n.to_string();
                    let row = client.query_one(&statement, &[&number, &long]).await.expect("a row");
                    assert_eq!(row.get::<_, &str>(0), format!("{number}{long}"));
                });
            }
            queries.join_all().await;
            drop(client);
            driving.await.expect("no panic")
        })
    };
    for (port, directly) in secured.servers() {
        let mut config = tokio_postgres::Config::new();
        config.host("localhost").hostaddr([127, 0, 0, 1].into()).port(port);
        config.dbname(DATABASE).user("app").password("secret").ssl_mode(SslMode::Require);
        let begins = [SslNegotiation::Postgres, SslNegotiation::Direct];
        for negotiation in begins.into_iter().take(1 + usize::from(directly)) {
            for binding in [Binding::Require, Binding::Prefer, Binding::Disable] {
                let config = config.clone().channel_binding(binding).ssl_negotiation(negotiation).to_owned();
                answers(&config, rustls(None)).expect("rows");
            }
        }
        let robot = config.clone().user("robot").to_owned();
        answers(&robot, rustls(Some(&secured.robot))).expect("rows");
        let refused = answers(&robot, rustls(None)).expect_err("no certificate");
        assert_eq!(refused.code().map(|code| code.code()), Some("28000"));
    }
}
