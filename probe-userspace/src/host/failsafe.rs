//! `[[failsafe]]` and `dhcp_servers`: sources that no policy can block.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;
use probe_common::limits::MAX_FAILSAFE;

use super::Failsafe;
use crate::policy::{
    Located,
    document::Document,
    prefix::{address, is_whole_family, prefix},
    table::{Item, Key, Shape, Table},
    value::{possibly_empty_list, text},
};

const ABOVE: &str = "move it above the first `[[failsafe]]`";

const FAILSAFE: Shape = Shape {
    label: "[[failsafe]]",
    keys: &[
        Key::mandatory(
            "prefix",
            "it says which sources no policy can block",
            "add `prefix = \"192.0.2.1/32\"`",
        ),
        Key::mandatory(
            "comment",
            "whoever reads the file later must know whose prefix it is",
            "add `comment = \"...\"`",
        ),
    ],
    elsewhere: &[
        ("prefixes", "write one `[[failsafe]]` with `prefix` for each"),
        ("reason", "write `comment`"),
        ("interfaces", ABOVE),
        ("database", ABOVE),
        ("country_field", ABOVE),
        ("xdp_mode", ABOVE),
        ("no_generation", ABOVE),
        ("icmp_error", ABOVE),
        ("inspect_inner", ABOVE),
        ("martians", ABOVE),
        ("nat64_prefixes", ABOVE),
        ("dhcp_servers", ABOVE),
        ("time_servers", ABOVE),
        ("bundle_servers", ABOVE),
        ("ssh_ports", ABOVE),
        ("egress", ABOVE),
        ("flow_entries", ABOVE),
        ("limiter_entries", ABOVE),
        ("event_ring_kib", ABOVE),
        ("audit_segments", ABOVE),
        ("confirm_unattended", ABOVE),
        ("pin_dir", ABOVE),
        ("state_dir", ABOVE),
        ("run_dir", ABOVE),
    ],
};

/// Failsafe prefixes wider than this are remarked on: IPv4.
const WIDE_V4: u8 = 8;
/// Failsafe prefixes wider than this are remarked on: IPv6.
const WIDE_V6: u8 = 16;
/// Most `dhcp_servers`.
const MAX_DHCP_SERVERS: usize = 64;

pub(super) fn failsafe<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Vec<Failsafe> {
    let mut lines: HashMap<IpNet, u32> = HashMap::new();
    let mut failsafe = Vec::new();
    let max = 2 * MAX_FAILSAFE as usize;
    for item in root.tables(document, "failsafe", "[[failsafe]]", max) {
        let Some(table) = Table::open(document, item, &FAILSAFE) else {
            continue;
        };
        let prefix = table.read(document, "prefix", |document, item| {
            let prefix = prefix(document, item)?;
            if !check_width(document, item, &prefix.value) {
                return None;
            }
            if let Some(line) = lines.insert(prefix.value, prefix.place.line) {
                let message = format!("the prefix is already failsafe, in line {line}");
                document.warning(item.node, message, "remove one of the two");
                return None;
            }
            let n_family = lines
                .keys()
                .filter(|net| net.addr().is_ipv4() == prefix.value.addr().is_ipv4());
            if n_family.count() > MAX_FAILSAFE as usize {
                let message = format!("more than {MAX_FAILSAFE} failsafe prefixes of one family");
                document.error(item.node, message, "aggregate adjacent prefixes");
                return None;
            }
            Some(prefix)
        });
        let comment = table.read(document, "comment", text);
        if let (Some(prefix), Some(comment)) = (prefix, comment) {
            failsafe.push(Failsafe { prefix, comment });
        }
    }
    failsafe
}

fn check_width(document: &mut Document<'_>, item: Item<'_>, prefix: &IpNet) -> bool {
    if is_whole_family(prefix) {
        document.error(
            item.node,
            "a failsafe prefix of all addresses would switch cordon off",
            "name the addresses that you manage this host from",
        );
        return false;
    }
    let wide = if prefix.addr().is_ipv4() { WIDE_V4 } else { WIDE_V6 };
    if prefix.prefix_len() < wide {
        document.warning(
            item.node,
            format!("the failsafe prefix is wider than /{wide}: no policy can block any of it"),
            "name the addresses that you manage this host from",
        );
    }
    true
}

/// `dhcp_servers`.
pub(super) fn dhcp_servers<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<Located<IpAddr>>> {
    let elements = possibly_empty_list(document, item, "\"192.0.2.2\"")?;
    if let Some(element) = elements.get(MAX_DHCP_SERVERS) {
        document.error(
            element.node,
            format!("more than {MAX_DHCP_SERVERS} DHCP servers"),
            "name those that this host has its leases from",
        );
        return None;
    }
    let mut servers: Vec<Located<IpAddr>> = Vec::new();
    for element in elements {
        let Some(server) = address(document, element) else {
            continue;
        };
        if !is_a_hosts(server.value) {
            document.error(
                element.node,
                "no server has this address: it is nobody's, everybody's or this host's own",
                "write the address that the server answers from, as in its leases",
            );
        } else if let Some(other) = servers.iter().find(|other| other.value == server.value) {
            let message = format!("the server is already in this list, in line {}", other.place.line);
            document.warning(element.node, message, "remove one of the two");
        } else {
            servers.push(server);
        }
    }
    Some(servers)
}

pub(super) fn is_a_hosts(address: IpAddr) -> bool {
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() && !is_broadcast
}
