//! TLS to a shard: what is verified follows libpq's `sslmode`.
//!
//! The files are read for every connection, so that a renewed certificate is used without a restart.
//!
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::failure::{misconfigured, unreachable};
use super::stream::Stream;
use super::target::{Host, RootCertificates, SslMode, Target};
use crate::error::{Error, Result};

/// Where systems keep the certificates of the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

pub(super) async fn handshake(target: &Target, stream: TcpStream) -> Result<Stream> {
    let config = client_config(target).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(server_name(target)?, stream).await;
    let stream = stream.map_err(|error| {
        unreachable(target, format_args!("TLS failed: {error}")).hint(
            "Check the server's certificate (its authority against sslrootcert; its subjectAltName against the host \
             with sslmode=verify-full) and whether the server asks for sslcert and sslkey.",
        )
    })?;
    Ok(Stream::Tls(Box::new(stream)))
}

fn server_name(target: &Target) -> Result<ServerName<'static>> {
    let Host::Tcp(host) = &target.host else { return Err(Error::internal("TLS over a Unix socket")) };
    match ServerName::try_from(host.clone()) {
        Ok(name) => Ok(name),
        // Nobody compares it, and as an address it is not sent.
        Err(_) if target.tls.mode < SslMode::VerifyFull => Ok(IpAddr::from(Ipv4Addr::UNSPECIFIED).into()),
        Err(_) => Err(misconfigured(target, "the host's name cannot be that of a certificate")),
    }
}

async fn client_config(target: &Target) -> Result<ClientConfig> {
    let verifier = Arc::new(verifier(target).await?);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &target.tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(target, certificate, "sslcert").await?;
            let pem = read(target, key, "sslkey").await?;
            let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
                misconfigured(target, "the file of sslkey holds no private key in PEM form without a passphrase")
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| misconfigured(target, format_args!("sslcert and sslkey cannot be used: {error}")))?
        }
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

async fn verifier(target: &Target) -> Result<Verifier> {
    let check = match target.tls.mode {
        SslMode::VerifyFull => Check::ChainAndName,
        SslMode::VerifyCa => Check::Chain,
        _ => return Ok(Verifier { check: Check::Nothing, roots: RootCertStore::empty(), named: Vec::new() }),
    };
    let mut roots = RootCertStore::empty();
    let named = match &target.tls.roots {
        RootCertificates::File(path) => {
            let named = certificates(target, path, "sslrootcert").await?;
            for certificate in &named {
                roots.add(certificate.clone()).map_err(|error| {
                    misconfigured(target, format_args!("a certificate of sslrootcert cannot be used: {error}"))
                })?;
            }
            named
        }
        _ => {
            let bundle = SYSTEM_BUNDLES.into_iter().map(Path::new).find(|path| path.exists());
            let bundle = bundle.ok_or_else(|| {
                misconfigured(target, "sslrootcert=system: the machine has no bundle of trusted authorities")
                    .hint("Install ca-certificates, or name a file in sslrootcert.")
            })?;
            roots.add_parsable_certificates(certificates(target, bundle, "sslrootcert=system").await?);
            Vec::new()
        }
    };
    Ok(Verifier { check, roots, named })
}

async fn certificates(target: &Target, path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(target, path, option).await?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    certificates.ok().filter(|certificates| !certificates.is_empty()).ok_or_else(|| {
        misconfigured(target, format_args!("{} ({option}) holds no certificate in PEM form", path.display()))
    })
}

async fn read(target: &Target, path: &Path, option: &str) -> Result<Vec<u8>> {
    tokio::fs::read(path).await.map_err(|error| {
        misconfigured(target, format_args!("cannot read {} ({option} in the shard's URL): {error}", path.display()))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    roots: RootCertStore,
    /// The certificates of sslrootcert. A server that shows one of them itself is who the operator meant, though an
    /// authority's certificate is not one for servers: `openssl req -x509` makes such.
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = PROVIDER.signature_verification_algorithms.all;
        let signed = verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms);
        match signed {
            Err(error) if is_about_time(&error) || !self.named.contains(certificate) => return Err(error),
            _ => {}
        }
        if self.check == Check::ChainAndName {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

/// The verification looks at a certificate's time before anything that could be pardoned.
fn is_about_time(error: &TlsError) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        TlsError::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    )
}
