//! `[[order]]` and `[[order.rule]]`.

use std::collections::BTreeMap;

use probe_common::{Action, Decision};

use super::{
    Located, Order, Phase, Rule, Selector, SelectorItem,
    action::Actions,
    dead_rule::remark_dead_rules,
    document::Document,
    group::{Groups, country_list},
    limits::{MAX_ORDERS, MAX_RULES},
    parse::ABOVE_ALL_TABLES,
    phase::read_phases,
    service::Services,
    table::{Item, Key, Shape, Table},
    value::{choice, flag, id, instant, list, string, text},
};
use crate::diagnostic::Diagnostic;

const ORDER: Shape = Shape {
    label: "[[order]]",
    keys: &[
        Key::mandatory(
            "id",
            "exemptions and reports name the order by it",
            "add `id = \"...\"`",
        ),
        Key::mandatory(
            "authority",
            "reports say on whose behalf packets drop",
            "add `authority = \"...\"`",
        ),
        Key::optional("effective"),
        Key::optional("until"),
        Key::optional("rule"),
    ],
    elsewhere: ORDER_ELSEWHERE,
};

const ORDER_ELSEWHERE: &[(&str, &str)] = &[
    (
        "action",
        "this belongs to a rule: write `[[order.rule]]` above it",
    ),
    (
        "countries",
        "this belongs to a rule: write `[[order.rule]]` above it",
    ),
    (
        "groups",
        "this belongs to a rule: write `[[order.rule]]` above it",
    ),
    (
        "everywhere",
        "this belongs to a rule: write `[[order.rule]]` above it",
    ),
    (
        "no_exemptions",
        "this belongs to a rule: write `[[order.rule]]` above it",
    ),
    (
        "phases",
        "this belongs to a rule: write `[[order.rule]]` above it",
    ),
    (
        "services",
        "this belongs to a rule: write `[[order.rule]]` above it",
    ),
    (
        "direction",
        "this belongs to a rule: write `[[order.rule]]` above it",
    ),
    ("rules", "write `[[order.rule]]`, once for each rule"),
    ("version", "move it above the first `[[...]]` header"),
    ("default", "move it above the first `[[...]]` header"),
    ("unknown", "move it above the first `[[...]]` header"),
    ("lan", "move it above the first `[[...]]` header"),
    ("replies", "move it above the first `[[...]]` header"),
];

const RULE: Shape = Shape {
    label: "[[order.rule]]",
    keys: &[
        Key::mandatory(
            "action",
            "a rule says what happens",
            "add `action = \"drop\"` or `action = \"pass\"`",
        ),
        Key::optional("phases"),
        Key::optional("services"),
        Key::optional("direction"),
        Key::optional("countries"),
        Key::optional("groups"),
        Key::optional("everywhere"),
        Key::optional("no_exemptions"),
    ],
    elsewhere: RULE_ELSEWHERE,
};

const RULE_ELSEWHERE: &[(&str, &str)] = &[
    ("country", "write `countries = [...]`"),
    ("group", "write `groups = [...]`"),
    ("service", "write `services = [...]`"),
    ("phase", "write `phases = [...]`"),
    ("tier", "write the tier's name as `action`"),
    (
        "ports",
        "ports make up a `[[service]]`, which the rule then names: `services = [...]`",
    ),
    (
        "protocols",
        "protocols make up a `[[service]]`, which the rule then names: `services = [...]`",
    ),
    (
        "destinations",
        "destinations make up a `[[service]]`, which the rule then names: `services = [...]`",
    ),
    (
        "interfaces",
        "interfaces make up a `[[service]]`, which the rule then names: `services = [...]`",
    ),
    (
        "dscp",
        "parameters make up a `[[tier]]`, which the rule then names as its action",
    ),
    (
        "packets_per_s",
        "parameters make up a `[[tier]]`, which the rule then names as its action",
    ),
    (
        "prefixes",
        "orders are about places; write prefixes in `[[allow]]`, `[[deny]]` or `[[exemption]]`",
    ),
    (
        "id",
        "this belongs to the order: move it above its first `[[order.rule]]`",
    ),
    (
        "authority",
        "this belongs to the order: move it above its first `[[order.rule]]`",
    ),
    (
        "effective",
        "this belongs to the order: move it above its first `[[order.rule]]`",
    ),
    (
        "until",
        "this belongs to the order: move it above its first `[[order.rule]]`",
    ),
    ("version", ABOVE_ALL_TABLES[0].1),
    ("default", ABOVE_ALL_TABLES[1].1),
    ("unknown", ABOVE_ALL_TABLES[2].1),
    ("lan", ABOVE_ALL_TABLES[3].1),
    ABOVE_ALL_TABLES[4],
];

