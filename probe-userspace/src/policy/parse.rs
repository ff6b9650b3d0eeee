//! Text to policy.

use std::{collections::BTreeSet, path::Path};

use probe_common::Decision;
use toml::de::{DeTable, DeValue};

use super::{
    Beside, Policy,
    document::{Document, parse_tree},
    events::read_events,
    expectation::read_tests,
    group::read_groups,
    lists::read_lists,
    order::{Names, read_orders},
    recovery::Readable,
    service::read_services,
    table::{Item, Key, Shape, Table, wrong_type},
    tier::read_tiers,
    value::{flag, text},
};
use crate::diagnostic::Diagnostic;

/// The version of the language that this cordon reads.
const LANGUAGE_VERSION: u64 = 1;

const ROOT: Shape = Shape {
    label: "the policy",
    keys: &[
        Key::mandatory(
            "version",
            "it says which language the file is written in",
            "add `version = 1`",
        ),
        Key::optional("name"),
        Key::mandatory(
            "default",
            "sources that no order mentions need a verdict",
            "add `default = \"pass\"` for a block list, `default = \"drop\"` for an allow list",
        ),
        Key::mandatory(
            "unknown",
            "sources without a place in the GeoIP data need a verdict, and either choice can be the wrong one \
             (much of IPv6 is not in the data), so cordon does not choose for you",
            "add `unknown = \"pass\"` or `unknown = \"drop\"`",
        ),
        Key::optional("lan"),
        Key::optional("replies"),
        Key::optional("events"),
        Key::optional("tier"),
        Key::optional("service"),
        Key::optional("order"),
        Key::optional("group"),
        Key::optional("allow"),
        Key::optional("deny"),
        Key::optional("exemption"),
        Key::optional("test"),
    ],
    elsewhere: &[
        (
            "rule",
            "rules belong to an order: write `[[order.rule]]` below its `[[order]]`",
        ),
        (
            "countries",
            "countries belong to a rule: write them in an `[[order.rule]]`",
        ),
        (
            "groups",
            "`groups` belongs to a rule; a group of your own is `[[group]]`",
        ),
        ("interfaces", "this belongs to the host file, cordon.toml"),
        ("database", "this belongs to the host file, cordon.toml"),
        ("failsafe", "this belongs to the host file, cordon.toml"),
        (
            "action",
            "actions belong to a rule; for sources that no order mentions it is `default`",
        ),
        ("services", "write `[[service]]`, once for each service"),
        ("tiers", "write `[[tier]]`, once for each tier"),
        ("event", "write `[events]`"),
        ("return_traffic", "write `replies`"),
        ("icmp_error", "this belongs to the host file, cordon.toml"),
        ("martians", "this belongs to the host file, cordon.toml"),
        ("inspect_inner", "this belongs to the host file, cordon.toml"),
        ("orders", "write `[[order]]`, once for each order"),
        ("tests", "write `[[test]]`, once for each test"),
        ("exemptions", "write `[[exemption]]`, once for each exemption"),
        ("exempt", "write `[[exemption]]`"),
    ],
};

/// Where keys of the top belong that stand below a table header: TOML counts them to that table.
pub(super) const ABOVE_ALL_TABLES: &[(&str, &str)] = &[
    ("version", "move it above the first `[[...]]` header"),
    ("default", "move it above the first `[[...]]` header"),
    ("unknown", "move it above the first `[[...]]` header"),
    ("lan", "move it above the first `[[...]]` header"),
    ("replies", "move it above the first `[[...]]` header"),
];

/// Parses a policy file. Gives all remarks in one pass; the policy is `None` if any of them is an error.
/// A policy that names lists is refused: see [`parse_with`].
pub fn parse(file: &str, text: &str) -> (Option<Policy>, Vec<Diagnostic>) {
    parse_with(file, text, &Beside::default())
}

