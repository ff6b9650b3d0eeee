//! Where a source file has branches, and what it looks like without one of them. Works on text, like a person who
//! deletes a line: no parse tree, and what then does not build is told apart.

use crate::tidy::code_only;

/// One change of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Line of the change, from 1.
    pub line: usize,
    /// What is changed, for the report.
    pub what: String,
    /// Bytes that are replaced.
    start: usize,
    end: usize,
    replacement: String,
}

impl Mutant {
    /// The file with the change.
    pub fn apply(&self, text: &str) -> String {
        [&text[..self.start], &self.replacement, &text[self.end..]].concat()
    }
}

/// Every change of a file's code; its tests are left alone.
pub fn mutants(text: &str) -> Vec<Mutant> {
    let text = &text[..text.find("#[cfg(test)]").unwrap_or(text.len())];
    // Bytes and characters must count the same.
    if !text.is_ascii() {
        return Vec::new();
    }
    let code = code_only(text);
    let mut found = Finder {
        text,
        code: &code,
        conditions: Vec::new(),
        mutants: Vec::new(),
    };
    found.conditions();
    found.arms();
    found.match_macros();
    found.operators();
    found.reasons();
    let mut mutants = found.mutants;
    mutants.sort_by_key(|mutant| (mutant.start, mutant.end));
    mutants
}

struct Finder<'a> {
    text: &'a str,
    /// The text with comments and literals blanked, byte for byte in the same place.
    code: &'a str,
    /// Where conditions stand.
    conditions: Vec<(usize, usize)>,
    mutants: Vec<Mutant>,
}

impl Finder<'_> {
    fn add(&mut self, start: usize, end: usize, replacement: String, what: String) {
        self.mutants.push(Mutant {
            line: self.text[..start].matches('\n').count() + 1,
            what,
            start,
            end,
            replacement,
        });
    }

    /// `if`, `while` and guards: never taken; then each part of the condition left out.
    fn conditions(&mut self) {
        for keyword in ["if", "while"] {
            for at in words(self.code, keyword) {
                let start = at + keyword.len();
                let Some(end) = end_of_condition(self.code, start) else {
                    continue;
                };
                let condition = self.text[start..end].trim();
                let has_let = words(condition, "let").next().is_some();
                let never = if has_let {
                    format!(" false && {condition} ")
                } else {
                    format!(" false && ({condition}) ")
                };
                self.add(
                    start,
                    end,
                    never,
                    format!("never: {keyword} {}", one_line(condition)),
                );
                self.conditions.push((start, end));
                for (operator, neutral) in [("&&", "true"), ("||", "false")] {
                    let parts = split(&self.code[start..end], operator);
                    if parts.len() < 2 || (operator == "||" && has_let) {
                        continue;
                    }
                    for (part_start, part_end) in parts {
                        let part = self.text[start + part_start..start + part_end].trim();
                        if words(part, "let").next().is_none() {
                            self.add(
                                start + part_start,
                                start + part_end,
                                format!(" {neutral} "),
                                format!("without the condition: {}", one_line(part)),
                            );
                        }
                    }
                }
            }
        }
    }

    /// Arms of a `match`: never taken; then each alternative left out.
    fn arms(&mut self) {
        let arrows: Vec<usize> = self.code.match_indices("=>").map(|(at, _)| at).collect();
        for arrow in arrows {
            let start = start_of_pattern(self.code, arrow);
            let pattern = self.code[start..arrow].trim();
            if matches!(pattern, "" | "_") || words(&self.code[start..arrow], "if").next().is_some() {
                continue;
            }
            let end = start + self.text[start..arrow].trim_end().len();
            self.add(
                end,
                end,
                " if false".to_owned(),
                format!("never: {} =>", one_line(pattern)),
            );
            self.alternatives(start, end);
        }
    }

    fn match_macros(&mut self) {
        let macros: Vec<usize> = self.code.match_indices("matches!(").map(|(at, _)| at).collect();
        for at in macros {
            let open = at + "matches!(".len();
            let Some(close) = closing(self.code, open) else {
                continue;
            };
            let name = one_line(&self.text[at..=close]);
            self.add(
                at,
                close + 1,
                format!("(false && {})", &self.text[at..=close]),
                format!("never: {name}"),
            );
            if let Some((_, first_end)) = split(&self.code[open..close], ",").first() {
                let start = open + first_end + 1;
                let end = words(&self.code[start..close], "if")
                    .next()
                    .map_or(close, |at| start + at);
                self.alternatives(start, end);
            }
        }
    }

    fn alternatives(&mut self, start: usize, end: usize) {
        let parts = split(&self.code[start..end], "|");
        if parts.len() < 2 {
            return;
        }
        for (idx, (part_start, part_end)) in parts.iter().enumerate() {
            let others: Vec<&str> = parts
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != idx)
                .map(|(_, (other_start, other_end))| self.text[start + other_start..start + other_end].trim())
                .collect();
            let part = one_line(&self.code[start + part_start..start + part_end]);
            self.add(
                start,
                end,
                format!(" {} ", others.join(" | ")),
                format!("without the alternative: {part}"),
            );
        }
    }

    /// `&&` and `||` outside of conditions, taken for each other.
    fn operators(&mut self) {
        for (operator, other) in [("&&", "||"), ("||", "&&")] {
            let places: Vec<usize> = self
                .code
                .match_indices(&format!(" {operator} "))
                .map(|(at, _)| at + 1)
                .collect();
            for at in places {
                if self
                    .conditions
                    .iter()
                    .any(|(start, end)| (*start..*end).contains(&at))
                {
                    continue;
                }
                self.add(
                    at,
                    at + 2,
                    other.to_owned(),
                    format!("`{other}` for `{operator}`"),
                );
            }
        }
    }

    /// Another reason than the one that is named.
    fn reasons(&mut self) {
        const NAME: &str = "Reason::";
        let places: Vec<usize> = self.code.match_indices(NAME).map(|(at, _)| at).collect();
        for at in places {
            let start = at + NAME.len();
            let rest = &self.code[start..];
            let len = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let reason = &rest[..len];
            if !reason.starts_with(char::is_uppercase) || reason.to_uppercase() == reason {
                continue;
            }
            let other = if reason == "NotIp" { "Arp" } else { "NotIp" };
            self.add(
                start,
                start + len,
                other.to_owned(),
                format!("`Reason::{other}` for `Reason::{reason}`"),
            );
        }
    }
}

