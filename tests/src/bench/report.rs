//! The report as tables of Markdown: all of it for the terminal, the ratios for the README.

use std::fmt::Write as _;

use super::{
    Figures,
    contestant::name,
    paths::PathRow,
    row::{Aim, Group, Row, Spread, Unit},
};

/// Everything.
pub fn full(figures: &Figures) -> String {
    let mut text = format!(
        "{}, {}, {} rounds.\nRatios say how many times as good the first is as what it is compared with.\n",
        figures.machine, figures.at, figures.rounds
    );
    for group in figures.groups() {
        all_rows(&mut text, figures, group);
    }
    text.push('\n');
    text.push_str(&steps(figures));
    text.push_str(&not_comparable(&figures.rows));
    text.push_str(&aims(&figures.rows));
    text
}

/// The block of the README.
pub fn for_readme(figures: &Figures) -> String {
    let mut text = format!("{}, {} rounds.\n", figures.machine, figures.rounds);
    for group in figures.groups() {
        let rows: Vec<&Row> = figures
            .rows
            .iter()
            .filter(|row| row.group == group && row.subject != super::packets::LIST_ONLY)
            .collect();
        pivot(&mut text, &rows, group);
    }
    text.push('\n');
    text.push_str(&steps(figures));
    text.push_str(&aims(&figures.rows));
    text
}

fn all_rows(text: &mut String, figures: &Figures, group: Group) {
    let _ = writeln!(
        text,
        "\n| {group} | who: min | median | max | compared with | its median | ratio: min | median | max |\n\
         | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
    );
    for row in figures.rows.iter().filter(|row| row.group == group) {
        let [min, median, max] = cells(row.value, row.unit);
        let against = row.against.as_ref();
        let other = against.and_then(|against| against.value);
        let [_, other, _] = cells(other, row.unit);
        let [low, ratio, high] = row
            .ratio()
            .map_or(["".to_owned(), "".to_owned(), "".to_owned()], |ratio| {
                [ratio.min, ratio.median, ratio.max].map(|ratio| format!("{ratio:.2}"))
            });
        let _ = writeln!(
            text,
            "| {}: {} | {min} | **{median}** | {max} | {} | {other} | {low} | **{ratio}** | {high} |",
            row.name,
            row.subject,
            against.map_or("", |against| &against.name),
        );
        if let Some(note) = &row.note {
            let _ = writeln!(text, "| &emsp; {note} | | | | | | | | |");
        }
    }
}

fn cells(spread: Option<Spread>, unit: Unit) -> [String; 3] {
    match spread {
        Some(spread) => [spread.min, spread.median, spread.max].map(|value| figure(value, unit)),
        None => ["".to_owned(), "".to_owned(), "".to_owned()],
    }
}

fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Packets => format!("{value:.0}"),
        _ if value < 100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// A line for each contest, a column for each of the others.
fn pivot(text: &mut String, rows: &[&Row], group: Group) {
    let mut others: Vec<&str> = Vec::new();
    let mut lines: Vec<(&str, &str)> = Vec::new();
    for row in rows.iter().filter(|row| row.ratio().is_some()) {
        let against = row.against.as_ref().map_or("", |against| &against.name);
        if !others.contains(&against) {
            others.push(against);
        }
        if !lines.contains(&(&row.name, &row.subject)) {
            lines.push((&row.name, &row.subject));
        }
    }
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n| {group}: {} is so many times as good as | {} |\n| --- |{}",
        name::CORDON,
        others.join(" | "),
        " ---: |".repeat(others.len())
    );
    for (line, subject) in lines {
        let subject_name = if subject == name::CORDON {
            String::new()
        } else {
            format!("{subject}: ")
        };
        let _ = write!(text, "| {subject_name}{line} |");
        for other in &others {
            let ratio = rows
                .iter()
                .find(|row| {
                    row.name == line
                        && row.subject == subject
                        && row.against.as_ref().is_some_and(|against| against.name == *other)
                })
                .and_then(|row| row.ratio());
            let _ = match ratio {
                Some(ratio) => write!(
                    text,
                    " **{:.2}** ({:.2} - {:.2}) |",
                    ratio.median, ratio.min, ratio.max
                ),
                None => write!(text, " |"),
            };
        }
        text.push('\n');
    }
}

