//! Whole configurations: what holds, what is refused, and what is never shown.

use std::sync::Arc;

use super::*;
use crate::topology::Topology;
use crate::types::KeyType;

mod access;

const SHIPPED: &str = include_str!("../../config/shardd.toml");
const REFERENCE: &str = include_str!("../../docs/configuration.md");
const SALT: [u8; 16] = [7; 16];

struct File(tempfile::TempDir);

impl File {
    fn new(text: &str) -> File {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("shardd.toml"), text).unwrap();
        File(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("shardd.toml")
    }

    fn sources(&self) -> Sources {
        Sources { path: Some(self.path()), ..Sources::default() }
    }

    fn beside(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn load(text: &str) -> Result<Config, ConfigErrors> {
    Config::load(&File::new(text).sources())
}

/// `LINE KEY: MESSAGE`
fn problems(text: &str) -> Vec<String> {
    let errors = load(text).expect_err("it should be refused");
    let line = |problem: &Problem| match &problem.origin {
        Origin::File { line, .. } => line.unwrap_or(0),
        _ => 0,
    };
    errors.problems.iter().map(|problem| format!("{} {}: {}", line(problem), problem.key, problem.message)).collect()
}

fn values(config: &Config) -> Vec<(String, String)> {
    config.shown().into_iter().map(|shown| (shown.key, shown.value)).collect()
}

/// The shipped file with its commented defaults switched on.
fn uncommented() -> String {
    let switch_on = |line: &'static str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()) => rest,
        _ => line,
    };
    SHIPPED.lines().map(switch_on).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_holds_the_defaults() {
    let defaults = values(&load("").unwrap());
    assert_eq!(values(&load(SHIPPED).unwrap()), defaults);
    assert_eq!(values(&load(&uncommented()).unwrap()), defaults);
    assert!(load(&uncommented()).unwrap().names_shards());
}

#[test]
fn the_shipped_file_names_every_setting() {
    let lines = file::parse(&uncommented()).lines;
    let nested = ["shards[3].weight", "keyspaces[0].key_type", "keyspaces[0].key_columns"].map(str::to_owned);
    for key in scalar_keys().chain(nested) {
        assert!(lines.contains_key(&key), "{key} is not in config/shardd.toml");
    }
}

#[test]
fn the_reference_names_every_setting_with_its_default() {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for setting in SETTINGS {
        let flag = setting.flag.map(|flag| format!(" Flag: `{flag}`.")).unwrap_or_default();
        table.push_str(&format!("| `{}` | `{}` | {}{flag} |\n", setting.key, setting.default, setting.meaning));
    }
    for limit in LIMIT_SETTINGS {
        let range = format!("From {} to {}.", limit.least, limit.most);
        table.push_str(&format!("| `limits.{}` | `{}` | {} {range} |\n", limit.name, limit.default, limit.meaning));
    }
    for setting in POOL_SETTINGS {
        let range = format!("From {} to {}.", setting.least, setting.most);
        table.push_str(&format!("| `pool.{}` | `{}` | {} {range} |\n", setting.name, setting.default, setting.meaning));
    }
    assert!(REFERENCE.contains(&table), "docs/configuration.md should hold this table:\n{table}");
    for key in [
        "name",
        "url",
        "weight",
        "replicas",
        "read_only",
        "key_column",
        "key_type",
        "key_columns",
        "shards",
        "verifier",
        "password_file",
        "authentication",
        "certificate_name",
        "require_tls",
        "max_clients",
    ] {
        assert!(REFERENCE.contains(&format!("| `{key}` |")), "{key} is not in docs/configuration.md");
    }
    for variable in ["SHARDD_CONFIG", "SHARDD_DATA_DIR", "SHARDD_LISTEN_POSTGRES", "SHARDD_LIMITS_MAX_CLIENTS"] {
        assert!(REFERENCE.contains(variable), "{variable} is not in docs/configuration.md");
    }
    let defaults = load("").unwrap();
    let shown = defaults.shown();
    for setting in SETTINGS {
        let value = shown.iter().find(|shown| shown.key == setting.key).map(|shown| shown.value.as_str());
        assert_eq!(value, Some(setting.default), "{}", setting.key);
    }
}

#[test]
fn every_problem_is_told_at_once_with_its_line_and_key() {
    let text = "\
data_dir = 'data'
colour = 'red'
[listen]
postgres = '6432'
http = '127.0.0.1:8433'
[limits]
max_clients = 0
kv_value_max_bytes = 0
[catalog]
url = 'postgres://db/catalog'
[[keyspaces]]
name = 'kv'
key_type = 'money'
[[shards]]
name = 'Shard 1'
url = 'sqlite:data/a.db'
[[shards]]
name = 'b'
url = 'sqlite:./data//a.db'
weight = -1
[[shards]]
url = 'mysql://db'
[[users]]
name = 'app'
";
    let problems = problems(text);
    let starts = [
        "2 colour: unknown key",
        "4 listen.postgres: this should be IP:PORT",
        "5 listen.http: listen.admin has this port",
        "7 limits.max_clients: this should be from 1 to",
        "8 limits.kv_value_max_bytes: this should be from 1 to",
        "10 catalog.url: a catalog on a Postgres server is not supported yet",
        "12 keyspaces[0].name: \"kv\" is the HTTP door's own",
        "11 keyspaces[0].key_column: the keyspace needs a key column",
        "13 keyspaces[0].key_type: this should be",
        "15 shards[0].name: a shard's name is",
        "19 shards[1].url: another shard has this URL",
        "20 shards[1].weight: this should be from 0 to 100",
        "21 shards[2].name: the shard needs a name",
        "22 shards[2].url: it is neither",
        "24 users[0].name: the user needs a verifier",
    ];
    for start in starts {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}\n{problems:#?}");
    }
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    let report = check_report(&load(text));
    assert!(report.contains("shardd.toml:2: colour: unknown key"), "{report}");
    assert!(report.ends_with("the configuration has 15 problems\n"), "{report}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = File::new("database = 'from_file'\ndata_dir = 'from_file'\n[limits]\nmax_clients = 5\n");
    let mut sources = file.sources();
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    sources.environment = vec![
        variable("SHARDD_DATA_DIR", "from_environment"),
        variable("SHARDD_LIMITS_MAX_CLIENTS", "6"),
        variable("SHARDD_LISTEN_HTTP", "localhost:0"),
        variable("SHARDD_ALLOW_INSECURE_LISTENER", "true"),
        variable("SHARDD_LISTEN_ALLOWED_HOSTS", "shardd.internal, db"),
        variable("SHARDD_PORT_8432_TCP", "tcp://10.0.0.1:8432"),
        variable("PATH", "/bin"),
    ];
    sources.flags = vec![("data_dir", "/from/flag".to_owned())];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.database, "from_file");
    assert_eq!(config.data_dir, Path::new("/from/flag"));
    assert_eq!(config.limits.max_clients, 6);
    assert_eq!(config.listen.http, "127.0.0.1:0".parse().unwrap());
    assert!(config.allow_insecure_listener);
    assert_eq!(config.allowed_hosts, ["shardd.internal", "db"]);
    assert_eq!(config.catalog_url.to_text(), "sqlite:/from/flag/catalog.db");
    assert_eq!(config.shards[3].url.to_text(), "sqlite:/from/flag/shard-4.db");
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("SHARDD_PORT_8432_TCP"));

    let report = config.show_report();
    for line in ["# --data-dir", "# SHARDD_LIMITS_MAX_CLIENTS", "shardd.toml:1", "# default"] {
        assert!(report.contains(line), "{line}\n{report}");
    }

    sources.environment = vec![variable("SHARDD_LIMITS_MAX_CLIENTS", "many")];
    let errors = Config::load(&sources).unwrap_err();
    assert_eq!(
        errors.problems[0].to_string(),
        "SHARDD_LIMITS_MAX_CLIENTS: limits.max_clients: this should be a whole number, not negative"
    );
}

#[test]
fn a_door_that_lets_everybody_in_stays_on_loopback() {
    let everywhere = "[listen]\npostgres = '0.0.0.0:6432'\nhttp = '[::]:8432'\nadmin = '192.0.2.1:8433'\n";
    let refused = problems(everywhere);
    assert_eq!(refused.len(), 3, "{refused:#?}");
    assert!(refused.iter().all(|problem| problem.contains("allow_insecure_listener = true")), "{refused:#?}");
    let file = File::new("");
    let password_file = file.beside("password", "secret\n");
    let token_file = file.beside("token", "0123456789abcdef\n");
    let user = format!("[[users]]\nname = 'app'\npassword_file = '{password_file}'\n");
    let token = format!("[[tokens]]\nuser = 'app'\ntoken_file = '{token_file}'\n");
    let admin = format!("[admin]\ntoken_file = '{token_file}'\n");
    let left = |protection: &str| -> Vec<String> {
        let problems = problems(&format!("{everywhere}{protection}"));
        problems.iter().filter_map(|problem| problem.split([' ', ':']).nth(1).map(str::to_owned)).collect()
    };
    let tls = tls_section(&file);
    assert_eq!(left(&user), ["listen.postgres", "listen.admin"], "its rows can be read on their way");
    assert_eq!(left(&tls), ["listen.postgres", "listen.http", "listen.admin"], "encrypted for anybody");
    assert_eq!(left(&format!("{tls}{user}")), ["listen.admin"]);
    assert_eq!(left(&token), ["listen.postgres", "listen.admin"]);
    assert_eq!(left(&admin), ["listen.postgres", "listen.http"]);
    load(&format!("{everywhere}{tls}{user}{admin}")).unwrap();
    load(&format!("allow_insecure_listener = true\n{everywhere}")).unwrap();
    load(&format!("{user}[listen]\npostgres = '0.0.0.0:6432'\n")).unwrap_err();
    load(&format!("{tls}{user}[listen]\npostgres = '0.0.0.0:6432'\n")).unwrap();
    load("[listen]\npostgres = '[::1]:6432'\n").unwrap();
}

#[test]
fn a_user_has_a_verifier_or_a_file_that_makes_one() {
    let file = File::new("");
    let verifier = Verifier::from_password("canary-1", SALT);
    let files =
        [("plain", "canary-1\n"), ("two-lines", "canary-1\nx\n"), ("empty", ""), ("half", "SCRAM-SHA-256$4096:x")];
    let [plain, two_lines, empty, half] = files.map(|(name, text)| file.beside(name, text));
    let made = file.beside("made", &format!("{verifier}\n"));
    let config = load(&format!(
        "[[users]]\nname = 'a'\nverifier = '{verifier}'\n[[users]]\nname = 'b'\npassword_file = '{made}'\n\
         [[users]]\nname = 'c'\npassword_file = '{plain}'\n"
    ))
    .unwrap();
    let expected = Credential::Password(verifier);
    assert_eq!(config.users[0].credential, expected);
    assert_eq!(config.users[1].credential, expected);
    assert_ne!(config.users[2].credential, expected, "its salt is random");

    let refused = problems(&format!(
        "[[users]]\nname = 'a'\nverifier = 'canary-2'\n[[users]]\nname = 'b'\npassword_file = '{two_lines}'\n\
         [[users]]\nname = 'c'\npassword_file = '{empty}'\n[[users]]\nname = 'd'\npassword_file = '{half}'\n\
         [[users]]\nname = 'e'\npassword_file = '/nowhere/at/all'\n[[users]]\nname = 'a'\npassword_file = '{plain}'\n"
    ));
    let starts =
        ["3 users[0].verifier", "6 users[1].password_file", "9 users[2].password_file", "12 users[3].password_file"];
    for start in starts.into_iter().chain(["15 users[4].password_file", "17 users[5].name: another user"]) {
        assert!(refused.iter().any(|problem| problem.starts_with(start)), "{start}\n{refused:#?}");
    }
    assert_eq!(refused.len(), 6, "{refused:#?}");
}

/// `[listen.tls]` with a certificate made for the test.
fn tls_section(file: &File) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (certificate_file, key_file) =
        (file.beside("server.pem", &certificate.pem()), file.beside("server.key", &key.serialize_pem()));
    format!("[listen.tls]\ncertificate_file = '{certificate_file}'\nkey_file = '{key_file}'\n")
}

