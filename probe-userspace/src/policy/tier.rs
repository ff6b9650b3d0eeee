//! `[[tier]]`: an action with its parameters, under a name.

use std::cell::Cell;

use probe_common::{Action, Decision, limits::MAX_TIERS};
use toml::de::DeValue;

use super::{
    Located, Tier, Treatment,
    action::{Actions, Named},
    document::Document,
    limits::{MAX_BURST_S, MAX_BYTES_PER_S, MAX_PACKETS_PER_S},
    parse::ABOVE_ALL_TABLES,
    similar::similar,
    table::{Item, Key, Shape, Table, wrong_type},
    value::{choice, id, interface, number, string},
};
use crate::diagnostic::Diagnostic;

const TIER: Shape = Shape {
    label: "[[tier]]",
    keys: &[
        Key::mandatory("name", "rules name the tier by it", "add `name = \"...\"`"),
        Key::mandatory(
            "action",
            "a tier says what happens",
            "add `action = \"limit\"`, `\"mark\"` or `\"redirect\"`",
        ),
        Key::optional("dscp"),
        Key::optional("packets_per_s"),
        Key::optional("bytes_per_s"),
        Key::optional("burst_packets"),
        Key::optional("burst_bytes"),
        Key::optional("per"),
        Key::optional("interface"),
        Key::optional("next_hop"),
    ],
    elsewhere: &[
        ("rate", "write `packets_per_s` or `bytes_per_s`"),
        ("burst", "write `burst_packets` or `burst_bytes`"),
        ("mac", "write `next_hop`"),
        ("gateway", "write `next_hop`, a MAC address"),
        (
            "services",
            "a tier holds wherever a rule names it; write `services` in the rule",
        ),
        ("phases", "write `phases` in the rule or the exemption"),
        ABOVE_ALL_TABLES[0],
        ABOVE_ALL_TABLES[1],
        ABOVE_ALL_TABLES[2],
        ABOVE_ALL_TABLES[3],
        ABOVE_ALL_TABLES[4],
    ],
};

const ACTIONS: &[(&str, Action)] = &[
    ("mark", Action::Mark),
    ("limit", Action::Limit),
    ("redirect", Action::Redirect),
    ("pass", Action::Pass),
    ("count", Action::Count),
    ("drain", Action::Drain),
    ("reject", Action::Reject),
    ("drop", Action::Drop),
];

const SYNONYMS: &[(&str, &str)] = &[
    ("dscp", "mark"),
    ("tag", "mark"),
    ("throttle", "limit"),
    ("police", "limit"),
    ("forward", "redirect"),
    ("allow", "pass"),
    ("accept", "pass"),
    ("block", "drop"),
    ("deny", "drop"),
];

/// Which keys carry parameters, and of which action.
const PARAMETERS: &[(&str, Action)] = &[
    ("dscp", Action::Mark),
    ("packets_per_s", Action::Limit),
    ("bytes_per_s", Action::Limit),
    ("burst_packets", Action::Limit),
    ("burst_bytes", Action::Limit),
    ("per", Action::Limit),
    ("interface", Action::Redirect),
    ("next_hop", Action::Redirect),
];

/// Reads the `[[tier]]` tables.
pub(super) fn read_tiers<'a>(document: &mut Document<'a>, root: &Table<'a>) -> (Vec<Tier>, Actions) {
    let mut tiers: Vec<Tier> = Vec::new();
    let mut actions = Actions::default();
    for item in root.tables(document, "tier", "[[tier]]", MAX_TIERS) {
        let Some(table) = Table::open(document, item, &TIER) else {
            continue;
        };
        let name = table.read(document, "name", |document, item| {
            tier_name(document, item, &actions)
        });
        let action = table.read(document, "action", |document, item| {
            choice(document, item, ACTIONS, SYNONYMS)
        });
        let treatment = action.and_then(|action| treatment(document, &table, action));
        let Some(name) = name else {
            continue;
        };
        let decision = treatment.as_ref().map(|treatment| match treatment {
            // Without parameters a tier is but another name: cells that say the same are the same.
            Treatment::Plain(action) => Decision::new(*action),
            Treatment::Mark { .. } => Decision::with_tier(Action::Mark, next_idx(&tiers)),
            Treatment::Limit { .. } => Decision::with_tier(Action::Limit, next_idx(&tiers)),
            Treatment::Redirect { .. } => Decision::with_tier(Action::Redirect, next_idx(&tiers)),
        });
        let named = Named {
            decision,
            action,
            place: name.place.clone(),
            is_used: Cell::new(false),
        };
        actions.add(name.value.clone(), named);
        if let Some(treatment) = treatment {
            tiers.push(Tier { name, treatment });
        }
    }
    (tiers, actions)
}

