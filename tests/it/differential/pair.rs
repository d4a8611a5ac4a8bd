//! One connection to each server, on the same rows, and the scripts that run on both.

use super::compare::{Mode, Refusal, Verdict, ask, compare, general, refusal, show};
use super::known;
use super::strays::Planting;
use super::values;
use super::world::World;
use super::writes::{Script, Step};
use crate::support::client::Row;
use crate::support::{Answer, Client};

/// A difference, with what shows it.
#[derive(Clone, Debug)]
pub struct Mismatch {
    pub kind: String,
    pub family: &'static str,
    pub script: Vec<Step>,
    /// What had been run over the rows before, where it may be needed to show the difference.
    pub history: Vec<Step>,
    pub mode: Mode,
    pub postgres: String,
    pub shardd: String,
}

impl Mismatch {
    pub fn report(&self) -> String {
        let statements: Vec<String> =
            self.script.iter().map(|step| format!("  {};", values::inline(&step.sql))).collect();
        let (statements, mode) = (statements.join("\n"), self.mode);
        format!("{statements}\n  ({mode:?})\n  Postgres: {}\n  shardd:   {}\n", self.postgres, self.shardd)
    }
}

/// A statement that shardd refused.
#[derive(Clone, Debug)]
pub struct Refused {
    pub refusal: Refusal,
    pub statement: String,
}

/// What became of a script.
#[derive(Debug, Default)]
pub struct Outcome {
    pub statements: usize,
    /// The same, unless one that was asked in several ways is counted once.
    pub steps: usize,
    /// Postgres's errors that shardd gave too, without names and values.
    pub errors: Vec<String>,
    /// (SQLSTATE and Postgres's message, shardd's message), where only the words differ.
    pub other_words: Vec<(String, String)>,
    pub refused: Option<Refused>,
    pub mismatch: Option<Mismatch>,
}

pub struct Pair<'p> {
    pub world: &'static World,
    shardd_port: u16,
    postgres: Client,
    shardd: Client,
    /// Rows may differ: they must be made anew before the next script.
    dirty: bool,
    schema_is_made: bool,
    /// What has been run over the rows since they were made.
    pub history: Vec<Step>,
    /// Whoever puts rows on shardd's shards that do not belong there.
    pub planting: Option<&'p (dyn Planting + Sync)>,
}

