//! `[events]`: which verdicts are reported.

use super::{
    Events,
    document::Document,
    parse::ABOVE_ALL_TABLES,
    table::{Item, Key, Shape, Table},
    value::{choice, number},
};

const EVENTS: Shape = Shape {
    label: "[events]",
    keys: &[
        Key::optional("drops"),
        Key::optional("passes"),
        Key::optional("per_second"),
        Key::optional("source"),
    ],
    elsewhere: &[
        ("rate", "write `per_second`"),
        (
            "sample",
            "write `drops` and `passes`: one in how many is reported",
        ),
        ABOVE_ALL_TABLES[0],
        ABOVE_ALL_TABLES[1],
        ABOVE_ALL_TABLES[2],
        ABOVE_ALL_TABLES[3],
        ABOVE_ALL_TABLES[4],
    ],
};

const DROPS: u64 = 1;
const PASSES: u64 = 0;
const PER_SECOND: u64 = 1000;
const MAX_PER_SECOND: u64 = 1_000_000;

/// Reads the table.
pub(super) fn read_events<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Events> {
    let table = Table::open(document, item, &EVENTS)?;
    let mut read = |key, default, limits| match table.get(key) {
        Some(item) => number(document, item, limits).and_then(|value| u32::try_from(value).ok()),
        None => u32::try_from(default).ok(),
    };
    let drops = read("drops", DROPS, 0..=u64::from(u32::MAX));
    let passes = read("passes", PASSES, 0..=u64::from(u32::MAX));
    let per_second = read("per_second", PER_SECOND, 1..=MAX_PER_SECOND);
    let source_bits = match table.get("source") {
        Some(item) => choice(
            document,
            item,
            &[("prefix", [24, 48]), ("full", [32, 128]), ("none", [0, 0])],
            &[("anonymous", "none"), ("address", "full")],
        ),
        None => Some([24, 48]),
    };
    if (drops, passes) == (Some(0), Some(0)) {
        document.warning(
            item.node,
            "`drops = 0` and `passes = 0`: nothing is reported",
            "remove `[events]`, or say one in how many packets is reported",
        );
    }
    Some(Events {
        drops: drops?,
        passes: passes?,
        per_second: per_second?,
        source_bits: source_bits?,
    })
}
