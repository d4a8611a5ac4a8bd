//! From a statement that shows a difference to a small one that shows the same difference.
//!
//! It knows no grammar: it leaves out runs of tokens with balanced parentheses, and puts the inside of a call or CASE in
//! its place, as long as both servers still differ in the same way.

use super::compare::Mode;
use super::pair::{Mismatch, Pair};
use super::writes::Script;

/// Tries on one mismatch, so that a run with many of them ends.
const MAX_TRIES: usize = 1200;

pub fn shrink(pair: &mut Pair, found: Mismatch) -> Mismatch {
    let mut script = Script { family: found.family, steps: found.script.clone() };
    let mut tries = 0;
    let mut best = match again(pair, &script, &found) {
        Some(mismatch) => mismatch,
        None if found.history.is_empty() => return found,
        // It takes what was written before.
        None => {
            script.steps.splice(0..0, found.history.iter().cloned());
            let Some(mismatch) = again(pair, &script, &found) else { return found };
            mismatch
        }
    };
    let mut run = script.steps.len() / 2;
    while run > 0 {
        let mut begin = script.steps.len() - 1;
        while begin > 0 && tries < MAX_TRIES / 4 {
            begin = begin.saturating_sub(run);
            let mut fewer = script.clone();
            fewer.steps.drain(begin..(begin + run).min(script.steps.len() - 1));
            tries += 1;
            if let Some(mismatch) = again(pair, &fewer, &found) {
                script = fewer;
                best = mismatch;
            }
        }
        run /= 2;
    }
    for step in 0..script.steps.len() {
        while let Some((smaller, mismatch)) = smaller_step(pair, &script, step, &found, &mut tries) {
            script = smaller;
            best = mismatch;
        }
    }
    best
}

fn again(pair: &mut Pair, script: &Script, found: &Mismatch) -> Option<Mismatch> {
    pair.try_out(script, found.mode).filter(|mismatch| mismatch.kind == found.kind)
}

fn smaller_step(
    pair: &mut Pair,
    script: &Script,
    step: usize,
    found: &Mismatch,
    tries: &mut usize,
) -> Option<(Script, Mismatch)> {
    let tokens = tokens(&script.steps[step].sql);
    for candidate in candidates(&tokens) {
        if *tries >= MAX_TRIES {
            return None;
        }
        if !keeps_order(&tokens, &candidate) {
            continue;
        }
        *tries += 1;
        let mut smaller = script.clone();
        smaller.steps[step].sql = candidate.concat().trim().to_owned();
        if let Some(mismatch) = again(pair, &smaller, found) {
            return Some((smaller, mismatch));
        }
    }
    None
}

/// Leaving out an ORDER BY that a LIMIT, a window or an aggregate needs makes several answers right.
fn keeps_order(before: &[String], after: &[String]) -> bool {
    let has = |tokens: &[String], word: &str| tokens.iter().any(|token| token.trim().eq_ignore_ascii_case(word));
    let needs = ["LIMIT", "OFFSET", "FETCH", "OVER", "ON", "string_agg", "array_agg", "jsonb_agg"];
    if !needs.iter().any(|word| has(after, word)) {
        return true;
    }
    let orders = |tokens: &[String]| -> Vec<String> {
        let mut kept = Vec::new();
        let mut inside = false;
        for token in tokens {
            let word = token.trim();
            inside = (inside || word.eq_ignore_ascii_case("ORDER")) && !word.eq_ignore_ascii_case("LIMIT");
            if inside {
                kept.push(word.to_owned());
            }
        }
        kept
    };
    orders(before) == orders(after)
}

/// Tokens with the blanks before them: words, numbers, quoted things, marked literals, operators.
fn tokens(sql: &str) -> Vec<String> {
    let characters: Vec<char> = sql.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let begin = at;
        while at < characters.len() && characters[at].is_whitespace() {
            at += 1;
        }
        let until = |at: usize, end: char| (at + 1..characters.len()).find(|next| characters[*next] == end);
        match characters.get(at) {
            None => {}
            Some('\u{1}') => at = until(at, '\u{2}').unwrap_or(at) + 1,
            Some(quote @ ('\'' | '"')) => at = until(at, *quote).unwrap_or(at) + 1,
            Some(first) if first.is_alphanumeric() || *first == '_' => {
                while characters.get(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '*')) {
                    at += 1;
                }
            }
            Some('(' | ')' | ',' | '[' | ']') => at += 1,
            Some(_) => {
                while characters.get(at).is_some_and(|c| "+-*/%<>=!|&#~:@?^".contains(*c)) {
                    at += 1;
                }
                at = at.max(begin + 1);
            }
        }
        tokens.push(characters[begin..at].iter().collect());
    }
    tokens
}

/// Smaller token lists, the smallest first.
fn candidates(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for length in (1..tokens.len()).rev() {
        for begin in 0..=tokens.len() - length {
            if balanced(&tokens[begin..begin + length]) {
                found.push([&tokens[..begin], &tokens[begin + length..]].concat());
            }
        }
    }
    for (open, close) in groups(tokens) {
        for begin in open.saturating_sub(3)..=open {
            let mut inner = tokens[open + 1..close].to_vec();
            if let Some(first) = inner.first_mut() {
                *first = format!(" {first}");
            }
            found.push([&tokens[..begin], &inner, &tokens[close + 1..]].concat());
        }
    }
    found.sort_by_key(Vec::len);
    found
}

fn balanced(tokens: &[String]) -> bool {
    let mut depth = 0;
    for token in tokens {
        match token.trim() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

/// Parenthesised groups, and what stands between the words of a CASE.
fn groups(tokens: &[String]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (open, token) in tokens.iter().enumerate() {
        let closers: &[&str] = match token.trim() {
            "(" => &[")"],
            "WHEN" | "THEN" | "ELSE" => &["THEN", "ELSE", "END", "WHEN"],
            _ => continue,
        };
        let mut close = open + 1;
        while close < tokens.len() {
            if closers.contains(&tokens[close].trim()) && balanced(&tokens[open + 1..close]) {
                found.push((open, close));
                break;
            }
            close += 1;
        }
    }
    found
}

/// The protocol is not what a shrunk script is about: prefer the plain one, if it shows the difference too.
pub fn plainest_mode(pair: &mut Pair, found: &Mismatch) -> Mode {
    let script = Script { family: found.family, steps: found.script.clone() };
    match pair.try_out(&script, Mode::Simple) {
        Some(mismatch) if mismatch.kind == found.kind => Mode::Simple,
        _ => found.mode,
    }
}