impl<'p> Pair<'p> {
    pub fn new(world: &'static World, postgres_port: u16, shardd_port: u16) -> Pair<'p> {
        let connect = |port| Client::connect(port).expect("a connection");
        let (postgres, shardd) = (connect(postgres_port), connect(shardd_port));
        Pair {
            world,
            shardd_port,
            postgres,
            shardd,
            dirty: true,
            schema_is_made: false,
            history: Vec::new(),
            planting: None,
        }
    }

    /// Makes the schema and its rows anew on both servers, if they may differ.
    pub fn restore(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.history.clear();
        if let Some(planting) = self.planting {
            planting.clear();
        }
        let schema = if self.schema_is_made { Vec::new() } else { (self.world.schema)() };
        self.schema_is_made = true;
        for statement in schema.into_iter().chain((self.world.rows)()) {
            let sql = values::inline(&statement);
            self.postgres.run(&sql);
            self.shardd.run(&sql);
        }
        if let Some(planting) = self.planting {
            planting.plant();
        }
    }

    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// Runs a script on both servers, up to the first statement that is refused or answered differently.
    pub fn run(&mut self, script: &Script, mode: Mode) -> Outcome {
        let mut outcome = Outcome::default();
        for position in 0..script.steps.len() {
            self.step(script, position, mode, &mut outcome);
            if outcome.refused.is_some() || outcome.mismatch.is_some() {
                break;
            }
        }
        self.end(script);
        if let Some(mismatch) = &mut outcome.mismatch {
            mismatch.history.clone_from(&self.history);
        } else if script.writes() && outcome.refused.is_none() {
            self.history.extend(script.steps.iter().cloned());
        }
        outcome
    }

    fn step(&mut self, script: &Script, position: usize, mode: Mode, outcome: &mut Outcome) {
        let step = &script.steps[position];
        outcome.statements += 1;
        outcome.steps += 1;
        let mismatch = |kind: String, postgres: String, shardd: String| {
            let script_so_far = script.steps[..=position].to_vec();
            Some(Mismatch {
                kind,
                family: script.family,
                script: script_so_far,
                history: Vec::new(),
                mode,
                postgres,
                shardd,
            })
        };
        let writes = step.writes.is_some() || script.steps.len() > 1;
        let mut got = match ask(&mut self.shardd, &step.sql, mode) {
            Ok(answer) => answer,
            Err(error) => {
                self.dirty |= writes;
                self.shardd = Client::connect(self.shardd_port).expect("shardd runs on");
                outcome.mismatch = mismatch("the connection is lost".to_owned(), String::new(), error.to_string());
                return;
            }
        };
        if let Some(refusal) = refusal(&got) {
            return self.refused(step, refusal, mode, writes, outcome);
        }
        let mut expected = ask(&mut self.postgres, &step.sql, mode).expect("Postgres answers");
        if self.world.own_types {
            [&mut expected, &mut got].into_iter().for_each(told_as_text);
        }
        let binary = matches!(mode, Mode::Binary(_));
        match compare(&expected, &got, step.ordered) {
            Verdict::Same => {}
            Verdict::SameError { same_message } => {
                let Some((expected, got)) = expected.error.as_ref().zip(got.error.as_ref()) else { return };
                outcome.errors.push(format!("{} {}", expected.sqlstate(), general(expected.message())));
                if !same_message {
                    let expected = format!("{} {}", expected.sqlstate(), expected.message());
                    outcome.other_words.push((expected, got.message().to_owned()));
                }
            }
            Verdict::Refused(_) => {}
            Verdict::Different(kind) => {
                self.dirty |= writes;
                let answers = [&expected, &got];
                let kind = known::kind(kind, &step.sql, mode, answers, step.ordered, &mut self.postgres);
                let [expected, got] = show_both(&expected, &got, binary);
                outcome.mismatch = mismatch(kind, expected, got);
                return;
            }
        }
        if self.postgres.status != self.shardd.status {
            self.dirty |= writes;
            let (expected, got) = (self.postgres.status.to_string(), self.shardd.status.to_string());
            outcome.mismatch = mismatch("transaction status".to_owned(), expected, got);
            return;
        }
        if let Some(written) = step.writes
            && expected.error.is_none()
            && let Some((kind, expected, got)) = self.contents_differ(written)
        {
            self.dirty = true;
            outcome.mismatch = mismatch(kind, expected, got);
        }
    }

    /// Postgres may refuse it too; then there is nothing to hold against shardd.
    fn refused(&mut self, step: &Step, refusal: Refusal, mode: Mode, writes: bool, outcome: &mut Outcome) {
        let expected = self.ask_postgres_in_vain(&step.sql, mode, writes);
        if expected.error.as_ref().is_some_and(|error| error.sqlstate() == "0A000") {
            outcome.errors.push("0A000 on both".to_owned());
        } else {
            outcome.refused = Some(Refused { refusal, statement: values::inline(&step.sql) });
        }
    }

    /// Postgres's answer, without its effect.
    fn ask_postgres_in_vain(&mut self, sql: &str, mode: Mode, writes: bool) -> Answer {
        let alone = writes && self.postgres.status == 'I';
        if alone {
            self.postgres.run("BEGIN");
        }
        let answer = ask(&mut self.postgres, sql, mode).expect("Postgres answers");
        if alone {
            self.postgres.run("ROLLBACK");
        }
        answer
    }

    /// How a table's rows differ, and the rows of both.
    fn contents_differ(&mut self, name: &str) -> Option<(String, String, String)> {
        let contents = (self.world.contents)(name);
        let expected = self.postgres.query(&contents);
        let got = ask(&mut self.shardd, &contents, Mode::Simple).unwrap_or_default();
        if expected.rows == got.rows {
            return None;
        }
        let kind = format!("rows of {name} afterwards");
        let kind = known::kind(kind, &contents, Mode::Simple, [&expected, &got], true, &mut self.postgres);
        let [expected, got] = show_both(&expected, &got, false);
        Some((kind, expected, got))
    }

    /// Leaves no transaction open and no table of the script behind.
    fn end(&mut self, script: &Script) {
        for client in [&mut self.postgres, &mut self.shardd] {
            if client.status != 'I' {
                let _ = client.try_simple("ROLLBACK");
            }
        }
        let made: Vec<&str> = script.steps.iter().filter_map(|step| self.made_table(&step.sql)).collect();
        for name in made {
            for client in [&mut self.postgres, &mut self.shardd] {
                let _ = client.try_simple(&format!("DROP TABLE IF EXISTS {name}"));
                let _ = client.try_simple(&format!("DROP TABLE IF EXISTS {name}_new"));
            }
        }
    }

    /// The table that a statement of a schema script makes.
    fn made_table<'a>(&self, sql: &'a str) -> Option<&'a str> {
        let name = sql.strip_prefix("CREATE TABLE ")?;
        let name = name.strip_prefix("IF NOT EXISTS ").unwrap_or(name);
        let name = name.split([' ', '(']).next()?;
        (!(self.world.tables)().contains(&name)).then_some(name)
    }

    /// The mismatch that a script shows on fresh rows, without a lasting effect.
    pub fn try_out(&mut self, script: &Script, mode: Mode) -> Option<Mismatch> {
        let mut script = script.clone();
        let lasting = script.steps.iter().any(|step| step.writes.is_some());
        if let [step] = script.steps.as_slice()
            && lasting
        {
            let control = |sql: &str| Step { sql: sql.to_owned(), ordered: true, writes: None };
            script.steps = vec![control("BEGIN"), step.clone(), control("ROLLBACK")];
        } else if lasting {
            self.dirty = true;
        }
        self.restore();
        let mut mismatch = self.run(&script, mode).mismatch?;
        mismatch.script.retain(|step| script.steps.len() != 3 || step.sql != "BEGIN");
        Some(mismatch)
    }
}