/// The orders of a policy.
pub(super) struct Orders {
    /// Those that could be read.
    pub orders: Vec<Order>,
    /// Line of each id, also of orders that have errors.
    pub ids: BTreeMap<String, u32>,
}

/// What rules may name.
pub(super) struct Names<'n> {
    /// Groups of countries.
    pub groups: &'n Groups,
    /// Actions and tiers.
    pub actions: &'n Actions,
    /// Services.
    pub services: &'n Services,
}

/// Reads the `[[order]]` tables.
pub(super) fn read_orders<'a>(document: &mut Document<'a>, root: &Table<'a>, names: &Names<'_>) -> Orders {
    let mut orders = Vec::new();
    let mut ids = BTreeMap::new();
    let mut rules_left = MAX_RULES;
    for item in root.tables(document, "order", "[[order]]", MAX_ORDERS) {
        let Some(table) = Table::open(document, item, &ORDER) else {
            continue;
        };
        let id = table.read(document, "id", |document, item| {
            unique_id(document, item, &mut ids)
        });
        let authority = table.read(document, "authority", text);
        let effective = table.read(document, "effective", instant);
        let until = table.read(document, "until", |document, item| {
            let until = instant(document, item)?;
            if let Some(effective) = &effective
                && until.value <= effective.value
            {
                document.error(
                    item.node,
                    format!("the order ends before it begins (`effective` is {})", effective.value),
                    "`until` must be later than `effective`; it is the first instant at which the order no longer holds",
                );
                return None;
            }
            Some(until)
        });
        let rules = read_rules(document, &table, names, &mut rules_left);
        if let (Some(id), Some(authority)) = (id, authority) {
            orders.push(Order {
                id,
                authority,
                effective,
                until,
                rules,
            });
        }
    }
    Orders { orders, ids }
}

fn unique_id(
    document: &mut Document<'_>,
    item: Item<'_>,
    ids: &mut BTreeMap<String, u32>,
) -> Option<Located<String>> {
    let id = id(document, item, "._-")?;
    if let Some(line) = ids.get(&id.value) {
        let message = format!("another order has this id, in line {line}");
        document.error(item.node, message, "give each order an id of its own");
        return None;
    }
    ids.insert(id.value.clone(), id.place.line);
    Some(id)
}

fn read_rules<'a>(
    document: &mut Document<'a>,
    order: &Table<'a>,
    names: &Names<'_>,
    rules_left: &mut usize,
) -> Vec<Rule> {
    let items = order.tables(document, "rule", "[[order.rule]]", *rules_left);
    *rules_left -= items.len();
    if items.is_empty() {
        if order.get("rule").is_none() {
            document.remark(Diagnostic::warning(
                order.place.clone(),
                "",
                "the order has no rules, so it says nothing",
                "add an `[[order.rule]]`, or remove the order",
            ));
        }
        return Vec::new();
    }
    let mut rules = Vec::new();
    for item in items {
        let Some(table) = Table::open(document, item, &RULE) else {
            continue;
        };
        rules.extend(read_rule(document, table, names));
    }
    remark_dead_rules(document, &rules);
    rules
}

fn read_rule<'a>(document: &mut Document<'a>, table: Table<'a>, names: &Names<'_>) -> Option<Rule> {
    let decision = table.read(document, "action", |document, item| {
        names.actions.read(document, item)
    });
    let phases = match table.get("phases") {
        Some(item) => read_phases(document, item, names.actions),
        None => Some(Vec::new()),
    };
    let services = match table.get("services") {
        Some(item) => names.services.read(document, item).map(Some),
        None => Some(None),
    };
    let is_both = match table.get("direction") {
        Some(item) => read_direction(document, item, decision),
        None => Some(false),
    };
    let no_exemptions = match table.get("no_exemptions") {
        Some(item) => flag(document, item),
        None => Some(false),
    };
    let selector = read_selector(document, &table, names.groups);
    let is_both = is_both?;
    let directed = |decision: Decision| {
        if is_both && is_stopped(decision) {
            decision.both()
        } else {
            decision
        }
    };
    let phases = phases?.into_iter().map(|phase| Phase {
        decision: directed(phase.decision),
        ..phase
    });
    Some(Rule {
        place: table.place,
        decision: directed(decision?),
        phases: phases.collect(),
        services: services?,
        selector: selector?,
        no_exemptions: no_exemptions?,
    })
}

