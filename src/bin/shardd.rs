//! The server. Everything it does is in the library.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use shardd::config::{Config, Sources, check_report};
use shardd::server;

/// A sharding proxy: one DATABASE_URL in front of many SQLite files or Postgres servers.
#[derive(Parser)]
#[command(name = "shardd", version)]
struct Arguments {
    /// The configuration file [default: config/shardd.toml, which may be absent]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Where the shards' files and the catalog are [default: data]
    #[arg(long, global = true, value_name = "PATH")]
    data_dir: Option<String>,
    /// The Postgres door's address [default: 127.0.0.1:6432]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen_postgres: Option<String>,
    /// The address where clients keep their connections to Postgres shards, or "" [default: 127.0.0.1:6433]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen_postgres_session: Option<String>,
    /// The HTTP door's address [default: 127.0.0.1:8432]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen_http: Option<String>,
    /// The admin door's address [default: 127.0.0.1:8433]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen_admin: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Look at the configuration without starting
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Report every problem, each with its line
    Check,
    /// Print every setting in force, without secrets
    Show,
}

impl Arguments {
    fn sources(&self) -> Sources {
        let flags = [
            ("data_dir", &self.data_dir),
            ("listen.postgres", &self.listen_postgres),
            ("listen.postgres_session", &self.listen_postgres_session),
            ("listen.http", &self.listen_http),
            ("listen.admin", &self.listen_admin),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        Sources::of_process(self.config.clone(), flags.collect())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let sources = arguments.sources();
    let loaded = Config::load(&sources);
    match (&arguments.command, loaded) {
        (Some(Command::Config(ConfigCommand::Check)), loaded) => {
            say(&check_report(&loaded));
            if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        (_, Err(problems)) => fail(&format!("{problems}\nSee `shardd config check` and docs/configuration.md.")),
        (Some(Command::Config(ConfigCommand::Show)), Ok(config)) => {
            say(&config.show_report());
            ExitCode::SUCCESS
        }
        (None, Ok(config)) => serve(config, sources),
    }
}

fn serve(config: Config, sources: Sources) -> ExitCode {
    let logs = server::start_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let ended = runtime.block_on(server::run(config, sources, logs));
    // A disk that hangs keeps whoever opens a file on it; everything else has ended.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// A reader that has heard enough (`shardd config show | head`) is no failure.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn fail(message: &str) -> ExitCode {
    eprintln!("shardd: {message}");
    ExitCode::FAILURE
}
