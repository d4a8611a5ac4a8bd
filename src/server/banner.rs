//! What a newcomer sees first: where the server is, and what to try next.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Doors;
use crate::config::Config;
use crate::engine::Engine;

/// Where `shardctl` looks when it is not told.
const ADMIN_PORT: u16 = 8433;

/// Prints to standard output; logs go to standard error.
pub(super) fn print(config: &Config, doors: &Doors, engine: &Engine) {
    let addresses = Addresses {
        postgres: doors.postgres.local_addr(),
        session: doors.postgres.session_addr(),
        http: doors.http.address(),
        admin: doors.admin.address(),
    };
    let program = std::env::current_exe().unwrap_or_default();
    let shards = Shards {
        all: engine.live_topology().snapshot().shards.len(),
        down: engine.down().into_iter().map(|(id, ..)| engine.not_open(id).message().to_owned()).collect(),
    };
    let text = text(config, &addresses, &shards, &shardctl_of(&program));
    // A closed standard output is no reason to stop serving.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

struct Addresses {
    postgres: SocketAddr,
    session: Option<SocketAddr>,
    http: SocketAddr,
    admin: SocketAddr,
}

/// How many shards there are, and what is wrong with those that are down.
struct Shards {
    all: usize,
    down: Vec<String>,
}

impl Shards {
    /// `4 shards`, or `3 of 4 shards`.
    fn counted(&self) -> String {
        let noun = if self.all == 1 { "shard" } else { "shards" };
        match self.down.len() {
            0 => format!("{} {noun}", self.all),
            down => format!("{} of {} {noun}", self.all - down, self.all),
        }
    }

    /// A line for each that is down.
    fn troubles(&self) -> String {
        self.down.iter().map(|reason| format!("\n  DEGRADED: {reason}")).collect()
    }
}

fn text(config: &Config, addresses: &Addresses, shards: &Shards, shardctl: &str) -> String {
    let [postgres, http, admin] = [addresses.postgres, addresses.http, addresses.admin].map(reachable);
    let user = config.users.first().map_or("app", |user| user.name.as_str());
    let encrypted = config.require_tls || config.users.first().is_some_and(|user| user.require_tls);
    let url = format!(
        "postgres://{}@{postgres}/{}{}",
        url_part(user),
        url_part(&config.database),
        if encrypted { "?sslmode=require" } else { "" }
    );
    let data = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    format!(
        "\n  shardd {version} is ready: {counted}, data in {data}{troubles}\n\n    \
         DATABASE_URL={url}\n\n  Try next:\n    \
         psql {quoted}\n    \
         curl{login} -X PUT --data-binary hello http://{http}/v1/kv/greeting\n    \
         {shardctl}{options} status\n    \
         console: http://{admin}/\n{sessions}\n",
        version = env!("CARGO_PKG_VERSION"),
        quoted = shell_word(&url),
        counted = shards.counted(),
        troubles = shards.troubles(),
        data = data.display(),
        login = http_login(config),
        sessions = addresses.session.map(session_line).unwrap_or_default(),
        options = admin_options(config, admin),
    )
}

/// Where those go who need more than a transaction.
fn session_line(address: SocketAddr) -> String {
    format!("    migrations, LISTEN, temporary tables: port {} of the same host\n", address.port())
}

/// How curl says who asks. It prompts for a password that is not given.
fn http_login(config: &Config) -> String {
    match config.users.first() {
        Some(user) => format!(" -u {}", shell_word(&user.name)),
        None if config.tokens.is_empty() && config.auth_query.is_none() => String::new(),
        None => " -H 'Authorization: Bearer TOKEN'".to_owned(),
    }
}

fn admin_options(config: &Config, admin: SocketAddr) -> String {
    let usual = admin == SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT));
    let url = if usual { String::new() } else { format!(" --url http://{admin}") };
    let token = if config.admin_token.is_some() { " --token-file PATH" } else { "" };
    format!("{url}{token}")
}

/// An address that listens everywhere is reached on this machine by its loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Cargo runs one program and builds only that: a newcomer in the repository has no `shardctl` yet.
fn shardctl_of(program: &Path) -> String {
    let built_by_cargo = program.parent().is_some_and(|directory| {
        let profile = directory.file_name().unwrap_or_default();
        (profile == "release" || profile == "debug")
            && directory.parent().is_some_and(|parent| parent.ends_with("target"))
    });
    if built_by_cargo { "cargo run --release --bin shardctl --".to_owned() } else { "shardctl".to_owned() }
}

fn url_part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let escaped = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escaped).collect()
}

/// A word that a shell takes as it is.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b'/' | b':');
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Credential, Sources, User};
    use crate::wire::scram::Verifier;

    fn config() -> Config {
        Config::load(&Sources { path: Some("/dev/null".into()), ..Sources::default() }).unwrap()
    }

    fn listening(ip: &str) -> Addresses {
        let address = |port| SocketAddr::new(ip.parse().unwrap(), port);
        Addresses { postgres: address(6432), session: Some(address(6433)), http: address(8432), admin: address(8433) }
    }

    #[test]
    fn every_line_can_be_used_as_it_is() {
        let text = text(&config(), &listening("127.0.0.1"), &Shards { all: 5, down: Vec::new() }, "shardctl");
        for line in [
            "is ready: 5 shards, data in /",
            "    DATABASE_URL=postgres://app@127.0.0.1:6432/tickets\n",
            "    psql postgres://app@127.0.0.1:6432/tickets\n",
            "    curl -X PUT --data-binary hello http://127.0.0.1:8432/v1/kv/greeting\n",
            "    shardctl status\n",
            "    console: http://127.0.0.1:8433/\n",
            "    migrations, LISTEN, temporary tables: port 6433 of the same host\n",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn who_must_log_in_is_told_how() {
        let mut config = config();
        config.users = vec![User {
            name: "a b".into(),
            credential: Credential::Password(Verifier::from_password("x", [0; 16])),
            require_tls: true,
            max_clients: None,
            read_only: false,
        }];
        let text = text(&config, &listening("0.0.0.0"), &Shards { all: 1, down: Vec::new() }, "shardctl");
        assert!(
            text.contains("is ready: 1 shard, ")
                && text.contains("postgres://a%20b@127.0.0.1:6432/tickets?sslmode=require\n"),
            "{text}"
        );
        assert!(text.contains("curl -u 'a b' -X PUT --data-binary hello http://127.0.0.1:8432/"), "{text}");
    }

    #[test]
    fn shards_that_are_down_are_told() {
        let down = vec!["shard \"shard-2\" is down: its file is missing".to_owned()];
        let text = text(&config(), &listening("127.0.0.1"), &Shards { all: 4, down }, "shardctl");
        for part in
            ["is ready: 3 of 4 shards, data in /", "\n  DEGRADED: shard \"shard-2\" is down: its file is missing\n"]
        {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }

    #[test]
    fn shardctl_is_called_the_way_it_can_be() {
        assert_eq!(shardctl_of(Path::new("/src/target/release/shardd")), "cargo run --release --bin shardctl --");
        assert_eq!(shardctl_of(Path::new("/usr/local/bin/shardd")), "shardctl");
        let elsewhere = "127.0.0.1:9000".parse().unwrap();
        assert_eq!(admin_options(&config(), elsewhere), " --url http://127.0.0.1:9000");
    }
}