#[test]
fn tls_files_are_read_before_anything_starts() {
    let file = File::new("");
    let section = tls_section(&file);
    let config = load(&format!("{section}required = true\n")).unwrap();
    assert!(config.require_tls && config.tls.is_some());
    assert!(config.show_report().contains("listen.tls.required = true"));

    let junk = file.beside("junk", "canary\n");
    let certificate = file.beside("server.pem", &std::fs::read_to_string(file.0.path().join("server.pem")).unwrap());
    for (text, start) in [
        ("required = true".to_owned(), "2 listen.tls.required: nothing can be encrypted"),
        (format!("certificate_file = '{certificate}'"), "2 listen.tls.certificate_file: the certificate needs its key"),
        (format!("key_file = '{junk}'"), "2 listen.tls.key_file: the key needs its certificate"),
        (format!("client_ca_file = '{junk}'"), "2 listen.tls.client_ca_file: clients can show certificates only"),
        (format!("certificate_file = '{certificate}'\nkey_file = '{junk}'"), "3 listen.tls.key_file: /"),
        (format!("certificate_file = '{junk}'\nkey_file = '{junk}'"), "2 listen.tls.certificate_file: /"),
    ] {
        let refused = problems(&format!("[listen.tls]\n{text}\n"));
        assert!(refused.len() == 1 && refused[0].starts_with(start), "{start}\n{refused:#?}");
        assert!(!refused[0].contains("canary"));
    }
    let refused = problems(&format!("{section}client_ca_file = '{junk}'\n"));
    assert!(refused.len() == 1 && refused[0].starts_with("4 listen.tls.client_ca_file: /"), "{refused:#?}");
}

