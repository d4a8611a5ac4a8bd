//! What the tests share: throw-away servers, and a client that shows every byte of their answers.
//!
//! A module uses what it needs of it.

#![allow(
    dead_code,
    unused_imports,
    reason = "the modules of this binary grow one by one; the tools are here before their users"
)]

pub mod both;
pub mod client;
pub mod frames;
pub mod hole;
pub mod postgres;
pub mod shardd;
pub mod tls;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use both::Both;
pub use client::{Answer, Client, ServerError, Value};
pub use postgres::Postgres;
pub use shardd::Shardd;

/// How long a server may take to start, and an answer to come, before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration whose waits are longer than a machine stalls: for tests of something else. Limits may follow.
pub const PATIENT: &str = "[pool]\ncheckout_deadline_ms = 60000\nconnect_timeout_ms = 60000\n\
    [limits]\nlock_wait_ms = 60000\nqueue_wait_ms = 60000\ndeadlock_wait_ms = 120000\n";

/// Raises a flag when it goes, also when its thread fails: those that look at the flag would be waited for.
pub struct Stopping<'s>(pub &'s AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A port of the loopback that nobody listens on now. Not one of those that connections leave by: a server that is started
/// again on its port would find it taken by one.
pub fn free_port() -> u16 {
    use std::sync::atomic::AtomicU32;
    /// Below Linux's `ip_local_port_range`.
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7_919);
    loop {
        let turn = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (PORTS.start + turn % (PORTS.end - PORTS.start)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends a signal (`TERM`, `KILL`, `QUIT`) to one process.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().expect("sh runs");
    assert!(status.success(), "kill -{name} {pid} failed");
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository, by its path from the root.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
