//! Spans of time as people write them: `90s`, `2h`, `1h30m`.

use std::time::Duration;

/// Parses a span: numbers with `s`, `m`, `h` or `d`, largest first or not; at least one second.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let fix = "write a number with s, m, h or d, such as 120s, 2h or 1h30m";
    let mut seconds: u64 = 0;
    let mut number = String::new();
    for char in text.chars() {
        if char.is_ascii_digit() {
            number.push(char);
            continue;
        }
        let unit: u64 = match char {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(format!("`{char}` is no unit of time: {fix}")),
        };
        let count: u64 = number
            .parse()
            .map_err(|_| format!("a number is missing or too large: {fix}"))?;
        number.clear();
        seconds = count
            .checked_mul(unit)
            .and_then(|part| seconds.checked_add(part))
            .ok_or_else(|| format!("too long: {fix}"))?;
    }
    if !number.is_empty() {
        return Err(format!("the unit is missing: {fix}"));
    }
    if seconds == 0 {
        return Err(format!("must be at least one second: {fix}"));
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        let seconds = |text| parse_span(text).map(|span| span.as_secs());
        assert_eq!(seconds("120s"), Ok(120));
        assert_eq!(seconds("2h"), Ok(7200));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("1d"), Ok(86_400));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("120", "unit is missing"),
            ("", "at least one second"),
            ("0s", "at least one second"),
            ("h", "number is missing"),
            ("2w", "`w` is no unit"),
            ("-5s", "`-` is no unit"),
            ("99999999999999999999s", "too large"),
            ("9999999999999999999d", "too long"),
        ] {
            let error = parse_span(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
