//! COPY, read by hand from its tokens: its options are not all the parser's, and shards are sent the client's own text.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html>

use super::cursor::Cursor;
use super::lexer::TokenKind;
use crate::copying::{Columns, Form, Header, Style};
use crate::error::{Error, Result, SqlState};

/// A COPY from or to its client.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    pub way: CopyWay,
    /// Empty: all of the table's.
    pub columns: Vec<String>,
    pub style: Style,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CopyWay {
    /// COPY table FROM STDIN, with the condition of its WHERE.
    In { table: Vec<String>, filter: Option<String> },
    /// COPY table TO STDOUT.
    TableOut { table: Vec<String> },
    /// COPY (query) TO STDOUT.
    QueryOut { query: String },
}

/// Options as they were given, each at most once.
#[derive(Debug, Default)]
struct Given {
    form: Option<Form>,
    header: Option<Header>,
    delimiter: Option<String>,
    null: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<Columns>,
    force_not_null: Option<Columns>,
    force_null: Option<Columns>,
    encoding: Option<String>,
    freeze: Option<bool>,
}

/// Reads a COPY, of which the first word is next.
///
/// # Errors
/// 42601, or 0A000 for files, programs and options that shardd does not have.
pub(super) fn copy(cursor: &mut Cursor<'_>) -> Result<Copy> {
    cursor.advance();
    let mut given = Given::default();
    if cursor.eat_word("binary") {
        given.form = Some(Form::Binary);
    }
    let query = query(cursor)?;
    let (mut table, mut columns) = (Vec::new(), Vec::new());
    if query.is_none() {
        table.push(cursor.name()?);
        while cursor.eat(TokenKind::Dot) {
            table.push(cursor.name()?);
        }
        columns = names(cursor)?.unwrap_or_default();
    }
    let into = match query.is_none() && cursor.eat_word("from") {
        true => true,
        false => {
            cursor.expect_word("to")?;
            false
        }
    };
    place(cursor, into)?;
    options(cursor, &mut given)?;
    let filter = match cursor.eat_word("where") {
        true if into => Some(cursor.rest()?.to_owned()),
        true => {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "WHERE clause not allowed with COPY TO"));
        }
        false => None,
    };
    let style = given.style(into)?;
    let way = match query {
        Some(query) => CopyWay::QueryOut { query },
        None if into => CopyWay::In { table, filter },
        None => CopyWay::TableOut { table },
    };
    Ok(Copy { way, columns, style })
}

/// The text between the parentheses that open here.
fn query(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    let Some(tokens) = cursor.parenthesised()? else { return Ok(None) };
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Err(cursor.error()) };
    Ok(cursor.text().get(first.start as usize..last.end as usize).map(str::to_owned))
}

fn names(cursor: &mut Cursor<'_>) -> Result<Option<Vec<String>>> {
    if !cursor.eat(TokenKind::LeftParen) {
        return Ok(None);
    }
    let names = list(cursor)?;
    if cursor.eat(TokenKind::RightParen) { Ok(Some(names)) } else { Err(cursor.error()) }
}

fn list(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut names = vec![cursor.name()?];
    while cursor.eat(TokenKind::Comma) {
        names.push(cursor.name()?);
    }
    Ok(names)
}

/// Where the rows come from or go to. Postgres takes either word for either way.
fn place(cursor: &mut Cursor<'_>, into: bool) -> Result<()> {
    if cursor.eat_word("stdin") || cursor.eat_word("stdout") {
        return Ok(());
    }
    let construct = match (cursor.eat_word("program"), into) {
        (true, true) => "COPY FROM PROGRAM",
        (true, false) => "COPY TO PROGRAM",
        (false, true) => "COPY from a file on the server",
        (false, false) => "COPY to a file on the server",
    };
    cursor.string()?;
    let client = if into { "FROM STDIN" } else { "TO STDOUT" };
    Err(Error::unsupported(
        construct,
        format!("Use COPY ... {client}; psql's \\copy command does so for files of the client's."),
    ))
}

