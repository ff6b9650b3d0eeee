//! `[[service]]`: what a packet is for.

use std::{cell::Cell, collections::BTreeMap, ops::RangeInclusive};

use probe_common::limits::MAX_SERVICES;
use toml::de::DeValue;

use super::{
    Located, Service,
    document::Document,
    limits::MAX_SERVICE_ELEMENTS,
    parse::ABOVE_ALL_TABLES,
    prefix::prefix,
    similar::similar,
    table::{Item, Key, Shape, Table, wrong_type},
    value::{id, interface, list, number, string},
};
use crate::diagnostic::{Diagnostic, Place};

const SERVICE: Shape = Shape {
    label: "[[service]]",
    keys: &[
        Key::mandatory("name", "rules name the service by it", "add `name = \"...\"`"),
        Key::optional("interfaces"),
        Key::optional("vlans"),
        Key::optional("destinations"),
        Key::optional("protocols"),
        Key::optional("ports"),
    ],
    elsewhere: &[
        ("interface", "write `interfaces = [...]`"),
        ("vlan", "write `vlans = [...]`"),
        ("destination", "write `destinations = [...]`"),
        ("to", "write `destinations = [...]`"),
        ("prefixes", "write `destinations = [...]`"),
        ("protocol", "write `protocols = [...]`"),
        ("port", "write `ports = [...]`"),
        (
            "action",
            "a service says what is asked for; write `action` in a rule that names the service",
        ),
        ("countries", "write `countries` in a rule that names the service"),
        ABOVE_ALL_TABLES[0],
        ABOVE_ALL_TABLES[1],
        ABOVE_ALL_TABLES[2],
        ABOVE_ALL_TABLES[3],
        ABOVE_ALL_TABLES[4],
    ],
};

/// The keys that say what a service is, besides its name.
const SCOPE_KEYS: [&str; 5] = ["interfaces", "vlans", "destinations", "protocols", "ports"];

/// Protocols by name: the registry of IANA.
const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ipip", 4),
    ("6in4", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("udplite", 136),
];

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The services that rules may name.
pub(super) struct Services {
    /// Position of each in the policy; `None` if it has errors.
    known: BTreeMap<String, Known>,
}

struct Known {
    idx: Option<usize>,
    place: Place,
    is_used: Cell<bool>,
}

impl Services {
    /// Reads the list of services of a rule.
    pub fn read<'a>(&self, document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<usize>> {
        let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
        let mut services = Vec::new();
        let mut is_whole = true;
        for element in list(document, item, "\"web\"")? {
            let Some(name) = string(document, element) else {
                is_whole = false;
                continue;
            };
            let Some(known) = self.known.get(name) else {
                document.error(element.node, "no service has this name", self.fix_for(name));
                is_whole = false;
                continue;
            };
            known.is_used.set(true);
            let place = document.place(element.node);
            if let Some(line) = lines.insert(name, place.line) {
                let message = format!("the service is already in this list, in line {line}");
                document.warning(element.node, message, "remove one of the two");
                continue;
            }
            match known.idx {
                Some(idx) => services.push(idx),
                None => is_whole = false,
            }
        }
        is_whole.then_some(services)
    }

    /// Remarks on services that no rule names.
    pub fn remark_unused(&self, document: &mut Document<'_>) {
        for (name, known) in &self.known {
            if !known.is_used.get() && known.idx.is_some() {
                document.remark(Diagnostic::warning(
                    known.place.clone(),
                    name,
                    "no rule uses this service",
                    format!("remove it, or name it in a rule: `services = [\"{name}\"]`"),
                ));
            }
        }
    }

    fn fix_for(&self, name: &str) -> String {
        const MAX_SHOWN: usize = 10;
        let names = self.known.keys().map(String::as_str);
        if let Some(close) = similar(name, names.clone()) {
            format!("did you mean `{close}`?")
        } else if self.known.is_empty() {
            format!("define it: `[[service]]` with `name = \"{name}\"` and `ports = [443]`")
        } else {
            let names: Vec<&str> = names.take(MAX_SHOWN).collect();
            format!("services of this policy: {}", names.join(", "))
        }
    }
}

/// Reads the `[[service]]` tables.
pub(super) fn read_services<'a>(document: &mut Document<'a>, root: &Table<'a>) -> (Vec<Service>, Services) {
    let mut services: Vec<Service> = Vec::new();
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for item in root.tables(document, "service", "[[service]]", MAX_SERVICES) {
        let Some(table) = Table::open(document, item, &SERVICE) else {
            continue;
        };
        let name = table.read(document, "name", |document, item| {
            let name = id(document, item, "._-")?;
            if let Some(first) = known.get(&name.value) {
                let message = format!("another service has this name, in line {}", first.place.line);
                document.error(item.node, message, "give each service a name of its own");
                return None;
            }
            Some(name)
        });
        let scope = read_scope(document, &table);
        let Some(name) = name else {
            continue;
        };
        known.insert(
            name.value.clone(),
            Known {
                idx: scope.is_some().then_some(services.len()),
                place: name.place.clone(),
                is_used: Cell::new(false),
            },
        );
        if let Some(scope) = scope {
            services.push(Service { name, ..scope });
        }
    }
    (services, Services { known })
}

