//! `[[allow]]`, `[[deny]]` and `[[exemption]]`.

use std::collections::BTreeMap;

use super::{
    Deny, Exemption, Located, NamedLists, Phase, PrefixList,
    action::Actions,
    document::{Document, Node},
    limits::MAX_ENTRIES,
    listed::{ListKind, Listed, Meaning},
    parse::ABOVE_ALL_TABLES,
    phase::read_phases,
    prefix::prefix,
    similar::similar,
    table::{Item, Key, Shape, Table},
    value::{instant, list, string, text},
};
use crate::{diagnostic::Diagnostic, instant::Instant};

const WHY_PREFIXES: &str = "it says which sources the entry is about";
const ADD_PREFIXES: &str = "add `prefixes = [\"203.0.113.0/24\"]`";
const WHY_REASON: &str = "whoever reads the list later must know why";
const ADD_REASON: &str = "add `reason = \"...\"`";

const LIST_KEYS: &[Key] = &[
    Key::optional("prefixes"),
    Key::optional("list"),
    Key::mandatory("reason", WHY_REASON, ADD_REASON),
    Key::optional("until"),
];

const ALLOW: Shape = Shape {
    label: "[[allow]]",
    keys: LIST_KEYS,
    elsewhere: LIST_ELSEWHERE,
};

const DENY: Shape = Shape {
    label: "[[deny]]",
    keys: LIST_KEYS,
    elsewhere: LIST_ELSEWHERE,
};

const LIST_ELSEWHERE: &[(&str, &str)] = &[
    ("prefix", "write `prefixes = [...]`"),
    ("lists", "write `list = \"...\"`: one list in each entry"),
    (
        "countries",
        "prefix lists are about prefixes; write countries in an `[[order.rule]]`",
    ),
    ("orders", "only an `[[exemption]]` lifts single orders"),
    (
        "reference",
        "only an `[[exemption]]` has a reference; write it in `reason`",
    ),
    ("version", ABOVE_ALL_TABLES[0].1),
    ("default", ABOVE_ALL_TABLES[1].1),
    ("unknown", ABOVE_ALL_TABLES[2].1),
    ("lan", ABOVE_ALL_TABLES[3].1),
    ABOVE_ALL_TABLES[4],
    ("phases", "only an `[[exemption]]` has phases"),
];

const EXEMPTION: Shape = Shape {
    label: "[[exemption]]",
    keys: &[
        Key::optional("prefixes"),
        Key::optional("list"),
        Key::mandatory(
            "reference",
            "it ties the exemption to the case it was granted in",
            "add `reference = \"...\"`",
        ),
        Key::mandatory("reason", WHY_REASON, ADD_REASON),
        Key::optional("until"),
        Key::optional("phases"),
        Key::optional("orders"),
    ],
    elsewhere: &[
        ("prefix", "write `prefixes = [...]`"),
        ("lists", "write `list = \"...\"`: one list in each entry"),
        ("order", "write `orders = [\"...\"]`"),
        ("phase", "write `phases = [...]`"),
        (
            "action",
            "an exemption lets pass; what it does step by step is said by `phases`",
        ),
        (
            "services",
            "an exemption is for a source, whatever it asks for; services belong to rules",
        ),
        ("version", ABOVE_ALL_TABLES[0].1),
        ("default", ABOVE_ALL_TABLES[1].1),
        ("unknown", ABOVE_ALL_TABLES[2].1),
        ("lan", ABOVE_ALL_TABLES[3].1),
        ABOVE_ALL_TABLES[4],
    ],
};

/// The prefix lists of a policy.
pub(super) struct Lists {
    /// `[[allow]]`.
    pub allows: Vec<PrefixList>,
    /// `[[deny]]`.
    pub denies: Vec<Deny>,
    /// `[[exemption]]`.
    pub exemptions: Vec<Exemption>,
}

/// Reads the prefix lists. `order_ids` are the ids that exemptions may name.
pub(super) fn read_lists<'a>(
    document: &mut Document<'a>,
    root: &Table<'a>,
    order_ids: &BTreeMap<String, u32>,
    actions: &Actions,
    named: &NamedLists,
) -> Lists {
    let mut listed = Listed::new(named);
    let allows = read_prefix_lists(document, root, "allow", &ALLOW, ListKind::Allow, &mut listed);
    let denies = read_prefix_lists(document, root, "deny", &DENY, ListKind::Deny, &mut listed);
    let exemptions = read_exemptions(document, root, order_ids, actions, &mut listed);
    Lists {
        allows,
        denies,
        exemptions,
    }
}

fn read_prefix_lists<'a>(
    document: &mut Document<'a>,
    root: &Table<'a>,
    key: &'static str,
    shape: &Shape,
    kind: ListKind,
    listed: &mut Listed<'a, '_>,
) -> Vec<PrefixList> {
    let mut lists = Vec::new();
    for item in root.tables(document, key, shape.label, MAX_ENTRIES) {
        let Some(table) = Table::open(document, item, shape) else {
            continue;
        };
        let reason = table.read(document, "reason", text);
        let until = table.read(document, "until", instant);
        let meaning = Meaning {
            kind,
            until: until.as_ref().map(|until| until.value),
            orders: None,
            phases: Vec::new(),
        };
        let prefixes = read_sources(document, &table, shape.label, meaning, listed);
        if let (Some(reason), Some(prefixes)) = (reason, prefixes) {
            lists.push(PrefixList {
                prefixes,
                reason,
                until,
            });
        }
    }
    lists
}