/// Publishing step by step, and the programs.
fn steps(figures: &Figures) -> String {
    let mut text = String::new();
    if !figures.publishes.is_empty() {
        text.push_str(
            "| publish, median | read | compile | load | fill | verify | total (min - max) |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
    }
    for row in &figures.publishes {
        let [min, median, max] = row.total_ms;
        let _ = writeln!(
            text,
            "| {} | {:.0} ms | {:.1} ms | {:.0} ms | {:.0} ms | {:.0} ms | **{median:.0} ms** ({min:.0} - {max:.0}) |",
            row.name, row.read_ms[1], row.compile_ms[1], row.load_ms[1], row.fill_ms[1], row.verify_ms[1]
        );
    }
    if let Some(row) = figures.publishes.first() {
        let [v4, v6] = row.n_prefixes;
        let _ = writeln!(text, "\nLocation tables: {v4} IPv4 and {v6} IPv6 prefixes.");
    }
    for program in &figures.programs {
        let _ = write!(text, "Program {}: ", program.name);
        match program.verified_instructions {
            Some(size) => {
                let _ = write!(text, "{size} verified instructions");
            }
            None => text.push_str("verified instructions unknown"),
        }
        let ms = program.load.map(|load| load.as_secs_f64() * 1e3);
        let _ = writeln!(
            text,
            "{}.",
            ms.map_or(String::new(), |ms| format!(", loaded in {ms:.1} ms"))
        );
    }
    text
}

/// Reached or not, by the medians of this run.
fn aims(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        for aim in &row.aims {
            let against = row
                .against
                .as_ref()
                .map(|against| format!(" against {}", against.name));
            let what = format!("{}: {}{}", row.name, row.subject, against.unwrap_or_default());
            let (aim_text, seen) = match aim {
                Aim::RatioAtLeast(least) => (
                    format!("at least {least}"),
                    row.ratio().map(|ratio| format!("{:.2}", ratio.median)),
                ),
                Aim::AtMost(most) => (
                    format!("at most {}", figure(*most, row.unit)),
                    row.value.map(|value| figure(value.median, row.unit)),
                ),
            };
            let verdict = match aim.is_reached(row) {
                Some(true) => "reached",
                Some(false) => "**not reached**",
                None => "not measured",
            };
            let seen = seen.unwrap_or_default();
            let _ = writeln!(text, "| {what} | {aim_text} | {seen} | {verdict} |");
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\n| aim | | median here | |\n| --- | --- | ---: | --- |\n{text}")
}

fn not_comparable(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        if let Some(why) = &row.not_comparable {
            let against = row.against.as_ref().map_or("", |against| &against.name);
            let _ = writeln!(text, "- {}: {} and {against}: {why}", row.name, row.subject);
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\nNot comparable, or not quite:\n\n{text}")
}

/// Prints the comparison of two builds.
pub fn print_paths(rows: &[PathRow]) {
    println!("| one prefix, one frame | before, ns | this build, ns | ratio: min | median | max |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for row in rows {
        let [min, median, max] = row.ratio;
        println!(
            "| {} | {:.0} | {:.0} | {min:.3} | **{median:.3}** | {max:.3} |",
            row.name, row.before_ns[1], row.ns[1]
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_that_is_missed_says_so_and_one_that_is_met_too() {
        let row = |figure: f64| {
            Row::alone(Group::Reload, "x", Unit::Ms, ("cordon", &[figure])).aiming(Aim::AtMost(50.0))
        };
        assert!(aims(&[row(49.0)]).contains("| x: cordon | at most 50.0 ms | 49.0 ms | reached |"));
        assert!(aims(&[row(51.0)]).contains("| 51.0 ms | **not reached** |"));
    }

    #[test]
    fn the_readme_has_a_line_for_a_contest_and_a_column_for_each_peer() {
        let row = |name: &str, peer: &str| {
            Row::alternating(
                Group::Packets,
                name,
                Unit::Ns,
                ("cordon", &[50.0]),
                (peer, &[100.0]),
            )
        };
        let rows = [row("a", "nft"), row("a", "ipset"), row("b", "ipset")];
        let mut text = String::new();
        pivot(&mut text, &rows.iter().collect::<Vec<_>>(), Group::Packets);
        assert!(text.contains("as good as | nft | ipset |"), "{text}");
        assert!(text.contains("| a | **2.00** (2.00 - 2.00) | **2.00**"), "{text}");
        assert!(text.contains("| b | | **2.00**"), "{text}");
    }
}