#[test]
fn a_user_s_certificate_and_limits_are_checked() {
    let file = File::new("");
    let section = tls_section(&file);
    let with_authority = format!("{section}client_ca_file = '{}'\n", file.0.path().join("server.pem").display());
    let verifier = Verifier::from_password("x", SALT);
    let user = |more: &str| format!("[[users]]\nname = 'app'\n{more}\n");
    let credential = |more: &str| load(&format!("{with_authority}{}", user(more))).unwrap().users[0].credential.clone();
    assert_eq!(credential("authentication = 'certificate'"), Credential::Certificate("app".to_owned()));
    let both = format!("authentication = 'both'\ncertificate_name = 'app.internal'\nverifier = '{verifier}'");
    assert_eq!(credential(&both), Credential::Both(verifier.clone(), "app.internal".to_owned()));
    let limited =
        load(&format!("{section}{}", user(&format!("verifier = '{verifier}'\nrequire_tls = true\nmax_clients = 3"))));
    let limited = limited.unwrap().users[0].clone();
    assert!(limited.require_tls && limited.max_clients == Some(3));

    let password = format!("verifier = '{verifier}'\n");
    for (more, start) in [
        ("authentication = 'certificate'".to_owned(), "3 users[0].authentication: no client's certificate"),
        (format!("{password}require_tls = true"), "4 users[0].require_tls: nothing can be encrypted"),
        (format!("{password}max_clients = 0"), "4 users[0].max_clients: this should be 1 or more"),
        (format!("{password}authentication = 'md5'"), "4 users[0].authentication: this should be"),
        (format!("{password}certificate_name = 'x'"), "4 users[0].certificate_name: a certificate is not looked at"),
        ("require_tls = false".to_owned(), "2 users[0].name: the user needs a verifier"),
    ] {
        let refused = problems(&user(&more));
        assert!(refused.len() == 1 && refused[0].starts_with(start), "{start}\n{refused:#?}");
    }
    let refused = problems(&format!("{with_authority}{}", user(&format!("{password}authentication = 'certificate'"))));
    assert!(refused[0].contains("no password is asked for"), "{refused:#?}");
}