/// Everything but the name, which is left empty.
fn read_scope<'a>(document: &mut Document<'a>, table: &Table<'a>) -> Option<Service> {
    if SCOPE_KEYS.iter().all(|key| table.get(key).is_none()) {
        if !SCOPE_KEYS.iter().any(|key| document.has_broken_line_for(key)) {
            document.remark(Diagnostic::error(
                table.place.clone(),
                "",
                "the service asks for nothing, so it would be every packet",
                "add `ports = [443]`, `destinations = [\"192.0.2.0/24\"]`, `interfaces` or `vlans`",
            ));
        }
        return None;
    }
    let interfaces = elements(document, table, "interfaces", "\"eth0\"", interface);
    let vlans = elements(document, table, "vlans", "10", vlan);
    let destinations = elements(
        document,
        table,
        "destinations",
        "\"192.0.2.0/24\"",
        |document, item| prefix(document, item).map(|prefix| prefix.value),
    );
    let protocols = elements(document, table, "protocols", "\"tcp\"", protocol);
    let ports = elements(document, table, "ports", "443", port_range);
    let protocols = protocols?;
    let ports = ports?;
    if !ports.is_empty()
        && let Some(item) = table.get("protocols")
        && let Some(other) = protocols.iter().find(|protocol| ![TCP, UDP].contains(protocol))
    {
        document.error(
            item.node,
            format!("`ports` beside protocol {other}, which has none that are known here"),
            "keep to `tcp` and `udp`, or make a service of its own for the other protocol",
        );
        return None;
    }
    Some(Service {
        name: Located {
            value: String::new(),
            place: table.place.clone(),
        },
        interfaces: interfaces?,
        vlans: vlans?,
        destinations: destinations?,
        protocols,
        ports,
    })
}

/// The elements of one of a service's lists; empty if the list is absent.
fn elements<'a, T>(
    document: &mut Document<'a>,
    table: &Table<'a>,
    key: &'static str,
    example: &str,
    read: impl Fn(&mut Document<'a>, Item<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(item) = table.get(key) else {
        return Some(Vec::new());
    };
    let elements = list(document, item, example)?;
    if elements.len() > MAX_SERVICE_ELEMENTS {
        document.error(
            elements[MAX_SERVICE_ELEMENTS].node,
            format!("more than {MAX_SERVICE_ELEMENTS} elements in `{key}`"),
            "aggregate them, or make two services",
        );
        return None;
    }
    let n_elements = elements.len();
    let read: Vec<T> = elements
        .into_iter()
        .filter_map(|element| read(document, element))
        .collect();
    (read.len() == n_elements).then_some(read)
}

fn vlan(document: &mut Document<'_>, item: Item<'_>) -> Option<u16> {
    u16::try_from(number(document, item, 0..=4094)?).ok()
}

/// A protocol by name or number.
pub(super) fn protocol(document: &mut Document<'_>, item: Item<'_>) -> Option<u8> {
    match item.node.get_ref() {
        DeValue::Integer(_) => u8::try_from(number(document, item, 0..=255)?).ok(),
        DeValue::String(name) => match protocol_by_name(name) {
            Some(protocol) => Some(protocol),
            None => {
                let fix = match similar(name, PROTOCOLS.iter().map(|(known, _)| *known)) {
                    Some(close) => item.quoted(close),
                    None => "write its number, from 0 to 255, without quotes".to_owned(),
                };
                document.error(item.node, "no protocol of this name is known", fix);
                None
            }
        },
        _ => {
            wrong_type(document, item, "a protocol's name or number", &item.quoted("tcp"));
            None
        }
    }
}

/// The number of a protocol by its name.
pub(crate) fn protocol_by_name(name: &str) -> Option<u8> {
    let known = PROTOCOLS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, protocol)| *protocol)
}

/// A port: number, or range in quotes.
fn port_range(document: &mut Document<'_>, item: Item<'_>) -> Option<RangeInclusive<u16>> {
    match item.node.get_ref() {
        DeValue::Integer(_) => {
            let port = u16::try_from(number(document, item, 0..=65_535)?).ok()?;
            Some(port..=port)
        }
        DeValue::String(written) => match parse_range(written) {
            Ok(range) => Some(range),
            Err((message, fix)) => {
                document.error(item.node, message, fix);
                None
            }
        },
        _ => {
            wrong_type(
                document,
                item,
                "a port or a range of ports",
                "write `443` or `\"8000-8100\"`",
            );
            None
        }
    }
}

fn parse_range(written: &str) -> Result<RangeInclusive<u16>, (String, String)> {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let Some((first, last)) = written.split_once('-') else {
        return Err(match number(written) {
            Some(port) => (
                "a single port stands without quotes".to_owned(),
                format!("write `{port}`"),
            ),
            None => (
                "not a range of ports".to_owned(),
                "write ports as numbers, ranges as in `\"8000-8100\"`".to_owned(),
            ),
        });
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(first), Some(last)) => Err((
            "the range ends before it begins".to_owned(),
            format!("write `\"{last}-{first}\"`"),
        )),
        _ => Err((
            "not a range of ports".to_owned(),
            "write first and last port, from 0 to 65535, as in `\"8000-8100\"`".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ports() {
        assert_eq!(parse_range("8000-8100"), Ok(8000..=8100));
        assert_eq!(parse_range("0 - 65535"), Ok(0..=65_535));
        for (written, fix) in [
            ("443", "write `443`"),
            ("90-80", "write `\"80-90\"`"),
            (
                "1-65536",
                "write first and last port, from 0 to 65535, as in `\"8000-8100\"`",
            ),
            ("http", "write ports as numbers, ranges as in `\"8000-8100\"`"),
        ] {
            assert_eq!(parse_range(written).unwrap_err().1, fix, "{written}");
        }
    }
}
