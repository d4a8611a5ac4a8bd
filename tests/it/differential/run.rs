//! A run: scripts by seed over one world, what became of them, and the report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::compare::Mode;
use super::pair::{Mismatch, Outcome, Pair, Refused};
use super::random::Random;
use super::strays::Planting;
use super::world::World;
use super::writes::Script;
use super::{refused, shrink};

/// Mismatches of one kind that are shrunk; the others are only counted.
const SHRUNK_PER_KIND: usize = 2;
const SHRUNK_IN_ALL: usize = 60;
/// Writes change the rows that later statements find: after so many scripts they are made anew.
const SCRIPTS_PER_FIXTURE: usize = 150;
/// A test whose statements are mostly refused would show nothing.
const MOST_REFUSED_PERCENT: usize = 15;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What one worker does of a run.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The seed of a run.
    pub seed: usize,
    /// Those of the run's scripts whose number, divided by `workers`, leaves this.
    pub worker: usize,
    pub workers: usize,
    /// How many statements the worker runs; with none it runs until something differs.
    pub statements: usize,
}

impl Share {
    /// All of a run of so many statements, unless the environment says otherwise.
    pub fn all(statements: usize) -> Share {
        Share {
            seed: number("SHARDD_DIFFERENTIAL_SEED", 1),
            worker: 0,
            workers: 1,
            statements: number("SHARDD_DIFFERENTIAL_STATEMENTS", statements),
        }
    }
}

/// What a run found.
#[derive(Default)]
pub struct Tally {
    pub statements: usize,
    /// Statements, and each as often as it was asked.
    pub asked: usize,
    errors: BTreeMap<String, usize>,
    /// Statements, and the time they took on both servers.
    families: BTreeMap<&'static str, (usize, Duration)>,
    refused: Vec<(&'static str, Refused)>,
    pub mismatches: BTreeMap<String, Vec<(usize, Mismatch)>>,
    other_words: BTreeMap<(String, String), usize>,
}

impl Tally {
    fn add(&mut self, seed: usize, script: &Script, outcome: Outcome, time: Duration) {
        self.statements += outcome.statements;
        self.asked += outcome.steps;
        for error in outcome.errors {
            *self.errors.entry(error).or_default() += 1;
        }
        let family = self.families.entry(script.family).or_default();
        *family = (family.0 + outcome.statements, family.1 + time);
        for words in outcome.other_words {
            *self.other_words.entry(words).or_default() += 1;
        }
        if let Some(refused) = outcome.refused {
            self.refused.push((script.family, refused));
        }
        if let Some(mismatch) = outcome.mismatch {
            self.mismatches.entry(mismatch.kind.clone()).or_default().push((seed, mismatch));
        }
    }

    /// What another worker found, too.
    fn join(&mut self, other: Tally) {
        self.statements += other.statements;
        self.asked += other.asked;
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        for (family, (count, time)) in other.families {
            let family = self.families.entry(family).or_default();
            *family = (family.0 + count, family.1 + time);
        }
        for (kind, found) in other.mismatches {
            self.mismatches.entry(kind).or_default().extend(found);
        }
        for (words, count) in other.other_words {
            *self.other_words.entry(words).or_default() += count;
        }
        self.refused.extend(other.refused);
    }

    pub fn error_count(&self) -> usize {
        self.errors.values().sum()
    }

