//! The process's own use of the machine, under the names that Prometheus's client libraries share.
//!
//! Read from `/proc` when a scrape asks. Where there is no `/proc`, nothing is reported rather than zero.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Counter, Gauge, IntGauge, Registry};

use super::handles::register;

/// What `/proc/self/stat` counts time in. Fixed at 100 for programs on every Linux architecture that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) struct ProcessMetrics {
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    open_fds: IntGauge,
    threads: IntGauge,
}

impl ProcessMetrics {
    pub(super) fn register(registry: &Registry) -> ProcessMetrics {
        let start = register(
            registry,
            Gauge::new("process_start_time_seconds", "When the process began, in seconds since 1970."),
        );
        start.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        ProcessMetrics {
            cpu_seconds: register(
                registry,
                Counter::new("process_cpu_seconds_total", "Processor time, user and system."),
            ),
            resident_bytes: register(
                registry,
                IntGauge::new("process_resident_memory_bytes", "Memory that is resident."),
            ),
            open_fds: register(registry, IntGauge::new("process_open_fds", "Open file descriptors.")),
            threads: register(registry, IntGauge::new("process_threads", "Threads.")),
        }
    }

    pub(super) fn refresh(&self) {
        if let Some(cpu) = read("stat").as_deref().and_then(parse_cpu) {
            self.cpu_seconds.inc_by((cpu.as_secs_f64() - self.cpu_seconds.get()).max(0.0));
        }
        if let Some(status) = read("status") {
            if let Some(kibibytes) = parse_status(&status, "VmRSS") {
                self.resident_bytes.set(kibibytes.saturating_mul(1024));
            }
            if let Some(threads) = parse_status(&status, "Threads") {
                self.threads.set(threads);
            }
        }
        if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
            self.open_fds.set(i64::try_from(descriptors.count()).unwrap_or(i64::MAX));
        }
    }
}

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>. The name, in parentheses, may hold spaces.
fn parse_cpu(text: &str) -> Option<Duration> {
    let (_, rest) = text.rsplit_once(')')?;
    // `rest` begins with field 3; user and system time are fields 14 and 15.
    let mut times = rest.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()?.checked_add(times.next()?.ok()?)?;
    Duration::try_from_secs_f64(ticks as f64 / TICKS_PER_SECOND).ok()
}

/// The number on the line `name:`, whatever its unit.
fn parse_status(text: &str, name: &str) -> Option<i64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 7 0 100 1000 256 18446744073709551615";
        assert_eq!(parse_cpu(line), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_short_line_is_no_usage() {
        assert_eq!(parse_cpu("42 (shardd) S 1 2"), None);
        assert_eq!(parse_cpu(""), None);
    }

    #[test]
    fn a_status_line_is_found_by_its_whole_name() {
        let text = "VmRSSOther:\t1 kB\nVmRSS:\t  5120 kB\nThreads:\t7\n";
        assert_eq!(parse_status(text, "VmRSS"), Some(5120));
        assert_eq!(parse_status(text, "Threads"), Some(7));
        assert_eq!(parse_status(text, "Vm"), None);
    }
}