#[test]
fn a_token_is_long_and_on_one_line() {
    let file = File::new("");
    let good = file.beside("good", "0123456789abcdef\n");
    let bad = [
        ("short", "0123456789\n"),
        ("spaced", "0123456789 abcdef\n"),
        ("lines", "0123456789abcdef\nx"),
        ("empty", "\n"),
    ];
    for (name, text) in bad {
        let path = file.beside(name, text);
        let refused =
            problems(&format!("[admin]\ntoken_file = '{path}'\n[[tokens]]\nuser = 'a'\ntoken_file = '{path}'\n"));
        assert_eq!(refused.len(), 2, "{refused:#?}");
        assert!(refused[0].starts_with("2 admin.token_file") && refused[1].starts_with("5 tokens[0].token_file"));
    }
    let config =
        load(&format!("[admin]\ntoken_file = '{good}'\n[[tokens]]\nuser = 'a'\ntoken_file = '{good}'\n")).unwrap();
    assert_eq!(config.tokens[0].token.reveal(), "0123456789abcdef");
    assert_eq!(config.admin_token.unwrap().reveal(), "0123456789abcdef");
    assert_eq!(problems("[[tokens]]\n").len(), 2);
    assert_eq!(problems("[listen]\nallowed_hosts = ['a b', '', 'ok.example']\n").len(), 2);
}