/// The index of the tier that is read next; 0 is none.
fn next_idx(tiers: &[Tier]) -> u8 {
    u8::try_from(tiers.len() + 1).unwrap_or(u8::MAX)
}

fn tier_name(document: &mut Document<'_>, item: Item<'_>, actions: &Actions) -> Option<Located<String>> {
    let name = id(document, item, "._-")?;
    if let Some(first) = actions.tier(&name.value) {
        let message = format!("another tier has this name, in line {}", first.place.line);
        document.error(item.node, message, "give each tier a name of its own");
        return None;
    }
    let is_action = |action: &&Action| action.name().eq_ignore_ascii_case(&name.value);
    if Action::ALL.iter().find(is_action).is_some() {
        document.error(
            item.node,
            "this is the name of an action",
            "choose another name, one that says whom or what the tier is for",
        );
        return None;
    }
    Some(name)
}

fn treatment<'a>(document: &mut Document<'a>, table: &Table<'a>, action: Action) -> Option<Treatment> {
    let mut is_whole = true;
    for (key, of_action) in PARAMETERS {
        if let Some(item) = table.get(key)
            && *of_action != action
        {
            document.error(
                item.node,
                format!(
                    "`{key}` is a parameter of `{}`; this tier is a `{}`",
                    of_action.name(),
                    action.name()
                ),
                "remove it, or change `action`",
            );
            is_whole = false;
        }
    }
    let treatment = match action {
        Action::Mark => mark(document, table),
        Action::Limit => limit(document, table),
        Action::Redirect => redirect(document, table),
        Action::Pass | Action::Count | Action::Drain | Action::Reject | Action::Drop => {
            Some(Treatment::Plain(action))
        }
    };
    treatment.filter(|_| is_whole)
}

/// Reports a parameter without which an action means nothing.
fn missing(document: &mut Document<'_>, table: &Table<'_>, keys: &[&str], message: &str, fix: &str) {
    if !keys.iter().any(|key| document.has_broken_line_for(key)) {
        document.remark(Diagnostic::error(table.place.clone(), "", message, fix));
    }
}

fn mark<'a>(document: &mut Document<'a>, table: &Table<'a>) -> Option<Treatment> {
    let Some(item) = table.get("dscp") else {
        missing(
            document,
            table,
            &["dscp"],
            "`dscp` is missing in [[tier]]: `mark` writes it into packets",
            "add `dscp = \"le\"`, or a number from 0 to 63",
        );
        return None;
    };
    Some(Treatment::Mark {
        dscp: dscp(document, item)?,
    })
}

fn dscp(document: &mut Document<'_>, item: Item<'_>) -> Option<u8> {
    match item.node.get_ref() {
        DeValue::Integer(_) => u8::try_from(number(document, item, 0..=63)?).ok(),
        DeValue::String(name) => {
            let found = dscp_names().find(|(known, _)| known.eq_ignore_ascii_case(name));
            if let Some((_, dscp)) = found {
                return Some(dscp);
            }
            let names: Vec<String> = dscp_names().map(|(name, _)| name).collect();
            let fix = match similar(name, names.iter().map(String::as_str)) {
                Some(close) => item.quoted(close),
                None => "write a number from 0 to 63, or `cs0` to `cs7`, `af11` to `af43`, `ef`, `le`, `va`"
                    .to_owned(),
            };
            document.error(item.node, "no DSCP has this name", fix);
            None
        }
        _ => {
            wrong_type(
                document,
                item,
                "a number or a name",
                "write `dscp = \"le\"`, or a number from 0 to 63",
            );
            None
        }
    }
}

/// Names of RFC 2474 (class selectors), 2597 (assured), 3246 (expedited), 5865 (voice-admit) and 8622 (lower effort).
fn dscp_names() -> impl Iterator<Item = (String, u8)> {
    let selectors = (0..8).map(|class| (format!("cs{class}"), class << 3));
    let assured = (1..=4).flat_map(|class| {
        (1..=3).map(move |precedence| (format!("af{class}{precedence}"), class << 3 | precedence << 1))
    });
    let single = [("ef", 46), ("le", 1), ("va", 44)].map(|(name, dscp)| (name.to_owned(), dscp));
    selectors.chain(assured).chain(single)
}

