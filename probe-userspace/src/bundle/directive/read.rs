//! Text to directive. Strict, like the manifest: what is not known is refused.

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use super::{Directive, Exempt, ExemptChange, Orders};
use crate::{
    diagnostic::Diagnostic,
    instant::Instant,
    policy::{
        document::{Document, parse_tree},
        limits::MAX_ID_CHARS,
        prefix::prefix,
        recovery::Readable,
        table::{Item, Key, Shape, Table, wrong_type},
        value::{choice, flag, instant, list, string, text},
    },
};

/// Most prefixes, orders or services of a directive.
const MAX_ELEMENTS: usize = 4096;
/// Longest prefixes that need `wide = true` no more.
const NARROW: (u8, u8) = (24, 48);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Halt,
    Resume,
    Lift,
    Unlift,
    Exempt,
}

const NAMES: &[(&str, Name)] = &[
    ("halt", Name::Halt),
    ("resume", Name::Resume),
    ("lift", Name::Lift),
    ("unlift", Name::Unlift),
    ("exempt", Name::Exempt),
];

const CHANGES: &[(&str, ExemptChange)] = &[
    ("add", ExemptChange::Add),
    ("renew", ExemptChange::Renew),
    ("remove", ExemptChange::Remove),
];

const ELSEWHERE: &[(&str, &str)] = &[
    (
        "for",
        "write `until`: everybody who reads it must see when it ends",
    ),
    ("duration", "write `until`"),
    (
        "expires",
        "write `until`; the end of the bundle is in `bundle.toml`",
    ),
    ("prefix", "write `prefixes = [...]`"),
    (
        "host",
        "which hosts are meant is said in `bundle.toml`, by `[target]`",
    ),
    (
        "hosts",
        "which hosts are meant is said in `bundle.toml`, by `[target]`",
    ),
];

macro_rules! shape {
    ($($more:expr),* $(,)?) => {
        Shape {
            label: "the directive",
            keys: &[
                Key::mandatory("version", "it says how the directive is to be read", "add `version = 1`"),
                Key::mandatory(
                    "verb",
                    "it says what the host is to do",
                    "add `verb = \"halt\"`, or resume, lift, unlift, exempt",
                ),
                Key::mandatory(
                    "reason",
                    "whoever operates the host must know why",
                    "add `reason = \"...\"`",
                ),
                $($more,)*
            ],
            elsewhere: ELSEWHERE,
        }
    };
}

const ANY: Shape = shape!(
    Key::optional("service"),
    Key::optional("until"),
    Key::optional("order"),
    Key::optional("all"),
    Key::optional("change"),
    Key::optional("prefixes"),
    Key::optional("reference"),
    Key::optional("approver"),
    Key::optional("orders"),
    Key::optional("services"),
    Key::optional("wide"),
);
const HALT: Shape = shape!(Key::optional("service"), Key::optional("until"));
const RESUME: Shape = shape!(Key::optional("service"));
const LIFT: Shape = shape!(
    Key::optional("order"),
    Key::optional("all"),
    Key::optional("until")
);
const UNLIFT: Shape = shape!(Key::optional("order"), Key::optional("all"));
const EXEMPT: Shape = shape!(
    Key::mandatory(
        "change",
        "it says what becomes of the exemptions",
        "add `change = \"add\"`, or renew, remove",
    ),
    Key::mandatory(
        "reference",
        "it ties the exemption to the case it was granted in",
        "add `reference = \"...\"`",
    ),
    Key::mandatory(
        "approver",
        "whoever reads it later must know who answers for it",
        "add `approver = \"...\"`",
    ),
    Key::optional("prefixes"),
    Key::optional("until"),
    Key::optional("orders"),
    Key::optional("services"),
    Key::optional("wide"),
);

/// Parses a directive. Gives all remarks in one pass; the directive is `None` if any of them is an error.
pub fn read(file: &str, text: &str) -> (Option<Directive>, Vec<Diagnostic>) {
    let readable = Readable::new(text);
    let tree = parse_tree(&readable);
    let mut document = Document::new(file, text, &readable.errors);
    let directive = read_directive(&mut document, &tree);
    let (refused, remarks) = document.finish();
    (directive.filter(|_| !refused), remarks)
}

fn read_directive<'a>(document: &mut Document<'a>, tree: &'a DeTable<'a>) -> Option<Directive> {
    // A newer language may mean anything by its keys: judging them would only bury the one thing to say.
    if let Some(node) = tree.get("version")
        && is_newer(document, Item::value("version", node))
    {
        return None;
    }
    let name = tree
        .get("verb")
        .and_then(|node| choice(document, Item::value("verb", node), NAMES, &[]));
    let shape = match name {
        None => &ANY,
        Some(Name::Halt) => &HALT,
        Some(Name::Resume) => &RESUME,
        Some(Name::Lift) => &LIFT,
        Some(Name::Unlift) => &UNLIFT,
        Some(Name::Exempt) => &EXEMPT,
    };
    let root = Table::root(document, tree, shape);
    let reason = root.read(document, "reason", text);
    // A value that could not be read has left a remark, which refuses the directive.
    let until = |document: &mut Document<'a>| end(document, &root);
    match name? {
        Name::Halt => {
            let (service, until) = (root.read(document, "service", name_of), until(document));
            Some(Directive::Halt {
                service,
                until,
                reason: reason?,
            })
        }
        Name::Resume => {
            let service = root.read(document, "service", name_of);
            Some(Directive::Resume {
                service,
                reason: reason?,
            })
        }
        Name::Lift => {
            let (orders, until) = (orders(document, &root), until(document));
            Some(Directive::Lift {
                orders: orders?,
                until,
                reason: reason?,
            })
        }
        Name::Unlift => {
            let orders = orders(document, &root);
            Some(Directive::Unlift {
                orders: orders?,
                reason: reason?,
            })
        }
        Name::Exempt => exempt(document, &root, reason).map(Directive::Exempt),
    }
}