/// Types that each database numbers by itself are told as text, which looks the same in both formats.
fn told_as_text(answer: &mut Answer) {
    const FIRST_OWN_OID: u32 = 16_384;
    const TEXT: u32 = 25;
    for column in answer.columns.iter_mut().flatten().filter(|column| column.type_oid >= FIRST_OWN_OID) {
        (column.type_oid, column.size) = (TEXT, -1);
    }
    for parameter in answer.parameter_types.iter_mut().flatten().filter(|oid| **oid >= FIRST_OWN_OID) {
        *parameter = TEXT;
    }
}

/// Both answers for people: of many rows, only those that the other does not have.
fn show_both(postgres: &Answer, shardd: &Answer, binary: bool) -> [String; 2] {
    const ROWS_SHOWN: usize = 12;
    let only = |these: &Answer, those: &Answer| {
        let mut others = those.rows.clone();
        let differs = |row: &&Row| match others.iter().position(|other| other == *row) {
            Some(position) => {
                others.swap_remove(position);
                false
            }
            None => true,
        };
        let rows: Vec<Row> = these.rows.iter().filter(differs).cloned().collect();
        if these.rows.len() <= ROWS_SHOWN || rows.is_empty() {
            return show(these, binary);
        }
        let shown = show(&Answer { rows, ..these.clone() }, binary);
        format!("{shown} (only the rows that the other has not, of {})", these.rows.len())
    };
    [only(postgres, shardd), only(shardd, postgres)]
}