fn read_exemptions<'a>(
    document: &mut Document<'a>,
    root: &Table<'a>,
    order_ids: &BTreeMap<String, u32>,
    actions: &Actions,
    listed: &mut Listed<'a, '_>,
) -> Vec<Exemption> {
    let mut exemptions = Vec::new();
    for item in root.tables(document, "exemption", "[[exemption]]", MAX_ENTRIES) {
        let Some(table) = Table::open(document, item, &EXEMPTION) else {
            continue;
        };
        let reference = table.read(document, "reference", text);
        let reason = table.read(document, "reason", text);
        let phases = match table.get("phases") {
            Some(item) => read_phases(document, item, actions),
            None => Some(Vec::new()),
        };
        let until = exemption_end(document, &table, phases.as_deref());
        let orders = table.read(document, "orders", |document, item| {
            read_order_ids(document, item, order_ids)
        });
        let mut ids: Option<Vec<String>> = orders
            .as_ref()
            .map(|orders| orders.iter().map(|order| order.value.clone()).collect());
        if let Some(ids) = &mut ids {
            ids.sort_unstable();
        }
        let meaning = Meaning {
            kind: ListKind::Exemption,
            until: until.as_ref().map(|until| until.value),
            orders: ids,
            phases: phases
                .iter()
                .flatten()
                .map(|phase| (phase.until.value, phase.decision))
                .collect(),
        };
        let prefixes = read_sources(document, &table, EXEMPTION.label, meaning, listed);
        if let (Some(prefixes), Some(reference), Some(reason), Some(until), Some(phases)) =
            (prefixes, reference, reason, until, phases)
        {
            exemptions.push(Exemption {
                prefixes,
                reference,
                reason,
                until,
                orders,
                phases,
            });
        }
    }
    exemptions
}

/// When an exemption ends: `until`, or the end of its last phase. Absent phases are an empty list, refused ones
/// `None`.
fn exemption_end<'a>(
    document: &mut Document<'a>,
    table: &Table<'a>,
    phases: Option<&[Phase]>,
) -> Option<Located<Instant>> {
    let last = phases.map(<[Phase]>::last);
    let Some(item) = table.get("until") else {
        if matches!(last, Some(None))
            && !["until", "phases"]
                .iter()
                .any(|key| document.has_broken_line_for(key))
        {
            document.remark(Diagnostic::error(
                table.place.clone(),
                "",
                "`until` is missing in [[exemption]]: an exemption ends by itself",
                "add `until = 2026-12-31T00:00:00Z`, the date it was granted to",
            ));
        }
        return last?.map(|phase| phase.until.clone());
    };
    let until = instant(document, item)?;
    if let Some(Some(last)) = last
        && last.until.value != until.value
    {
        document.error(
            item.node,
            format!(
                "the last phase ends at {}: an exemption with phases ends with the last of them",
                last.until.value
            ),
            "remove `until`, or make the two the same",
        );
        return None;
    }
    Some(until)
}

/// The prefixes of an entry: those in the policy, and those of the list that it names.
fn read_sources<'a>(
    document: &mut Document<'a>,
    table: &Table<'a>,
    label: &str,
    meaning: Meaning,
    listed: &mut Listed<'a, '_>,
) -> Option<Vec<Located<ipnet::IpNet>>> {
    let (written, named) = (table.get("prefixes"), table.get("list"));
    if written.is_none() && named.is_none() {
        if !["prefixes", "list"]
            .iter()
            .any(|key| document.has_broken_line_for(key))
        {
            document.remark(Diagnostic::error(
                table.place.clone(),
                "",
                format!("`prefixes` is missing in {label}: {WHY_PREFIXES}"),
                ADD_PREFIXES,
            ));
        }
        return None;
    }
    let meaning = listed.add_meaning(meaning);
    let mut prefixes = Vec::new();
    if let Some(item) = written {
        for element in list(document, item, "\"203.0.113.0/24\"")? {
            if let Some(prefix) = prefix(document, element)
                && listed.add(document, element.node, &prefix, meaning)
            {
                prefixes.push(prefix);
            }
        }
    }
    if let Some(item) = named {
        prefixes.extend(listed.add_list(document, item, meaning)?);
    }
    Some(prefixes)
}

fn read_order_ids<'a>(
    document: &mut Document<'a>,
    item: Item<'a>,
    order_ids: &BTreeMap<String, u32>,
) -> Option<Vec<Located<String>>> {
    let mut orders: Vec<Located<String>> = Vec::new();
    for element in list(document, item, "\"...\"")? {
        let Some(id) = string(document, element) else {
            continue;
        };
        if !order_ids.contains_key(id) {
            unknown_order(document, element.node, id, order_ids);
            continue;
        }
        if orders.iter().any(|order| order.value == id) {
            document.warning(
                element.node,
                "the order is already in this list",
                "remove one of the two",
            );
            continue;
        }
        orders.push(Located {
            value: id.to_owned(),
            place: document.place(element.node),
        });
    }
    Some(orders)
}

fn unknown_order(document: &mut Document<'_>, node: Node<'_>, id: &str, order_ids: &BTreeMap<String, u32>) {
    const MAX_SHOWN: usize = 10;
    let fix = if let Some(close) = similar(id, order_ids.keys().map(String::as_str)) {
        format!("did you mean `{close}`?")
    } else if order_ids.is_empty() {
        "the policy has no orders: remove `orders` to lift the defaults".to_owned()
    } else {
        let ids: Vec<&str> = order_ids.keys().map(String::as_str).take(MAX_SHOWN).collect();
        format!("orders of this policy: `{}`", ids.join("`, `"))
    };
    document.error(node, "no order has this id", fix);
}