fn is_newer(document: &mut Document<'_>, item: Item<'_>) -> bool {
    let version = match item.node.get_ref() {
        DeValue::Integer(value) => u64::from_str_radix(value.as_str(), value.radix()).ok(),
        _ => None,
    };
    match version {
        Some(1) => false,
        Some(2..) => {
            document.error(
                item.node,
                "the directive is made for a newer cordon: this one reads version 1",
                "install a newer cordon",
            );
            true
        }
        _ => {
            document.error(
                item.node,
                "there is no such version of directives",
                "write `version = 1`",
            );
            false
        }
    }
}

fn end<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Option<Instant> {
    root.read(document, "until", instant).map(|until| until.value)
}

/// Exactly one of `order` and `all`.
fn orders<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Option<Orders> {
    let one = root.get("order");
    let all = match root.get("all") {
        Some(item) => Some((item, flag(document, item)?)),
        None => None,
    };
    match (one, all) {
        (Some(item), None | Some((_, false))) => name_of(document, item).map(Orders::One),
        (None, Some((_, true))) => Some(Orders::All),
        (Some(item), Some((_, true))) => {
            document.error(
                item.node,
                "`order` names one order, and `all` means every one",
                "remove one of the two",
            );
            None
        }
        (None, _) => {
            let place = root.place.clone();
            document.remark(Diagnostic::error(
                place,
                "",
                "no order is named",
                "add `order = \"...\"`, or `all = true`",
            ));
            None
        }
    }
}

fn exempt<'a>(document: &mut Document<'a>, root: &Table<'a>, reason: Option<String>) -> Option<Exempt> {
    let change = root.read(document, "change", |document, item| {
        choice(document, item, CHANGES, &[])
    });
    let reference = root.read(document, "reference", text);
    let approver = root.read(document, "approver", text);
    let wide = root.read(document, "wide", flag).unwrap_or_default();
    let prefixes = match root.get("prefixes") {
        Some(item) => prefixes(document, item, wide),
        None => Some(Vec::new()),
    };
    let until = end(document, root);
    let orders = names(document, root, "orders");
    let services = names(document, root, "services");
    let change = change?;
    let missing = |document: &mut Document<'a>, message: &str, fix: &str| {
        let place = root.place.clone();
        document.remark(Diagnostic::error(place, "", message, fix));
    };
    if change != ExemptChange::Remove && root.get("until").is_none() {
        let message = "`until` is missing in the directive: an exemption ends by itself";
        missing(
            document,
            message,
            "add `until = 2026-12-31T00:00:00Z`, the date it was granted to",
        );
    }
    if change == ExemptChange::Add && root.get("prefixes").is_none() {
        let message = "`prefixes` is missing in the directive: it says which sources are exempt";
        missing(document, message, "add `prefixes = [\"203.0.113.0/24\"]`");
    }
    if change == ExemptChange::Remove
        && let Some(item) = root.get("until")
    {
        document.error(
            item.node,
            "a removal has no end: it takes effect at once",
            "remove it",
        );
    }
    Some(Exempt {
        change,
        prefixes: prefixes?,
        reference: reference?,
        approver: approver?,
        reason: reason?,
        until,
        orders,
        services,
        wide,
    })
}

fn prefixes<'a>(document: &mut Document<'a>, item: Item<'a>, wide: bool) -> Option<Vec<IpNet>> {
    let mut prefixes = Vec::new();
    for element in bounded(document, item, "\"203.0.113.0/24\"")? {
        let found = prefix(document, element)?.value;
        let narrow = match found {
            IpNet::V4(_) => NARROW.0,
            IpNet::V6(_) => NARROW.1,
        };
        if found.prefix_len() < narrow && !wide {
            document.error(
                element.node,
                format!("the prefix is wider than /{narrow}"),
                "name a narrower one, or add `wide = true`",
            );
            return None;
        }
        if prefixes.contains(&found) {
            document.error(element.node, "the prefix is there twice", "remove one of the two");
            return None;
        }
        prefixes.push(found);
    }
    Some(prefixes)
}

/// Absent or refused: `None`; what is refused has left a remark.
fn names<'a>(document: &mut Document<'a>, root: &Table<'a>, key: &'static str) -> Option<Vec<String>> {
    let elements = bounded(document, root.get(key)?, "\"...\"")?;
    elements
        .into_iter()
        .map(|element| name_of(document, element))
        .collect()
}

fn bounded<'a>(document: &mut Document<'a>, item: Item<'a>, example: &str) -> Option<Vec<Item<'a>>> {
    let elements = list(document, item, example)?;
    if let Some(extra) = elements.get(MAX_ELEMENTS) {
        document.error(
            extra.node,
            format!("more than {MAX_ELEMENTS} elements in `{}`", item.key),
            "sign several directives",
        );
        return None;
    }
    Some(elements)
}

/// The id of an order or the name of a service, as far as it can be judged without the policy.
fn name_of(document: &mut Document<'_>, item: Item<'_>) -> Option<String> {
    let DeValue::String(_) = item.node.get_ref() else {
        wrong_type(document, item, "a string", &item.quoted("..."));
        return None;
    };
    let value = string(document, item)?;
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
    let n_chars = value.chars().take(MAX_ID_CHARS + 1).count();
    if n_chars == 0 || n_chars > MAX_ID_CHARS || !value.chars().all(is_plain) {
        document.error(
            item.node,
            format!(
                "`{}` must be 1 to {MAX_ID_CHARS} characters without blanks",
                item.key
            ),
            "write it as the policy does",
        );
        return None;
    }
    Some(value.to_owned())
}