/// Whether the rule holds for both directions. Only what is stopped altogether can be: a packet that leaves is
/// dropped or not.
fn read_direction(document: &mut Document<'_>, item: Item<'_>, decision: Option<Decision>) -> Option<bool> {
    let is_both = choice(
        document,
        item,
        &[("in", false), ("both", true)],
        &[
            ("ingress", "in"),
            ("inbound", "in"),
            ("any", "both"),
            ("out", "both"),
            ("egress", "both"),
        ],
    )?;
    if is_both
        && let Some(decision) = decision
        && !is_stopped(decision)
    {
        document.error(
            item.node,
            format!(
                "`direction = \"both\"` beside `{}`: leaving packets can only be stopped",
                decision.action().name()
            ),
            "make the action `drop` or `reject`, or remove `direction`",
        );
        return None;
    }
    Some(is_both)
}

fn is_stopped(decision: Decision) -> bool {
    matches!(decision.action(), Action::Drop | Action::Reject)
}

fn read_selector<'a>(document: &mut Document<'a>, rule: &Table<'a>, groups: &Groups) -> Option<Selector> {
    let everywhere = match rule.get("everywhere") {
        Some(item) => flag(document, item)?,
        None => false,
    };
    let (countries, group_names) = (rule.get("countries"), rule.get("groups"));
    if everywhere {
        if let Some(other) = countries.or(group_names) {
            document.error(
                other.node,
                format!(
                    "`{}` stands beside `everywhere = true`, which already matches every place",
                    other.key
                ),
                "remove one of the two",
            );
            return None;
        }
        return Some(Selector::Everywhere);
    }
    if countries.is_none() && group_names.is_none() {
        if ["countries", "groups", "everywhere"]
            .iter()
            .any(|key| document.has_broken_line_for(key))
        {
            return None;
        }
        document.remark(Diagnostic::error(
            rule.place.clone(),
            "",
            "the rule names no place",
            "add `countries = [\"RU\"]`, `groups = [\"E:1\"]` or `everywhere = true`",
        ));
        return None;
    }

    let mut items = Vec::new();
    let named = rule.read(document, "countries", country_list);
    let is_complete = countries.is_none() || named.is_some();
    items.extend(named.unwrap_or_default().into_iter().map(|country| SelectorItem {
        code: country.value,
        place: country.place,
        group: None,
    }));
    let grouped = rule.read(document, "groups", |document, item| {
        group_items(document, item, groups)
    });
    let is_complete = is_complete && (group_names.is_none() || grouped.is_some());
    for item in grouped.unwrap_or_default() {
        if !items.iter().any(|other: &SelectorItem| other.code == item.code) {
            items.push(item);
        }
    }
    is_complete.then_some(Selector::Places(items))
}

fn group_items<'a>(
    document: &mut Document<'a>,
    item: Item<'a>,
    groups: &Groups,
) -> Option<Vec<SelectorItem>> {
    let mut named: BTreeMap<&str, u32> = BTreeMap::new();
    let mut items: Vec<SelectorItem> = Vec::new();
    for element in list(document, item, "\"E:1\"")? {
        let Some(name) = string(document, element) else {
            continue;
        };
        let Some(countries) = groups.find(name) else {
            document.error(element.node, "unknown group", groups.fix_for(name));
            continue;
        };
        let place = document.place(element.node);
        if let Some(line) = named.insert(name, place.line) {
            let message = format!("the group is already in this list, in line {line}");
            document.warning(element.node, message, "remove one of the two");
            continue;
        }
        items.extend(countries.iter().map(|code| SelectorItem {
            code: code.clone(),
            place: place.clone(),
            group: Some(name.to_owned()),
        }));
    }
    Some(items)
}