fn options(cursor: &mut Cursor<'_>, given: &mut Given) -> Result<()> {
    if cursor.eat_words(&["using", "delimiters"]) || cursor.eat_word("delimiters") {
        put(&mut given.delimiter, cursor.string()?)?;
    }
    cursor.eat_word("with");
    if !cursor.eat(TokenKind::LeftParen) {
        return old_options(cursor, given);
    }
    loop {
        new_option(cursor, given)?;
        if cursor.eat(TokenKind::RightParen) {
            return Ok(());
        }
        if !cursor.eat(TokenKind::Comma) {
            return Err(cursor.error());
        }
    }
}

/// As they were before Postgres 9.0: without parentheses.
fn old_options(cursor: &mut Cursor<'_>, given: &mut Given) -> Result<()> {
    while let Some(word) = cursor.peek_word() {
        let string = |cursor: &mut Cursor<'_>| {
            cursor.eat_word("as");
            cursor.string()
        };
        let word = word.to_ascii_lowercase();
        if word == "where" {
            return Ok(());
        }
        cursor.advance();
        match word.as_str() {
            "binary" => put(&mut given.form, Form::Binary)?,
            "csv" => put(&mut given.form, Form::Csv)?,
            "freeze" => put(&mut given.freeze, true)?,
            "header" => put(&mut given.header, Header::Present)?,
            "delimiter" => put(&mut given.delimiter, string(cursor)?)?,
            "null" => put(&mut given.null, string(cursor)?)?,
            "quote" => put(&mut given.quote, string(cursor)?)?,
            "escape" => put(&mut given.escape, string(cursor)?)?,
            "encoding" => put(&mut given.encoding, cursor.string()?)?,
            "force" if cursor.eat_words(&["not", "null"]) => {
                put(&mut given.force_not_null, Columns::Named(list(cursor)?))?;
            }
            "force" if cursor.eat_word("null") => put(&mut given.force_null, Columns::Named(list(cursor)?))?,
            "force" => {
                cursor.expect_word("quote")?;
                let columns = if cursor.eat_operator("*") { Columns::All } else { Columns::Named(list(cursor)?) };
                put(&mut given.force_quote, columns)?;
            }
            _ => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{word}\"")));
            }
        }
    }
    Ok(())
}

fn new_option(cursor: &mut Cursor<'_>, given: &mut Given) -> Result<()> {
    let name = cursor.name()?;
    match name.as_str() {
        "format" => {
            let word = word(cursor)?.unwrap_or_default();
            let form = match word.as_str() {
                "text" => Form::Text,
                "csv" => Form::Csv,
                "binary" => Form::Binary,
                other => {
                    let message = format!("COPY format \"{other}\" not recognized");
                    return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
                }
            };
            put(&mut given.form, form)
        }
        "freeze" => {
            let freeze = boolean(cursor, &name)?;
            put(&mut given.freeze, freeze)
        }
        "header" => {
            let header = match word(cursor)?.as_deref() {
                None => Header::Present,
                Some("match") => Header::Match,
                Some(word) => match as_boolean(word) {
                    Some(true) => Header::Present,
                    Some(false) => Header::Absent,
                    None => {
                        let message = "header requires a Boolean value or \"match\"";
                        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
                    }
                },
            };
            put(&mut given.header, header)
        }
        "delimiter" => put(&mut given.delimiter, cursor.string()?),
        "null" => put(&mut given.null, cursor.string()?),
        "quote" => put(&mut given.quote, cursor.string()?),
        "escape" => put(&mut given.escape, cursor.string()?),
        "encoding" => put(&mut given.encoding, cursor.string()?),
        "force_quote" if cursor.eat_operator("*") => put(&mut given.force_quote, Columns::All),
        "force_quote" | "force_not_null" | "force_null" => {
            if name != "force_quote" && cursor.eat_operator("*") {
                return Err(Error::unsupported(
                    format!("{} * in COPY", name.to_ascii_uppercase()),
                    "Name the columns.",
                ));
            }
            let columns = Columns::Named(names(cursor)?.ok_or_else(|| cursor.error())?);
            match name.as_str() {
                "force_quote" => put(&mut given.force_quote, columns),
                "force_not_null" => put(&mut given.force_not_null, columns),
                _ => put(&mut given.force_null, columns),
            }
        }
        "default" | "on_error" | "log_verbosity" | "reject_limit" => Err(Error::unsupported(
            format!("the option {} of COPY", name.to_ascii_uppercase()),
            "Leave it out, and prepare the rows in the client.",
        )),
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, format!("option \"{name}\" not recognized"))),
    }
}

