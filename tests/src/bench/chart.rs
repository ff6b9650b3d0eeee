//! The report as a picture: an SVG file with a panel for each contest.

use std::fmt::Write as _;

use super::{
    contestant::name,
    row::{Row, Spread, Unit},
};

const WIDTH: f64 = 960.0;
const LABELS: f64 = 270.0;
const BARS: f64 = 520.0;
const LINE: f64 = 22.0;
const TITLE: f64 = 34.0;
const MARGIN: f64 = 16.0;

/// Bars of one contest.
struct Panel<'a> {
    name: &'a str,
    unit: Unit,
    bars: Vec<(&'a str, Spread)>,
}

/// Draws every row in which cordon is compared with another.
pub fn svg(rows: &[Row], heading: &str) -> String {
    let panels = panels(rows);
    let height = panels
        .iter()
        .map(|panel| TITLE + LINE * panel.bars.len() as f64 + MARGIN)
        .sum::<f64>()
        + 3.0 * MARGIN
        + TITLE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut y = MARGIN + 14.0;
    text(&mut svg, MARGIN, y, "start", "font-weight=\"bold\"", heading);
    y += 20.0;
    let legend = "Bars: medians, shorter is better; thin lines: from minimum to maximum.";
    text(&mut svg, MARGIN, y, "start", "fill=\"#666\"", legend);
    y += MARGIN;
    for panel in panels {
        y = draw(&mut svg, &panel, y);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panels(rows: &[Row]) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    for row in rows {
        let (Some(value), Some(against)) = (row.value, &row.against) else {
            continue;
        };
        let Some(other) = against.value else { continue };
        let idx = panels.iter().position(|panel| panel.name == row.name);
        let idx = idx.unwrap_or_else(|| {
            panels.push(Panel {
                name: &row.name,
                unit: row.unit,
                bars: Vec::new(),
            });
            panels.len() - 1
        });
        let bars = &mut panels[idx].bars;
        for (who, spread) in [(row.subject.as_str(), value), (against.name.as_str(), other)] {
            if bars.iter().all(|(name, _)| *name != who) {
                bars.push((who, spread));
            }
        }
    }
    panels
}

fn draw(svg: &mut String, panel: &Panel<'_>, top: f64) -> f64 {
    let mut y = top + TITLE - 10.0;
    let title = format!("{}, {}", panel.name, panel.unit);
    text(svg, MARGIN, y, "start", "font-weight=\"bold\"", &title);
    y += 10.0;
    let longest = panel
        .bars
        .iter()
        .map(|(_, spread)| spread.max)
        .fold(0.0, f64::max);
    let scale = if longest > 0.0 { BARS / longest } else { 0.0 };
    for (who, spread) in &panel.bars {
        let colour = match *who {
            name::DROP_ONLY | name::PASS_ONLY => "#b0b0b0",
            who if who.starts_with(name::CORDON) => "#1f6f4a",
            _ => "#c58a3d",
        };
        let middle = y + LINE / 2.0;
        text(svg, LABELS - 8.0, middle + 4.0, "end", "", who);
        let length = spread.median * scale;
        rect(svg, [LABELS, y + 3.0, length.max(1.0), LINE - 6.0], colour);
        let [from, to] = [spread.min, spread.max].map(|figure| LABELS + figure * scale);
        rect(svg, [from, middle - 0.75, (to - from).max(0.5), 1.5], "#222");
        let figure = figure(spread.median, panel.unit);
        text(
            svg,
            to.max(LABELS + length) + 8.0,
            middle + 4.0,
            "start",
            "",
            &figure,
        );
        y += LINE;
    }
    y + MARGIN
}

fn figure(value: f64, unit: Unit) -> String {
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

fn rect(svg: &mut String, [x, y, width, height]: [f64; 4], colour: &str) {
    writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
    )
    .expect("writing to a string");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, attributes: &str, content: &str) {
    let content = content
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {attributes}>{content}</text>"
    )
    .expect("writing to a string");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::Group;

    #[test]
    fn a_panel_shows_each_contestant_once_and_longer_bars_for_more() {
        let against = |name: &str, figure: f64| {
            Row::alternating(
                Group::Packets,
                "a < b",
                Unit::Ns,
                ("cordon", &[50.0]),
                (name, &[figure]),
            )
        };
        let svg = svg(&[against("floor", 25.0), against("peer", 100.0)], "bench");
        assert_eq!(svg.matches(">cordon</text>").count(), 1, "{svg}");
        assert!(svg.contains("a &lt; b, ns"), "{svg}");
        assert!(
            svg.contains("width=\"520.0\""),
            "the longest bar fills the panel: {svg}"
        );
        assert!(svg.contains("width=\"260.0\""), "half of it takes half: {svg}");
    }
}