/// As [`parse`], with what the policy may name.
pub fn parse_with(file: &str, text: &str, beside: &Beside) -> (Option<Policy>, Vec<Diagnostic>) {
    let readable = Readable::new(text);
    let tree = parse_tree(&readable);
    let mut document = Document::new(file, text, &readable.errors);
    let policy = read_policy(&mut document, &tree, beside);
    let (refused, remarks) = document.finish();
    (policy.filter(|_| !refused), remarks)
}

/// The names of the lists that a policy's entries name, as far as its text can be read.
pub fn named_lists(text: &str) -> BTreeSet<String> {
    let readable = Readable::new(text);
    let tree = parse_tree(&readable);
    let entries = ["allow", "deny", "exemption"]
        .into_iter()
        .filter_map(|key| tree.get(key)?.get_ref().as_array());
    let names = entries.flat_map(|entries| {
        entries
            .iter()
            .filter_map(|entry| entry.get_ref().as_table()?.get("list")?.get_ref().as_str())
    });
    names.map(str::to_owned).collect()
}

fn read_policy<'a>(document: &mut Document<'a>, tree: &'a DeTable<'a>, beside: &Beside) -> Option<Policy> {
    // A newer language may mean anything by its keys: judging them would only bury the one thing to say.
    if let Some(node) = tree.get("version") {
        let item = Item::value("version", node);
        if read_version(document, item) == Version::Newer {
            return None;
        }
    }

    let root = Table::root(document, tree, &ROOT);
    let name = match root.get("name") {
        Some(item) => text(document, item),
        None => Some(beside.name.clone().unwrap_or_else(|| stem(document.file()))),
    };
    let (tiers, actions) = read_tiers(document, &root);
    let (services, service_names) = read_services(document, &root);
    let default = root.read(document, "default", |document, item| actions.read(document, item));
    let unknown = root.read(document, "unknown", |document, item| actions.read(document, item));
    let lan = match root.get("lan") {
        Some(item) => actions.read(document, item),
        None => Some(Decision::PASS),
    };
    let replies = match root.get("replies") {
        Some(item) => flag(document, item),
        None => Some(true),
    };
    let events = match root.get("events") {
        Some(item) => read_events(document, item).map(Some),
        None => Some(None),
    };
    let groups = read_groups(document, &root);
    let names = Names {
        groups: &groups,
        actions: &actions,
        services: &service_names,
    };
    let orders = read_orders(document, &root, &names);
    let lists = read_lists(document, &root, &orders.ids, &actions, &beside.lists);
    groups.remark_unused(document);
    actions.remark_unused(document);
    service_names.remark_unused(document);
    let tests = read_tests(document, &root, &actions);

    Some(Policy {
        file: document.file().to_owned(),
        name: name?,
        default: default?,
        unknown: unknown?,
        lan: lan?,
        replies: replies?,
        events: events?,
        tiers,
        services,
        orders: orders.orders,
        allows: lists.allows,
        denies: lists.denies,
        exemptions: lists.exemptions,
        tests,
    })
}

#[derive(PartialEq, Eq)]
enum Version {
    Ours,
    Newer,
    Wrong,
}

fn read_version(document: &mut Document<'_>, item: Item<'_>) -> Version {
    let DeValue::Integer(value) = item.node.get_ref() else {
        wrong_type(document, item, "the number 1", "write `version = 1`");
        return Version::Wrong;
    };
    match u64::from_str_radix(value.as_str(), value.radix()) {
        Ok(LANGUAGE_VERSION) => Version::Ours,
        Ok(newer) if newer > LANGUAGE_VERSION => {
            document.error(
                item.node,
                "the policy is made for a newer cordon: this one reads version 1",
                "install a newer cordon, or rewrite the policy in version 1",
            );
            Version::Newer
        }
        _ => {
            document.error(
                item.node,
                "there is no such version of the language",
                "write `version = 1`",
            );
            Version::Wrong
        }
    }
}

fn stem(file: &str) -> String {
    let stem = Path::new(file)
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    stem.filter(|stem| !stem.is_empty())
        .unwrap_or_else(|| "policy".to_owned())
}