/// An option's value that may be a word, a string or a number.
fn word(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    let Some(token) = cursor.peek() else { return Err(cursor.error()) };
    match token.kind {
        TokenKind::Comma | TokenKind::RightParen => Ok(None),
        TokenKind::Word | TokenKind::Integer => Ok(Some(cursor.advance_text().to_ascii_lowercase())),
        _ => cursor.string().map(|text| Some(text.to_ascii_lowercase())),
    }
}

fn boolean(cursor: &mut Cursor<'_>, name: &str) -> Result<bool> {
    match word(cursor)? {
        None => Ok(true),
        Some(word) => as_boolean(&word)
            .ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, format!("{name} requires a Boolean value"))),
    }
}

fn as_boolean(word: &str) -> Option<bool> {
    match word {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn put<T>(option: &mut Option<T>, value: T) -> Result<()> {
    if option.replace(value).is_some() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options"));
    }
    Ok(())
}

impl Given {
    /// Judges the options, in Postgres's own words.
    fn style(self, into: bool) -> Result<Style> {
        let mut style = Style::of(self.form.unwrap_or_default());
        let csv = style.form == Form::Csv;
        refuse_others(self.encoding.as_deref(), self.freeze)?;
        if style.form == Form::Binary {
            let wrong = [("DELIMITER", self.delimiter.is_some()), ("NULL", self.null.is_some())];
            if let Some((name, _)) = wrong.into_iter().find(|(_, given)| *given) {
                return Err(Error::new(SqlState::SYNTAX_ERROR, format!("cannot specify {name} in BINARY mode")));
            }
            if self.header.is_some_and(|header| header != Header::Absent) {
                return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot specify HEADER in BINARY mode"));
            }
        }
        style.header = self.header.unwrap_or_default();
        if style.header == Header::Match && !into {
            let message = "cannot use \"match\" with HEADER in COPY TO";
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        for (name, given) in [("quote", &self.quote), ("escape", &self.escape)] {
            if given.is_some() && !csv {
                let message = format!("COPY {name} available only in CSV mode");
                return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
        }
        if let Some(delimiter) = &self.delimiter {
            style.delimiter = single_byte("delimiter", delimiter)?;
        }
        if let Some(quote) = &self.quote {
            style.quote = single_byte("quote", quote)?;
        }
        style.escape = self.escape.as_deref().map_or(Ok(style.quote), |escape| single_byte("escape", escape))?;
        style.null = self.null.unwrap_or(style.null);
        judge_characters(&style)?;
        let forced = [
            ("force quote", &self.force_quote, !into),
            ("force not null", &self.force_not_null, into),
            ("force null", &self.force_null, into),
        ];
        for (name, given, this_way) in forced {
            if given.is_none() || (csv && this_way) {
                continue;
            }
            let message = match csv {
                false => format!("COPY {name} available only in CSV mode"),
                true if into => format!("COPY {name} only available using COPY TO"),
                true => format!("COPY {name} only available using COPY FROM"),
            };
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        style.force_quote = self.force_quote.unwrap_or_default();
        style.force_not_null = self.force_not_null.unwrap_or_default();
        style.force_null = self.force_null.unwrap_or_default();
        Ok(style)
    }
}

fn refuse_others(encoding: Option<&str>, freeze: Option<bool>) -> Result<()> {
    if let Some(encoding) = encoding {
        let plain: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
        if !plain.eq_ignore_ascii_case("utf8") && !plain.eq_ignore_ascii_case("unicode") {
            return Err(Error::unsupported(
                format!("COPY in the encoding {encoding}"),
                "Send and take rows as UTF-8: psql and iconv convert files.",
            ));
        }
    }
    match freeze {
        Some(true) => Err(Error::unsupported("COPY with FREEZE", "Leave it out: rows are frozen by VACUUM FREEZE.")),
        _ => Ok(()),
    }
}

fn single_byte(name: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => {
            let message = format!("COPY {name} must be a single one-byte character");
            Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message))
        }
    }
}

fn judge_characters(style: &Style) -> Result<()> {
    let invalid = |message: &str| Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    if style.form == Form::Binary {
        return Ok(());
    }
    let ends_lines = |byte: u8| matches!(byte, b'\n' | b'\r');
    if ends_lines(style.delimiter) {
        return invalid("COPY delimiter cannot be newline or carriage return");
    }
    if style.null.bytes().any(ends_lines) {
        return invalid("COPY null representation cannot use newline or carriage return");
    }
    if style.null.as_bytes().contains(&style.delimiter) {
        return invalid("COPY delimiter character must not appear in the NULL specification");
    }
    if style.form == Form::Text {
        let means_something = style.delimiter.is_ascii_lowercase()
            || style.delimiter.is_ascii_digit()
            || b"\\.".contains(&style.delimiter);
        return match means_something {
            true => invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(style.delimiter))),
            false => Ok(()),
        };
    }
    if style.delimiter == style.quote {
        return invalid("COPY delimiter and quote must be different");
    }
    if style.null.as_bytes().contains(&style.quote) {
        return invalid("CSV quote character must not appear in the NULL specification");
    }
    match ends_lines(style.quote) || ends_lines(style.escape) {
        true => Err(Error::unsupported("a line's end as COPY's quote or escape", "Choose another character.")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Copy> {
        let mut cursor = Cursor::new(text)?;
        let copy = copy(&mut cursor)?;
        cursor.expect_end()?;
        Ok(copy)
    }

    #[test]
    fn both_syntaxes_say_the_same() {
        let new = read("COPY seats (event_id, seat) FROM STDIN (FORMAT csv, HEADER, DELIMITER ';', NULL 'x')").unwrap();
        let old =
            read("copy seats(event_id, \"seat\") from stdin with delimiter as ';' null as 'x' csv header").unwrap();
        assert_eq!(new, old);
        assert_eq!((new.style.delimiter, new.style.header, new.columns.len()), (b';', Header::Present, 2));
        assert_eq!(read("COPY BINARY t TO STDOUT").unwrap(), read("COPY t TO STDIN WITH (FORMAT binary);").unwrap());
        let forced = read("COPY t TO STDOUT CSV FORCE QUOTE *").unwrap().style.force_quote;
        assert_eq!(forced, Columns::All);
    }

    #[test]
    fn the_parts_of_a_copy_are_found() {
        let copy = read("COPY public.t FROM STDIN WHERE a > 1 AND b = ')'").unwrap();
        let table = vec!["public".to_owned(), "t".to_owned()];
        assert_eq!(copy.way, CopyWay::In { table, filter: Some("a > 1 AND b = ')'".to_owned()) });
        let copy = read("COPY (SELECT (1), ')' FROM t) TO STDOUT").unwrap();
        assert_eq!(copy.way, CopyWay::QueryOut { query: "SELECT (1), ')' FROM t".to_owned() });
    }

    #[test]
    fn what_is_wrong_is_told_in_postgres_words() {
        for (text, code) in [
            ("COPY t FROM '/etc/passwd'", "0A000"),
            ("COPY t TO PROGRAM 'rm'", "0A000"),
            ("COPY t FROM STDIN (FREEZE)", "0A000"),
            ("COPY t FROM STDIN (ENCODING 'latin1')", "0A000"),
            ("COPY t FROM STDIN (ON_ERROR ignore)", "0A000"),
            ("COPY t FROM STDIN (FORMAT xml)", "22023"),
            ("COPY t FROM STDIN (FORMAT csv, FORMAT csv)", "42601"),
            ("COPY t FROM STDIN (DELIMITER 'a')", "22023"),
            ("COPY t FROM STDIN (DELIMITER '::')", "0A000"),
            ("COPY t FROM STDIN (QUOTE '\"')", "0A000"),
            ("COPY t FROM STDIN (nonsense 1)", "42601"),
            ("COPY t FROM STDIN csv nonsense", "42601"),
            ("COPY (SELECT 1) FROM STDIN", "42601"),
            ("COPY t TO STDOUT WHERE a = 1", "42601"),
            ("COPY t FROM STDIN (FORMAT binary, NULL '')", "42601"),
            ("COPY t TO STDOUT (FORMAT csv, FORCE_NULL (a))", "0A000"),
            ("COPY", "42601"),
            ("COPY t", "42601"),
            ("COPY (", "42601"),
        ] {
            assert_eq!(read(text).expect_err(text).code(), code, "{text}");
        }
        assert!(read("COPY t FROM STDIN (FORMAT csv, ENCODING 'UTF-8', FREEZE false)").is_ok());
    }
}