    fn mismatch_count(&self) -> usize {
        self.mismatches.values().map(Vec::len).sum()
    }
}

pub fn generate(pair: &mut Pair<'_>, share: Share) -> Tally {
    let only = std::env::var("SHARDD_DIFFERENTIAL_FAMILY").ok();
    let mut tally = Tally::default();
    let mut scripts = 0;
    let mut seed = share.seed.wrapping_mul(1_000_000);
    while tally.statements < share.statements || share.statements == 0 && tally.mismatches.is_empty() {
        seed += 1;
        if seed % share.workers != share.worker {
            continue;
        }
        let mut random = Random::new(seed as u64);
        let script = (pair.world.script)(&mut random, seed);
        if only.as_deref().is_some_and(|family| family != script.family) {
            continue;
        }
        scripts += 1;
        if scripts % SCRIPTS_PER_FIXTURE == 0 {
            pair.mark_dirty();
        }
        pair.restore();
        let modes = [Mode::Simple, Mode::Text(random.next()), Mode::Binary(random.next())];
        let begin = Instant::now();
        if pair.world.in_all_modes && !script.writes() {
            // A read is asked in every way, and counts once.
            for (position, mode) in modes.into_iter().enumerate() {
                let mut outcome = pair.run(&script, mode);
                outcome.statements = usize::from(position == 0);
                let settled = outcome.refused.is_some() || outcome.mismatch.is_some();
                tally.add(seed, &script, outcome, begin.elapsed());
                if settled {
                    break;
                }
            }
        } else {
            let outcome = pair.run(&script, random.pick(&modes));
            tally.add(seed, &script, outcome, begin.elapsed());
        }
    }
    tally
}

pub fn report(pair: &mut Pair<'_>, tally: &Tally) -> String {
    let mut text = String::new();
    let families: Vec<String> = tally
        .families
        .iter()
        .map(|(family, (count, time))| format!("{family} {count} in {} ms", time.as_millis()))
        .collect();
    let _ = writeln!(text, "{} statements ({})", tally.statements, families.join(", "));
    let _ = writeln!(text, "\n{} ended in the same error on both:", tally.error_count());
    for (error, count) in &tally.errors {
        let _ = writeln!(text, "{count:6}  {error}");
    }
    let mut constructs: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (_, refused) in &tally.refused {
        constructs.entry(&refused.refusal.construct).or_insert((0, &refused.statement)).0 += 1;
    }
    let _ = writeln!(text, "\n{} refused, by construct:", tally.refused.len());
    for (construct, (count, statement)) in constructs {
        let _ = writeln!(text, "{count:6}  {construct}    e.g. {statement}");
    }
    let _ = writeln!(text, "\n{} errors with other words:", tally.other_words.values().sum::<usize>());
    for ((expected, got), count) in &tally.other_words {
        let _ = writeln!(text, "{count:6}  {expected}\n        {got}");
    }
    let mut kinds: Vec<_> = tally.mismatches.iter().collect();
    kinds.sort_by_key(|(_, found)| std::cmp::Reverse(found.len()));
    let _ = writeln!(text, "\n{} mismatches, by kind:", tally.mismatch_count());
    for (kind, found) in &kinds {
        let _ = writeln!(text, "{:6}  {kind}", found.len());
    }
    let mut shrunk = 0;
    for (kind, found) in &kinds {
        let _ = writeln!(text, "\n=== {kind} ({})", found.len());
        for (seed, mismatch) in found.iter().take(SHRUNK_PER_KIND) {
            let mut mismatch = mismatch.clone();
            if shrunk < SHRUNK_IN_ALL {
                shrunk += 1;
                mismatch.mode = shrink::plainest_mode(pair, &mismatch);
                mismatch = shrink::shrink(pair, mismatch);
            }
            let _ = writeln!(text, "-- seed {seed}, {}\n{}", mismatch.family, mismatch.report());
        }
    }
    text
}

/// The kinds of differences that are known and described; every other one fails. What a kind is too wide for is told apart
/// in [`known`].
pub const DIFFERENCES: &str = "docs/sql-differences.md";

pub fn read_known_differences() -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(DIFFERENCES);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(kind, _)| kind.to_owned())
        .collect()
}

/// What is compared with Postgres.
pub struct Subject<'p> {
    pub world: &'static World,
    /// The ports of Postgres and of shardd, for each worker.
    pub ports: Vec<(u16, u16)>,
    pub statements: usize,
    pub report: &'static str,
    pub refused: refused::List,
    /// The kinds of differences that are known.
    pub known: Vec<String>,
    /// Families of which nothing may be refused.
    pub never_refused: &'static [&'static str],
    /// Whoever puts rows on the shards that do not belong there, for each worker that has one.
    pub planting: Vec<&'p (dyn Planting + Sync)>,
}

/// Runs the subject's statements on both, and fails if something differs that is not known.
pub fn compare_with(subject: &Subject<'_>) {
    let share = Share::all(subject.statements);
    let workers = subject.ports.len();
    let mut pairs: Vec<Pair> =
        subject.ports.iter().map(|(postgres, shardd)| Pair::new(subject.world, *postgres, *shardd)).collect();
    for (pair, planting) in pairs.iter_mut().zip(&subject.planting) {
        pair.planting = Some(*planting);
    }
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let shares = pairs.iter_mut().enumerate().map(|(worker, pair)| {
            let share = Share { worker, workers, statements: share.statements.div_ceil(workers), ..share };
            scope.spawn(move || generate(pair, share))
        });
        let running: Vec<_> = shares.collect();
        running.into_iter().for_each(|worker| tally.join(worker.join().expect("a worker ends")));
    });
    let text = report(&mut pairs[0], &tally);
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(subject.report);
    std::fs::write(&path, &text).expect("the report is written");
    println!("{text}");
    let unlisted = refused::check(subject.refused, &tally.refused);
    let new: Vec<_> = tally.mismatches.keys().filter(|kind| !subject.known.contains(kind)).collect();
    assert!(new.is_empty(), "differences that {DIFFERENCES} does not know: {new:#?}; see {}", path.display());
    let never = tally.refused.iter().filter(|(family, _)| subject.never_refused.contains(family));
    let never: Vec<_> = never.map(|(_, refused)| &refused.statement).collect();
    assert!(never.is_empty(), "must be answered, whatever it costs: {never:#?}");
    assert!(unlisted.is_empty(), "refused, but not in {}: {unlisted:#?}", subject.refused.document);
    let percent = tally.refused.len() * 100 / tally.statements;
    assert!(percent <= MOST_REFUSED_PERCENT, "{percent} % of the statements were refused");
}
