//! `docs/cli.md` against the command line's definition.
//!
//! The part between the two marks is made from clap. `SHARDD_WRITE_DOCS=1 cargo test --lib shardctl::reference` writes
//! it anew.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Command};

const BEGIN: &str = "<!-- from here to the end mark: written by src/shardctl/reference.rs -->\n";
const END: &str = "<!-- the end mark -->\n";

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default().replace('|', "\\|")
}

/// `-o, --output <table|json>`, `<SHARD>`.
fn spelling(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
    let possible: Vec<String> =
        argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let takes_value = argument.get_action().takes_values();
    let value = match (takes_value, possible.is_empty()) {
        (false, _) => String::new(),
        (true, true) => format!("<{}>", names.join(" ")),
        (true, false) => format!("<{}>", possible.join("\\|")),
    };
    let flags: Vec<String> = argument
        .get_short()
        .map(|short| format!("-{short}"))
        .into_iter()
        .chain(argument.get_long().map(|long| format!("--{long}")))
        .collect();
    match flags.is_empty() {
        true => format!("`{value}`"),
        false => format!("`{}`", format!("{} {value}", flags.join(", ")).trim_end()),
    }
}

fn arguments(command: &Command, out: &mut String) {
    let shown: Vec<&Arg> =
        command.get_arguments().filter(|argument| !["help", "version"].contains(&argument.get_id().as_str())).collect();
    if shown.is_empty() {
        return;
    }
    out.push_str("\n| argument | meaning | default | variable |\n|---|---|---|---|\n");
    for argument in shown {
        let default = match argument.get_action().takes_values() {
            true => {
                argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ")
            }
            false => String::new(),
        };
        let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
        let default = if default.is_empty() { default } else { format!("`{default}`") };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} | {} | {default} | {variable} |", spelling(argument), text(argument.get_help()));
    }
}

fn subcommands(command: &Command, path: &str, out: &mut String) {
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let path = format!("{path} {}", inner.get_name());
        if inner.has_subcommands() {
            subcommands(inner, &path, out);
            continue;
        }
        let aliases: Vec<String> = inner.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
        let _ = write!(out, "\n### {path}\n\n{}.", text(inner.get_about()));
        if !aliases.is_empty() {
            let _ = write!(out, " Also: {}.", aliases.join(", "));
        }
        out.push('\n');
        arguments(inner, out);
    }
}

fn reference() -> String {
    let command = super::command();
    let mut out = String::from("\n### Options of every command\n");
    arguments(&command, &mut out);
    subcommands(&command, "shardctl", &mut out);
    out
}

#[test]
fn the_reference_is_what_the_command_line_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the mark where the written part begins");
    let (written, after) = rest.split_once(END).expect("the end mark");
    let expected = format!("{}\n", reference());
    if std::env::var_os("SHARDD_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(
        written == expected,
        "docs/cli.md is out of date: SHARDD_WRITE_DOCS=1 cargo test --lib shardctl::reference"
    );
}

#[test]
fn the_exit_codes_of_the_help_are_those_of_the_reference() {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")).unwrap();
    let help = super::command().get_after_help().unwrap().to_string();
    let codes =
        help.lines().filter_map(|line| line.trim().split_once("  ")).filter(|(code, _)| code.parse::<u8>().is_ok());
    let mut count = 0;
    for (code, meaning) in codes {
        assert!(document.contains(&format!("| {code} | {}", meaning.trim())), "{code} {meaning}");
        count += 1;
    }
    assert_eq!(count, 6);
}
