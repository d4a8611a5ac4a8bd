//! Where a command's data goes, in the form that was asked for.

use std::io::{ErrorKind, IsTerminal, Write};

use comfy_table::{Cell, Color, Table};
use serde::Serialize;

use super::arguments::Format;
use super::failure::Failure;
use super::print::visible;

pub(super) struct Output {
    to: Box<dyn Write>,
    format: Format,
    colours: bool,
}

impl Output {
    pub(super) fn to_stdout(format: Format) -> Output {
        let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = std::io::stdout().is_terminal() && !asked_not_to;
        Output { to: Box::new(std::io::stdout()), format, colours }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// # Errors
    /// Nobody reads any more, or the disk is full.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Output(error.to_string()),
        })
    }

    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// JSON over several lines.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.to_string()))?;
        self.line(&text)
    }

    /// JSON on one line, for streams.
    pub(super) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::Output(error.to_string()))?;
        self.line(&text)
    }

    /// Columns under a header, without borders. Cells whose text is `down` or `error` and the like stand out.
    pub(super) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let text = render(header, rows, self.colours);
        self.text(&text)
    }

    /// Names and values, one pair on a line.
    pub(super) fn pairs(&mut self, pairs: &[(&str, String)]) -> Result<(), Failure> {
        let rows: Vec<Vec<String>> =
            pairs.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
        let text = render(&[], &rows, self.colours);
        self.text(&text)
    }
}

fn render(header: &[&str], rows: &[Vec<String>], colours: bool) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    if !header.is_empty() {
        table.set_header(header);
    }
    for row in rows {
        table.add_row(row.iter().map(|text| cell(&visible(text))));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cell(text: &str) -> Cell {
    match text.split([' ', ':']).next().unwrap_or_default() {
        "up" | "serving" => Cell::new(text).fg(Color::Green),
        "down" | "degraded" | "draining" | "starting" => Cell::new(text).fg(Color::Red),
        _ => Cell::new(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 2]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect()
    }

    #[test]
    fn a_table_has_aligned_columns_and_no_borders() {
        let text = render(&["SHARD", "STATE"], &rows(&[["s1", "up"], ["shard-two", "down"]]), false);
        assert_eq!(text, "SHARD       STATE\ns1          up\nshard-two   down\n");
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(render(&["SHARD", "STATE"], &[], false), "SHARD   STATE\n");
    }

    #[test]
    fn colours_are_there_only_when_asked_for() {
        let rows = rows(&[["s1", "down: connection refused"]]);
        assert!(render(&["SHARD", "STATE"], &rows, true).contains("\u{1b}["));
        assert!(!render(&["SHARD", "STATE"], &rows, false).contains('\u{1b}'));
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let text = render(&["A", "B"], &rows(&[["\u{1b}[2J", "a\nb"]]), false);
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains('\u{1b}'));
    }
}
