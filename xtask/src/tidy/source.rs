//! Rust source without comments and literals, so that rules about code do not trip over prose.

/// The same text with the content of comments, strings and character literals blanked. Lines stay where they are.
pub fn code_only(text: &str) -> String {
    let mut lexer = Lexer {
        rest: text,
        code: String::with_capacity(text.len()),
        last: ' ',
    };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.code
}

struct Lexer<'a> {
    rest: &'a str,
    code: String,
    /// The last character of code, to tell `r"` from the end of an identifier.
    last: char,
}

impl Lexer<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment_len(self.rest));
        } else if let Some(len) = self.raw_string_len() {
            self.blank(len);
        } else if self.rest.starts_with('"') {
            self.blank(quoted_len(self.rest, '"'));
        } else if let Some(len) = char_literal_len(self.rest) {
            self.blank(len);
        } else if let Some(c) = self.rest.chars().next() {
            self.code.push(c);
            self.last = c;
            self.rest = &self.rest[c.len_utf8()..];
        }
    }

    fn blank(&mut self, len: usize) {
        let (blanked, rest) = self.rest.split_at(len);
        self.code
            .extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.last = ' ';
        self.rest = rest;
    }

    /// Length of `r"..."`, `r#"..."#`; the `b` or `c` before it is harmless as code.
    fn raw_string_len(&self) -> Option<usize> {
        let follows_identifier =
            (self.last.is_alphanumeric() || self.last == '_') && !matches!(self.last, 'b' | 'c');
        let after_r = self.rest.strip_prefix('r').filter(|_| !follows_identifier)?;
        let n_hashes = after_r.len() - after_r.trim_start_matches('#').len();
        let content = after_r[n_hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(n_hashes));
        let content_len = content.find(&end).unwrap_or(content.len());
        Some((1 + n_hashes + 1 + content_len + end.len()).min(self.rest.len()))
    }
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a literal that starts with a quote, its end included.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Length of `'a'` or `'\n'`; `None` for a lifetime.
fn char_literal_len(text: &str) -> Option<usize> {
    let mut chars = text.strip_prefix('\'')?.chars();
    match (chars.next()?, chars.next()) {
        ('\\', _) => Some(quoted_len(text, '\'')),
        (c, Some('\'')) => Some(c.len_utf8() + 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_goes_and_code_stays() {
        for (text, expected) in [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("unsafe \" {", 1)"#, "f(             , 1)"),
            (r##"f(r#"a " b"#, 1)"##, "f(          , 1)"),
            ("br\"x\" y", "b     y"),
            ("'\"' + 'a' + '\\''", "    +     +     "),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("\"two\nlines\" c", "    \n       c"),
            ("for\"\"", "for  "),
        ] {
            assert_eq!(code_only(text), expected, "of {text:?}");
        }
    }
}
