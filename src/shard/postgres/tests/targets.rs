//! What a URL means, and what is refused.

use proptest::prelude::*;

use super::super::target::{ChannelBindingMode, Host, Method, PasswordSource, RootCertificates, Secret, SslMode};
use super::*;

fn parsed(url: &str) -> Target {
    Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn a_url_gives_host_port_user_password_and_database() {
    let target = parsed("postgresql://app:s%40cret%2F%3A%25@db-1.internal:6000/tick%20ets");
    assert_eq!(target.host, Host::Tcp("db-1.internal".to_owned()));
    assert_eq!((target.port, target.user(), target.database()), (6000, "app", "tick ets"));
    assert_eq!(target.password, PasswordSource::Url(Secret::new("s@cret/:%".to_owned())));
    assert_eq!(target.tls.mode, SslMode::Prefer);
    assert_eq!(target.application_name, "shardd");
}

#[test]
fn what_is_left_out_has_libpq_s_defaults() {
    let target = parsed("postgres://app@db");
    assert_eq!((target.port, target.database(), target.password.clone()), (5432, "app", PasswordSource::Nowhere));
    assert_eq!(target.connect_timeout, None);
    assert_eq!(parsed("postgres://app:@db/?").password, PasswordSource::Nowhere);
    assert_eq!(parsed("postgres://app:a:b@db").password, PasswordSource::Url(Secret::new("a:b".to_owned())));
}

#[test]
fn addresses_and_sockets_are_hosts() {
    for (url, host, address) in [
        ("postgres://app@10.0.0.7", Host::Tcp("10.0.0.7".to_owned()), "10.0.0.7:5432"),
        ("postgres://app@[::1]:6000/x", Host::Tcp("::1".to_owned()), "[::1]:6000"),
        ("postgres://app@[fe80::1%25eth0]", Host::Tcp("fe80::1%eth0".to_owned()), "[fe80::1%eth0]:5432"),
        ("postgres://app@db_1/x", Host::Tcp("db_1".to_owned()), "db_1:5432"),
        ("postgres:///x?host=/run/pg&user=app&port=6000", Host::Unix("/run/pg".into()), "/run/pg/.s.PGSQL.6000"),
        ("postgres://app@%2Frun%2Fpg/x", Host::Unix("/run/pg".into()), "/run/pg/.s.PGSQL.5432"),
        ("postgres://app@%2frun%2fpg:6000/x", Host::Unix("/run/pg".into()), "/run/pg/.s.PGSQL.6000"),
    ] {
        let target = parsed(url);
        assert_eq!((target.host.clone(), target.address().as_str()), (host, address), "{url}");
    }
}

#[test]
fn options_are_libpq_s() {
    let target = parsed(
        "postgres://app@db/x?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem&connect_timeout=3\
         &application_name=my%20app&options=-c%20a=b&channel_binding=require&require_auth=scram-sha-256,md5\
         &password_file=/run/secrets/p",
    );
    assert_eq!(target.tls.mode, SslMode::VerifyFull);
    assert_eq!(target.tls.roots, RootCertificates::File("/ca.pem".into()));
    assert_eq!(target.tls.identity, Some(("/c.pem".into(), "/k.pem".into())));
    assert_eq!(target.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!((target.application_name.as_str(), target.options.as_deref()), ("my app", Some("-c a=b")));
    assert_eq!(target.channel_binding, ChannelBindingMode::Require);
    assert_eq!(target.methods, Some(vec![Method::Scram, Method::Md5]));
    assert_eq!(target.password, PasswordSource::File("/run/secrets/p".into()));
    assert_eq!(parsed("postgres://a@db?sslmode=require&sslrootcert=/ca.pem").tls.mode, SslMode::VerifyCa);
    assert_eq!(parsed("postgres://a@db?connect_timeout=0").connect_timeout, None);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_reason() {
    use TargetError::*;
    for (url, error) in [
        ("mysql://a@db", Scheme),
        ("host=db user=a", Scheme),
        ("postgres://a:can@ary@db/x", Login),
        ("postgres://a:can/ary@db/x", Login),
        ("postgres://a:%zz@db/x", Encoding),
        ("postgres://a:%4@db/x", Encoding),
        ("postgres://a:%00@db/x", Encoding),
        ("postgres://a:%ff@db/x", Encoding),
        ("postgres://a@/x", NoHost),
        ("postgres:///x?user=a", NoHost),
        ("postgres://a@db1,db2/x", SeveralHosts),
        ("postgres://a@db1:1,db2:2/x", SeveralHosts),
        ("postgres://a@db:1,2/x", SeveralHosts),
        ("postgres://a@::1/x", Host),
        ("postgres://a@[::1/x", Host),
        ("postgres://a@[db]/x", Host),
        ("postgres://a@[::1]x/x", Host),
        ("postgres://a@d b/x", Host),
        ("postgres://a@db:/x", Port),
        ("postgres://a@db:0/x", Port),
        ("postgres://a@db:65536/x", Port),
        ("postgres://a@db:+1/x", Port),
        ("postgres://db/x", NoUser),
        ("postgres://a@db/x/y", Database),
        ("postgres://a@db/x?sslmode", OptionForm),
        ("postgres://a@db/x?sslmode=a=b", OptionForm),
        ("postgres://a@db/x?ssl=true", UnknownOption("ssl".to_owned())),
        ("postgres://a@db/x?a%20b=true", UnknownOption("***".to_owned())),
        ("postgres://a@db/x?host=other", Twice("host")),
        ("postgres://a@db/x?sslmode=require&sslmode=disable", Twice("sslmode")),
        ("postgres://a@db/x?sslmode=full", Value("sslmode", "disable, prefer, require, verify-ca or verify-full")),
        ("postgres://a@db/x?connect_timeout=-1", Value("connect_timeout", "a number of seconds up to 3600")),
        ("postgres://a:b@db/x?password_file=/p", SeveralPasswords),
        ("postgres://a@db/x?sslcert=/p", HalfIdentity),
        ("postgres://a@db/x?sslmode=verify-full", NoRootCertificates("verify-full")),
        ("postgres://a@db/x?sslmode=require&sslrootcert=system", WeakSystemRoots),
        ("postgres://a@db/x?channel_binding=require", BindingWithoutTls),
    ] {
        assert_eq!(Target::parse(url), Err(error), "{url}");
    }
}

#[test]
fn neither_a_target_nor_an_error_shows_a_password() {
    for url in [
        "postgres://a:canary@db/x",
        "postgres://a@db/x?password=canary",
        "postgres://a:can?canary=x@db/x",
        "postgres://a:12?canary=x@db/x",
        "postgres://a:x/canary@db:y/x",
        "postgres://a:b@canary@db/x",
        "postgres://a:canary%@db/x",
    ] {
        let shown = match Target::parse(url) {
            Ok(target) => format!("{target} {target:?} {:?}", target.password),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains("canary"), "{url}: {shown}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(postgres://)?[a%2F0:@/?&=\\[\\]\\PC]{0,40}") {
        let _ = Target::parse(&text);
    }

    #[test]
    fn a_password_of_any_characters_arrives(password in "[^\0]{1,20}") {
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let target = parsed(&format!("postgres://a:{encoded}@db/x"));
        prop_assert_eq!(target.password, PasswordSource::Url(Secret::new(password)));
    }
}