#[test]
fn no_secret_is_ever_printed() {
    let file = File::new("");
    let verifier = Verifier::from_password("canary", SALT);
    let password_file = file.beside("password", "canary-password\n");
    let token_file = file.beside("token", "canary-token-canary-token\n");
    let text = format!(
        "[[users]]\nname = 'a'\nverifier = '{verifier}'\n[[users]]\nname = 'b'\npassword_file = '{password_file}'\n\
         [[tokens]]\nuser = 'a'\ntoken_file = '{token_file}'\n[admin]\ntoken_file = '{token_file}'\n"
    );
    let config = load(&text).unwrap();
    let keys = verifier.to_string();
    let stored = keys.rsplit('$').next().unwrap();
    let json = serde_json::to_string(&config.shown()).unwrap();
    for shown in [format!("{config:?}"), format!("{config:#?}"), config.show_report(), json, check_report(&Ok(config))]
    {
        assert!(!shown.contains("canary") && !shown.contains(stored), "{shown}");
        assert!(!shown.is_empty());
    }

    let server = load("[[shards]]\nname = 'a'\nurl = 'postgres://app:canary@db/x'\n").unwrap();
    assert!(!format!("{server:?}{}", server.show_report()).contains("canary"));

    for wrong in [
        "[[shards]]\nname = 'a'\nurl = 'mysql://app:canary@db/x'\n",
        "[catalog]\nurl = 'postgres://app:canary@db/x'\n",
        "[[users]]\nname = 'a'\nverifier = 'canary'\n",
        "[[users]]\nname = 'a'\npassword = 'canary'\n",
        "[[users]]\nname = 'a'\nverifier = ['canary']\n",
        "[limits]\nmax_clients = 'canary'\n",
        "users = 'canary'\n",
        "[[users]]\nname = 'a'\nverifier = 'canary\n",
        "[listen]\npostgres = 'canary'\n",
    ] {
        let result = load(wrong);
        assert!(result.is_err(), "{wrong}");
        let told = format!("{}{result:?}", check_report(&result));
        assert!(!told.contains("canary"), "{told}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_the_one_problem() {
    let named = |path: PathBuf| Config::load(&Sources { path: Some(path), ..Sources::default() }).unwrap_err();
    let missing = named("/nowhere/shardd.toml".into()).to_string();
    assert!(missing.starts_with("/nowhere/shardd.toml: cannot read the configuration file"), "{missing}");
    let file = File::new("");
    let long = file.beside("long.toml", &"#".repeat(file::FILE_MAX_BYTES as usize + 1));
    assert!(named(long.into()).to_string().contains("longer than"));
    std::fs::write(file.path(), b"database = '\xff'").unwrap();
    assert_eq!(named(file.path()).problems.len(), 1);
    let by_variable = Sources {
        environment: vec![("SHARDD_CONFIG".to_owned(), "/nowhere/else.toml".to_owned())],
        ..Sources::default()
    };
    assert!(Config::load(&by_variable).unwrap_err().to_string().contains("/nowhere/else.toml"));
}

#[test]
fn keyspaces_lie_on_the_shards_they_name() {
    let text = "\
[[shards]]
name = 'a'
url = 'sqlite:data/a.db'
[[shards]]
name = 'b'
url = 'sqlite:data/b.db'
weight = 2
[[keyspaces]]
name = 'tickets'
key_column = 'event_id'
key_columns = { events = 'id' }
[[keyspaces]]
name = 'customers'
key_column = 'email'
key_type = 'varchar'
shards = ['b']
";
    let config = load(text).unwrap();
    let topology = Topology::first(&config.shards, &config.keyspaces).unwrap();
    assert_eq!(topology.keyspace("customers").unwrap().key_type, KeyType::Text);
    assert_eq!(topology.keyspace("customers").unwrap().shards.len(), 1);
    assert_eq!(topology.keyspace("tickets").unwrap().key_column_of("events"), "id");
    assert_eq!(topology.keyspaces.len(), 3, "the HTTP door's is there too");

    let refused = problems(&text.replace("['b']", "['b', 'c', 'b']"));
    assert_eq!(refused.len(), 2, "{refused:#?}");
    assert!(refused[0].contains("keyspaces[1].shards[1]: there is no shard of this name"), "{refused:#?}");
}

#[test]
fn a_difference_from_the_catalog_says_what_settles_it() {
    let text = "\
[[shards]]
name = 'a'
url = 'sqlite:data/a.db'
[[shards]]
name = 'b'
url = 'sqlite:data/b.db'
[[keyspaces]]
name = 'tickets'
key_column = 'event_id'
";
    let config = load(text).unwrap();
    let topology = Topology::first(&config.shards, &config.keyspaces).unwrap();
    assert_eq!(differences(&config, &topology), Vec::<String>::new());

    let changed = text.replace("data/a.db", "data/other.db").replace("'b'", "'c'").replace("event_id", "show_id");
    let found = differences(&load(&changed).unwrap(), &topology);
    let parts = [
        "shard a is at",
        "`shardctl add-shard c sqlite:data/b.db --weight 1`",
        "shard b is in the catalog",
        "event_id",
    ];
    for part in parts {
        assert!(found.iter().any(|line| line.contains(part)), "{part}\n{found:#?}");
    }
    assert_eq!(found.len(), parts.len(), "{found:#?}");

    let mut heavier = topology.clone();
    heavier.shards[0].weight = 3.0;
    Arc::make_mut(&mut heavier.keyspaces[0]).name = "gone".to_owned();
    assert_eq!(differences(&config, &heavier).len(), 3);
    assert_eq!(differences(&load("").unwrap(), &topology), Vec::<String>::new(), "defaults are compared with nothing");
}

#[test]
fn a_server_s_url_is_read_before_it_is_asked() {
    let shards = |urls: &[&str]| {
        let shard = |(number, url): (usize, &&str)| format!("[[shards]]\nname = 's{number}'\nurl = '{url}'\n");
        urls.iter().enumerate().map(shard).collect::<String>()
    };
    assert!(load(&shards(&["postgres://app@a/x", "postgres://app@b:5433/x?sslmode=require"])).is_ok());
    for (urls, problem) in [
        (&["postgres://app:canary@a/x?sslmode=alwayss"][..], "3 shards[0].url: sslmode must be disable, prefer"),
        (&["postgres://app:canary@a/x?ssl=on"], "3 shards[0].url: unknown option \"ssl\"; known are host"),
        (&["postgres://a/x"], "3 shards[0].url: it has no user"),
        (
            &["postgres://app@a/x?password_file=/nowhere"],
            "3 shards[0].url: its password's file /nowhere cannot be read",
        ),
        (
            &["postgres://app@a/x", "postgres://other:canary@a:5432/x?sslmode=disable"],
            "6 shards[1].url: another shard has this URL",
        ),
        (&["postgres://app@a/x", "sqlite:a.db"], "6 shards[1].url: the shards of a cluster are all"),
    ] {
        let problems = problems(&shards(urls));
        assert!(problems.iter().any(|told| told.starts_with(problem)), "{problem}: {problems:?}");
        assert!(!problems.join("").contains("canary"), "{problems:?}");
    }
}

#[test]
fn a_pool_keeps_no_more_connections_than_it_may_have() {
    assert_eq!(load("[pool]\nsize = 3\nminimum = 3\n").unwrap().pool.size, 3);
    let problems = problems("[pool]\nsize = 3\nminimum = 4\nqueue_clients = 100001\n");
    assert_eq!(
        problems,
        [
            "3 pool.minimum: this should not be more than pool.size",
            "4 pool.queue_clients: this should be from 0 to 100000"
        ]
    );
}