/// Starts of a word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !code[..*at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part))
}

/// Where a condition ends: at the brace of its block, or at the arrow of its arm.
fn end_of_condition(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0_i32;
    let bytes = code.as_bytes();
    for at in start..bytes.len() {
        match bytes[at] {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b'=' if depth == 0 && bytes.get(at + 1) == Some(&b'>') => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

/// Where the pattern of an arm starts: behind the comma or block of the arm before it, or behind the brace.
fn start_of_pattern(code: &str, arrow: usize) -> usize {
    let bytes = code.as_bytes();
    let mut depth = 0_i32;
    let mut at = arrow;
    let mut seen_pattern = false;
    while at > 0 {
        let byte = bytes[at - 1];
        match byte {
            b')' | b']' => depth += 1,
            b'(' | b'[' | b'{' if depth > 0 => depth -= 1,
            b'}' if seen_pattern && depth == 0 => return at,
            b'}' => depth += 1,
            b'(' | b'[' | b'{' | b',' | b';' if depth == 0 => return at,
            _ => {}
        }
        seen_pattern |= !byte.is_ascii_whitespace();
        at -= 1;
    }
    0
}

/// The parenthesis that closes one that opened before `open`.
fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in code[open..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return Some(open + at),
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Parts between an operator that stands outside of all brackets. `|` is not `||`.
fn split(code: &str, operator: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let mut parts = Vec::new();
    let (mut depth, mut start, mut at) = (0_i32, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        let is_here = depth == 0
            && code[at..].starts_with(operator)
            && !(operator == "|" && (code[at..].starts_with("||") || code[..at].ends_with('|')));
        if is_here {
            parts.push((start, at));
            at += operator.len();
            start = at;
        } else {
            at += 1;
        }
    }
    parts.push((start, bytes.len()));
    parts
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Vec<String> {
        mutants(text)
            .iter()
            .map(|mutant| {
                mutant
                    .apply(text)
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    }

    #[test]
    fn a_condition_is_never_true_and_loses_each_part() {
        assert_eq!(
            changes("fn f() { if a == 1 && g(b || c) { x() } }"),
            [
                "fn f() { if true && g(b || c) { x() } }",
                "fn f() { if false && (a == 1 && g(b || c)) { x() } }",
                "fn f() { if a == 1 && true { x() } }",
            ]
        );
        assert_eq!(
            changes("fn f() { if let Some(a) = b && a { } }"),
            [
                "fn f() { if false && let Some(a) = b && a { } }",
                "fn f() { if let Some(a) = b && true { } }",
            ]
        );
    }

    #[test]
    fn an_arm_is_never_taken_and_loses_each_alternative() {
        assert_eq!(
            changes("match a { 1 | 2 => { b } S { c } => d, e if f => g, _ => h }"),
            [
                "match a { 2 => { b } S { c } => d, e if f => g, _ => h }",
                "match a { 1 => { b } S { c } => d, e if f => g, _ => h }",
                "match a { 1 | 2 if false => { b } S { c } => d, e if f => g, _ => h }",
                "match a { 1 | 2 => { b } S { c } if false => d, e if f => g, _ => h }",
                "match a { 1 | 2 => { b } S { c } => d, e if false && (f) => g, _ => h }",
            ]
        );
    }

    #[test]
    fn matches_lose_alternatives_and_operators_change() {
        assert_eq!(
            changes("let a = matches!(b, 1 | 2) && c;"),
            [
                "let a = (false && matches!(b, 1 | 2)) && c;",
                "let a = matches!(b, 2 ) && c;",
                "let a = matches!(b, 1 ) && c;",
                "let a = matches!(b, 1 | 2) || c;",
            ]
        );
    }

    #[test]
    fn reasons_change_and_tests_do_not() {
        assert_eq!(
            changes("f(Reason::Arp); // if a { }\n#[cfg(test)] mod tests { fn f() { if a { } } }"),
            ["f(Reason::NotIp); // if a { } #[cfg(test)] mod tests { fn f() { if a { } } }"]
        );
        assert!(changes("let n = Reason::N_WITH_CLASS;").is_empty());
    }
}
