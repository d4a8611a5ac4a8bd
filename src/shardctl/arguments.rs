//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  the server refused or failed
  2  the command line is wrong
  3  the server cannot be reached
  4  there is no such shard or table
  5  the server asks for a token, or for another one

Environment:
  SHARDCTL_URL    the admin door's address (as --url)
  SHARDCTL_TOKEN  the admin door's token
  NO_COLOR        no colours, when it is set and not empty";

const DEFAULT_URL: &str = "http://127.0.0.1:8433";

/// Operates a shardd server.
#[derive(Debug, Parser)]
#[command(name = "shardctl", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,

    /// How to print: a table for people, or JSON for programs
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,

    /// The address of the server's admin door
    #[arg(long, global = true, env = "SHARDCTL_URL", default_value = DEFAULT_URL)]
    pub(super) url: String,

    /// A file that holds the admin door's token (there is no flag for the token itself: others can see a command line)
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) token_file: Option<PathBuf>,
}

impl Arguments {
    /// A variable that is empty is as good as none.
    pub(super) fn with_defaults(mut self) -> Arguments {
        if self.url.is_empty() {
            DEFAULT_URL.clone_into(&mut self.url);
        }
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show how the server is: its state, epoch, keyspaces and addresses
    Status,
    /// List the shards
    #[command(visible_alias = "list")]
    Shards,
    /// Show one shard: its slots, what it counts, and why it is down
    Describe {
        /// The shard's name
        shard: String,
    },
    /// List the tables, and how each is sharded
    Tables,
    /// Make a small table sharded, or a reference table
    #[command(subcommand)]
    Table(TableCommand),
    /// Show where the rows of a key live: slot, shard, and why
    Route {
        /// The table's name
        table: String,
        /// The key, as the table's key column would print it
        #[arg(allow_hyphen_values = true)]
        key: String,
    },
    /// Show what the server would do with a statement, without running it
    Explain {
        /// The statement; "-" reads it from standard input
        #[arg(value_name = "SQL")]
        statement: String,
    },
    /// Show what the server would do with each statement of a file, without running any; exits with 1 when some are refused
    Analyze {
        /// A file of statements, as psql reads it; "-" is standard input
        #[arg(value_name = "FILE", required_unless_present = "log")]
        file: Option<PathBuf>,
        /// A Postgres server's log (log_statement = 'all', or log_min_duration_statement) instead; "-" is standard input
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        log: Option<PathBuf>,
    },
    /// Compare the shards' schemas
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Look whether every shard holds what it should: its guards, and rows of its own slots only; exits with 1 unless all is
    /// right
    Verify {
        /// One table instead of all that are sharded
        table: Option<String>,
        /// Put guards right that are missing or were altered. Rows are never touched
        #[arg(long)]
        repair: bool,
    },
    /// Show or end transactions that a commit over several Postgres shards has left prepared
    #[command(subcommand)]
    Transactions(TransactionsCommand),
    /// Add a shard: it is given the tables and the reference rows, and joins with no slots yet
    AddShard {
        /// Its name
        #[arg(value_name = "NAME")]
        shard: String,
        /// sqlite:PATH, or postgres://USER@HOST:PORT/DATABASE: an empty database, or one with the others' tables
        #[arg(value_name = "URL")]
        shard_url: String,
        /// Its share of the slots, relative to the other shards' weights
        #[arg(long, default_value_t = 1.0, value_parser = weight)]
        weight: f64,
    },
    /// Move slots to another Postgres shard while clients read and write; shows what moves, and asks
    Move(MoveArguments),
    /// Move as many slots as the shards' weights ask for, and no more; shows what moves, and asks
    Rebalance(RebalanceArguments),
    /// List the moves, or show one
    Moves {
        /// Its number
        id: Option<i64>,
        /// Show it until it has ended
        #[arg(long, requires = "id")]
        watch: bool,
    },
    /// Let a move pause where it is
    Pause {
        /// Its number, as `shardctl moves` lists it
        id: i64,
    },
    /// Let a move go on that pauses
    Resume {
        /// Its number, as `shardctl moves` lists it
        id: i64,
    },
    /// Give a move up and delete what it has copied; not once its slots have changed hands
    Cancel {
        /// Its number, as `shardctl moves` lists it
        id: i64,
    },
    /// Give a shard another share of the slots; nothing moves before `shardctl rebalance`
    SetWeight {
        /// The shard's name
        shard: String,
        /// Relative to the other shards' weights; 0 for none
        #[arg(value_parser = weight)]
        weight: f64,
    },
    /// Bound how fast moves copy rows, until the server is started again
    Throttle {
        /// Bytes a second; 0 is no bound
        bytes_per_second: u64,
    },
    /// Check a configuration file, or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show the server's last log lines
    Logs(LogsArguments),
    /// Print a completion script for a shell
    Completions { shell: Shell },
    /// Print the versions of shardctl and of the server
    Version,
}

#[derive(Clone, Debug, Args)]
pub(super) struct MoveArguments {
    /// Slots, as numbers and ranges: 0-99,120
    #[arg(long, required_unless_present = "key", conflicts_with = "key")]
    pub(super) slots: Option<String>,
    /// A table and a key: the slot of that key, with all rows of all tables that are in it
    #[arg(long, num_args = 2, value_names = ["TABLE", "KEY"], allow_hyphen_values = true)]
    pub(super) key: Option<Vec<String>>,
    /// The shard that they go to
    #[arg(long, value_name = "SHARD")]
    pub(super) to: String,
    /// The keyspace, where there are several
    #[arg(long, conflicts_with = "key")]
    pub(super) keyspace: Option<String>,
    #[command(flatten)]
    pub(super) how: MovingArguments,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RebalanceArguments {
    #[command(flatten)]
    pub(super) how: MovingArguments,
}

#[derive(Clone, Debug, Args)]
pub(super) struct MovingArguments {
    /// Show what would move, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Show how the moves go on until they have ended
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum TableCommand {
    /// Make a table sharded by a column. It is locked meanwhile, and can be as large as limits.gather_max_bytes
    Shard {
        /// The table's name
        table: String,
        /// The column that decides where each row lives
        #[arg(long, value_name = "COLUMN")]
        key: String,
        /// The keyspace, where the column's name does not tell it
        #[arg(long)]
        keyspace: Option<String>,
        /// Do all of it, and take it back
        #[arg(long)]
        dry_run: bool,
    },
    /// Make a table a reference table, with a full copy on every shard. It is locked meanwhile, and can be as large as
    /// limits.gather_max_bytes
    Reference {
        /// The table's name
        table: String,
        /// Do all of it, and take it back
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SchemaCommand {
    /// Read the Postgres shards' schemas anew, and show what differs and what is wrong with one; exits with 1 unless all of it
    /// is harmless
    Diff,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum TransactionsCommand {
    /// List the transactions that are prepared on a shard, and that this server is not about to end
    List,
    /// End them as was decided, or roll them back where nothing was, without waiting until they are old; exits with 1 when some
    /// are left
    Resolve(ResolveArguments),
}

#[derive(Clone, Debug, Args)]
pub(super) struct ResolveArguments {
    /// End this one (its GID in the list) without its decision, where the shard that decides is lost for good
    #[arg(long, value_name = "GID", requires = "outcome")]
    pub(super) force: Option<String>,
    /// With --force: commit its parts on all shards
    #[arg(long, group = "outcome", requires = "force")]
    pub(super) commit: bool,
    /// With --force: roll its parts back on all shards
    #[arg(long, group = "outcome", requires = "force")]
    pub(super) rollback: bool,
    /// With --force: the shard that decides, which is lost for good; without it the name is asked for
    #[arg(long, value_name = "NAME", requires = "force")]
    pub(super) lost_shard: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Report every problem of a configuration at once, with its line; needs no server
    Check {
        /// The file; without it config/shardd.toml, which may be absent
        #[arg(long, value_name = "PATH")]
        config: Option<PathBuf>,
    },
    /// Show every value that holds and where it came from, without secrets
    Show {
        /// What a server started here would use, instead of what the running one does
        #[arg(long)]
        local: bool,
        /// The file of --local
        #[arg(long, value_name = "PATH", requires = "local")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct LogsArguments {
    /// Go on printing lines as they come
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Leave out what is less grave
    #[arg(long, value_enum, default_value_t = Level::Info)]
    pub(super) level: Level,
    /// How many of the last lines to print
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub(super) lines: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

fn weight(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|weight: &f64| weight.is_finite()).ok_or_else(|| "it is a number, as in 1.5".to_owned())
}

/// The command line's definition, for completions and the reference.
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in ["shardctl -o json shards", "shardctl list --output json", "shardctl shards -o json"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(arguments.output, Format::Json, "{line}");
            assert!(matches!(arguments.command, Command::Shards), "{line}");
        }
    }

    #[test]
    fn a_negative_key_is_a_key() {
        let arguments = Arguments::try_parse_from(["shardctl", "route", "events", "-7"]).unwrap();
        assert!(matches!(arguments.command, Command::Route { key, .. } if key == "-7"));
    }

    #[test]
    fn a_wrong_command_line_exits_with_2() {
        for line in [
            "shardctl",
            "shardctl nope",
            "shardctl route events",
            "shardctl logs -n 0",
            "shardctl move --to s2",
            "shardctl move --slots 1 --key a b --to s2",
            "shardctl moves --watch",
            "shardctl transactions resolve --commit",
            "shardctl transactions resolve --force a",
            "shardctl transactions resolve --force a --commit --rollback",
            "shardctl -o yaml status",
            "shardctl add-shard a sqlite:a.db --weight NaN",
        ] {
            assert_eq!(Arguments::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
