//! `[[test]]`.

use super::{
    Expectation,
    action::Actions,
    document::Document,
    limits::MAX_TESTS,
    parse::ABOVE_ALL_TABLES,
    prefix::address,
    service::protocol,
    table::{Item, Key, Shape, Table},
    value::{flag, instant, interface, number},
};
use crate::compile::Heading;

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
        Key::optional("to"),
        Key::optional("protocol"),
        Key::optional("port"),
        Key::optional("interface"),
        Key::optional("vlan"),
        Key::optional("opens"),
    ],
    elsewhere: &[
        ABOVE_ALL_TABLES[0],
        ABOVE_ALL_TABLES[1],
        ABOVE_ALL_TABLES[2],
        ABOVE_ALL_TABLES[3],
        ABOVE_ALL_TABLES[4],
        ("from", "write `address`"),
        ("source", "write `address`"),
        ("destination", "write `to = \"192.0.2.1\"`"),
        ("ports", "a test is about one packet: write `port = 443`"),
        (
            "protocols",
            "a test is about one packet: write `protocol = \"tcp\"`",
        ),
        (
            "service",
            "a test is about one packet: write where it goes, as in `protocol = \"tcp\"` and `port = 443`",
        ),
        (
            "services",
            "a test is about one packet: write where it goes, as in `protocol = \"tcp\"` and `port = 443`",
        ),
    ],
};

/// Reads the `[[test]]` tables.
pub(super) fn read_tests<'a>(
    document: &mut Document<'a>,
    root: &Table<'a>,
    actions: &Actions,
) -> Vec<Expectation> {
    let mut tests = Vec::new();
    for item in root.tables(document, "test", "[[test]]", MAX_TESTS) {
        let Some(table) = Table::open(document, item, &TEST) else {
            continue;
        };
        let address = table.read(document, "address", address);
        let expect = table.read(document, "expect", |document, item| actions.read(document, item));
        let at = table.read(document, "at", instant);
        let heading = read_heading(document, &table, address.as_ref().map(|address| address.value));
        if let (Some(address), Some(expect), Some(heading)) = (address, expect, heading) {
            tests.push(Expectation {
                address,
                expect,
                heading,
                at,
            });
        }
    }
    tests
}

fn read_heading<'a>(
    document: &mut Document<'a>,
    table: &Table<'a>,
    source: Option<std::net::IpAddr>,
) -> Option<Heading> {
    let destination = optional(document, table, "to", address);
    let protocol = optional(document, table, "protocol", protocol);
    let port = optional(document, table, "port", |document, item| {
        number(document, item, 0..=65_535).and_then(|port| u16::try_from(port).ok())
    });
    let interface = optional(document, table, "interface", interface);
    let vlan = optional(document, table, "vlan", |document, item| {
        number(document, item, 0..=4094).and_then(|vlan| u16::try_from(vlan).ok())
    });
    let opens = optional(document, table, "opens", flag);
    let (destination, protocol, port) = (destination?, protocol?, port?);
    if let (Some(destination), Some(source)) = (&destination, source)
        && destination.value.is_ipv4() != source.is_ipv4()
        && let Some(item) = table.get("to")
    {
        document.error(
            item.node,
            format!("a packet from {source} cannot go to an address of the other family"),
            "write addresses of one family",
        );
        return None;
    }
    for (key, is_given) in [("port", port.is_some()), ("opens", opens? == Some(true))] {
        if is_given
            && !matches!(protocol, Some(6 | 17))
            && let Some(item) = table.get(key)
        {
            document.error(
                item.node,
                format!("`{key}` is known of TCP and UDP only"),
                "add `protocol = \"tcp\"` or `protocol = \"udp\"`",
            );
            return None;
        }
    }
    Some(Heading {
        destination: destination.map(|destination| destination.value),
        protocol,
        port,
        interface: interface?.map(|interface| interface.value),
        vlan: vlan?,
        opens: opens?.unwrap_or(false),
    })
}

/// A key that may be absent: outer `None` if its value cannot be taken.
#[expect(
    clippy::option_option,
    reason = "`refused`, `absent` and a value, in the shape that `?` reads"
)]
fn optional<'a, T>(
    document: &mut Document<'a>,
    table: &Table<'a>,
    key: &'static str,
    read: impl FnOnce(&mut Document<'a>, Item<'a>) -> Option<T>,
) -> Option<Option<T>> {
    match table.get(key) {
        Some(item) => read(document, item).map(Some),
        None => Some(None),
    }
}
