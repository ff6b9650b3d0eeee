//! Text to policy.

use std::path::Path;

use probe_common::Decision;
use toml::de::{DeTable, DeValue};

use super::{
    Expectation, Policy,
    document::{Document, parse_tree},
    group::read_groups,
    limits::MAX_TESTS,
    lists::read_lists,
    order::read_orders,
    prefix::address,
    recovery::Readable,
    table::{Item, Key, Shape, Table, wrong_type},
    value::{action, instant, text},
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
];

const TEST: Shape = Shape {
    label: "[[test]]",
    keys: &[
        Key::mandatory(
            "address",
            "a test asks about an address",
            "add `address = \"203.0.113.7\"`",
        ),
        Key::mandatory(
            "expect",
            "a test says what must come out",
            "add `expect = \"pass\"` or `expect = \"drop\"`",
        ),
        Key::optional("at"),
    ],
    elsewhere: ABOVE_ALL_TABLES,
};

/// Parses a policy file. Gives all remarks in one pass; the policy is `None` if any of them is an error.
pub fn parse(file: &str, text: &str) -> (Option<Policy>, Vec<Diagnostic>) {
    let readable = Readable::new(text);
    let tree = parse_tree(&readable);
    let mut document = Document::new(file, text, &readable.errors);
    let policy = read_policy(&mut document, &tree);
    let (refused, remarks) = document.finish();
    (policy.filter(|_| !refused), remarks)
}

fn read_policy<'a>(document: &mut Document<'a>, tree: &'a DeTable<'a>) -> Option<Policy> {
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
        None => Some(stem(document.file())),
    };
    let default = root.read(document, "default", action);
    let unknown = root.read(document, "unknown", action);
    let lan = match root.get("lan") {
        Some(item) => action(document, item),
        None => Some(Decision::PASS),
    };
    let groups = read_groups(document, &root);
    let orders = read_orders(document, &root, &groups);
    groups.remark_unused(document);
    let lists = read_lists(document, &root, &orders.ids);
    let tests = read_tests(document, &root);

    Some(Policy {
        file: document.file().to_owned(),
        name: name?,
        default: default?,
        unknown: unknown?,
        lan: lan?,
        replies: true,
        events: None,
        tiers: Vec::new(),
        services: Vec::new(),
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

fn read_tests<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Vec<Expectation> {
    let mut tests = Vec::new();
    for item in root.tables(document, "test", "[[test]]", MAX_TESTS) {
        let Some(table) = Table::open(document, item, &TEST) else {
            continue;
        };
        let address = table.read(document, "address", address);
        let expect = table.read(document, "expect", action);
        let at = table.read(document, "at", instant);
        if let (Some(address), Some(expect)) = (address, expect) {
            tests.push(Expectation {
                address,
                expect,
                heading: crate::compile::Heading::default(),
                at,
            });
        }
    }
    tests
}

fn stem(file: &str) -> String {
    let stem = Path::new(file)
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    stem.filter(|stem| !stem.is_empty())
        .unwrap_or_else(|| "policy".to_owned())
}
