//! What a newcomer sees first: where the server is, and what to try next.

use std::io::Write;

use super::Doors;
use crate::config::Config;

/// Prints to standard output; logs go to standard error.
pub(super) fn print(config: &Config, doors: &Doors) {
    let text = text(config, doors);
    // A closed standard output is no reason to stop serving.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

fn text(config: &Config, doors: &Doors) -> String {
    let (postgres, http, admin) = (doors.postgres.local_addr(), doors.http.address(), doors.admin.address());
    let user = config.users.first().map_or("app", |user| user.name.as_str());
    let database = &config.database;
    let url = format!("postgres://{user}@{postgres}/{database}");
    format!(
        "\n  shardd {version} is ready: {shards} shards, data in {data}\n\n    \
         DATABASE_URL={url}\n\n  Try next:\n    \
         psql {url}\n    \
         curl -X PUT --data-binary hello http://{http}/v1/kv/greeting\n    \
         shardctl --url http://{admin} status\n    \
         console: http://{admin}/\n\n",
        version = env!("CARGO_PKG_VERSION"),
        shards = config.shards.len(),
        data = config.data_dir.display(),
    )
}
