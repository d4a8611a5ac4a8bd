//! What docker-compose.yml starts, as far as it can be tried without containers.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::client::{Client, USER};
use crate::support::{Postgres, Shardd, read};

/// The configuration of the compose file, with this machine's servers and secrets in the place of the containers'.
#[test]
fn the_composed_configuration_serves_three_postgres_shards() {
    let secrets = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(secrets.path().join("deploy")).expect("a directory");
    let script = secrets.path().join("deploy/make-secrets");
    std::fs::write(&script, read("deploy/make-secrets")).expect("a script");
    for _ in 0..2 {
        assert!(Command::new("sh").arg(&script).status().expect("sh runs").success());
    }
    let made = secrets.path().join("deploy/secrets");
    let password = std::fs::read_to_string(made.join("app_password")).expect("a password");
    assert_eq!(password.len(), 48);
    assert_ne!(password, std::fs::read_to_string(made.join("postgres_password")).expect("a password"));

    let postgres = Postgres::start();
    let mut configuration = read("deploy/shardd.toml").replace("/run/secrets", &made.display().to_string());
    for number in 1..=3 {
        postgres.client().run(&format!("CREATE DATABASE shard_{number}"));
        let inside = format!("shardd@postgres-{number}:5432/tickets");
        assert!(configuration.contains(&inside), "{inside}");
        configuration = configuration.replace(&inside, &format!("{USER}@127.0.0.1:{}/shard_{number}", postgres.port));
    }
    let shardd = Shardd::start_with(&configuration);
    let login = [("user", "app"), ("database", "tickets")];
    assert!(Client::connect_with(shardd.ports.postgres, &login).is_err(), "nobody comes in without the password");

    // The health check of the compose file.
    let compose = read("docker-compose.yml");
    let check = r#"["CMD", "/usr/local/bin/shardctl", "--token-file", "/run/secrets/admin_token", "status"]"#;
    assert!(compose.contains(check), "the health check has changed: change it here");
    let mut status = Command::new(env!("CARGO_BIN_EXE_shardctl"));
    status.arg("--token-file").arg(made.join("admin_token")).arg("status").env("SHARDCTL_URL", shardd.admin_url());
    let output = status.output().expect("shardctl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 of 3 shards up"));
}

/// The metrics that a text asks for.
fn asked_for(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("shardd_") || word.starts_with("process_"))
        .map(|word| word.trim_end_matches("_bucket"))
        .collect()
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_exist() {
    let reference = read("docs/metrics.md");
    let known: BTreeSet<&str> =
        reference.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)).collect();
    let dashboard = read("deploy/grafana/dashboards/shardd.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    for text in [dashboard, read("deploy/alerts.yml")] {
        let asked = asked_for(&text);
        assert!(!asked.is_empty());
        let unknown: Vec<&&str> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

/// What the services name of each other's, in words: no parser is needed to see that they agree.
#[test]
fn the_services_agree_on_their_names_and_files() {
    let compose = read("docker-compose.yml");
    for secret in ["postgres_password", "app_password", "admin_token", "grafana_password"] {
        assert!(compose.contains(&format!("{secret}: {{file: ./deploy/secrets/{secret}}}")), "{secret}");
        assert!(read("deploy/make-secrets").contains(secret), "{secret}");
    }
    assert!(read("deploy/prometheus.yml").contains("\"shardd:8433\"") && compose.contains("0.0.0.0:8433"));
    assert!(read("deploy/grafana/provisioning/datasources/prometheus.yml").contains("http://prometheus:9090"));
    assert!(compose.contains("max_prepared_transactions=") && compose.contains("--locale=C --encoding=UTF8"));
    let image = read("Dockerfile");
    assert!(image.contains("USER 65532:65532") && image.contains("--locked"), "{image}");
}