fn limit<'a>(document: &mut Document<'a>, table: &Table<'a>) -> Option<Treatment> {
    let (packets, bytes) = (table.get("packets_per_s"), table.get("bytes_per_s"));
    if packets.is_none() && bytes.is_none() {
        missing(
            document,
            table,
            &["packets_per_s", "bytes_per_s"],
            "the tier names no rate",
            "add `packets_per_s = 100` or `bytes_per_s = 125_000`, or both",
        );
        return None;
    }
    let packets_per_s = rate(document, packets, MAX_PACKETS_PER_S);
    let bytes_per_s = rate(document, bytes, MAX_BYTES_PER_S);
    let burst_packets = burst(document, table, "burst_packets", "packets_per_s", packets_per_s);
    let burst_bytes = burst(document, table, "burst_bytes", "bytes_per_s", bytes_per_s);
    let per_class = match table.get("per") {
        Some(item) => choice(
            document,
            item,
            &[("source", false), ("class", true)],
            &[
                ("ip", "source"),
                ("address", "source"),
                ("country", "class"),
                ("place", "class"),
            ],
        ),
        None => Some(false),
    };
    Some(Treatment::Limit {
        packets_per_s: packets_per_s?,
        bytes_per_s: bytes_per_s?,
        burst_packets: burst_packets?,
        burst_bytes: burst_bytes?,
        per_class: per_class?,
    })
}

/// A rate: outer `None` if it cannot be taken, inner if it is not given.
#[expect(
    clippy::option_option,
    reason = "`refused`, `absent` and a value, in the shape that `?` reads"
)]
fn rate(document: &mut Document<'_>, item: Option<Item<'_>>, max: u64) -> Option<Option<u64>> {
    match item {
        Some(item) => number(document, item, 1..=max).map(Some),
        None => Some(None),
    }
}

#[expect(
    clippy::option_option,
    reason = "`refused`, `absent` and a value, in the shape that `?` reads"
)]
fn burst<'a>(
    document: &mut Document<'a>,
    table: &Table<'a>,
    key: &'static str,
    rate_key: &str,
    rate: Option<Option<u64>>,
) -> Option<Option<u64>> {
    let Some(item) = table.get(key) else {
        return Some(None);
    };
    match rate {
        // The rate was reported.
        None => None,
        Some(None) => {
            document.error(
                item.node,
                format!("`{key}` without `{rate_key}`: a burst is how far a rate may be overrun"),
                format!("add `{rate_key}`, or remove it"),
            );
            None
        }
        Some(Some(rate)) => {
            let burst = number(document, item, 1..=u64::from(u32::MAX) * 1000)?;
            if burst > rate * MAX_BURST_S {
                document.error(
                    item.node,
                    format!("`{key}` is more than an hour's worth of `{rate_key} = {rate}`"),
                    format!("choose at most {}", rate * MAX_BURST_S),
                );
                return None;
            }
            Some(Some(burst))
        }
    }
}

fn redirect<'a>(document: &mut Document<'a>, table: &Table<'a>) -> Option<Treatment> {
    let next_hop = table.get("next_hop").map(|item| mac(document, item));
    let Some(item) = table.get("interface") else {
        missing(
            document,
            table,
            &["interface"],
            "`interface` is missing in [[tier]]: `redirect` sends packets out of it",
            "add `interface = \"eth1\"`",
        );
        return None;
    };
    let interface = interface(document, item)?;
    let next_hop = match next_hop {
        Some(next_hop) => Some(next_hop?),
        None => None,
    };
    Some(Treatment::Redirect { interface, next_hop })
}

/// A MAC address of one station.
fn mac(document: &mut Document<'_>, item: Item<'_>) -> Option<[u8; 6]> {
    let written = string(document, item)?;
    let fix = "write the MAC address of the next router, as in `02:00:00:00:00:01`";
    let Some(mac) = parse_mac(written) else {
        document.error(item.node, "not a MAC address", fix);
        return None;
    };
    if mac == [0; 6] || mac[0] & 1 == 1 {
        document.error(item.node, "this MAC address is not that of one station", fix);
        return None;
    }
    Some(mac)
}

fn parse_mac(written: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = written.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_have_the_names_of_their_rfcs() {
        let find = |name: &str| dscp_names().find(|(known, _)| known == name).unwrap().1;
        for (name, dscp) in [
            ("cs0", 0),
            ("cs1", 8),
            ("cs7", 56),
            ("af11", 10),
            ("af23", 22),
            ("af43", 38),
            ("ef", 46),
            ("va", 44),
            ("le", 1),
        ] {
            assert_eq!(find(name), dscp, "{name}");
        }
        assert_eq!(dscp_names().count(), 8 + 12 + 3);
    }

    #[test]
    fn mac_addresses_are_six_pairs() {
        assert_eq!(parse_mac("02:00:5e:10:00:ff"), Some([2, 0, 0x5e, 0x10, 0, 0xff]));
        assert_eq!(parse_mac("02-00-5E-10-00-FF"), Some([2, 0, 0x5e, 0x10, 0, 0xff]));
        for written in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:ff:01",
            "2:0:5e:10:0:ff",
            "+2:00:5e:10:00:ff",
        ] {
            assert_eq!(parse_mac(written), None, "{written}");
        }
    }
}
