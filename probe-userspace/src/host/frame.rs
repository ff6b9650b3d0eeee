//! `nat64_prefixes`.

use ipnet::{IpNet, Ipv6Net};
use probe_common::limits::MAX_NAT64;

use crate::policy::{Located, document::Document, prefix::prefix, table::Item, value::possibly_empty_list};

/// The lengths that RFC 6052 gives a place for the IPv4 address to.
const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// 64:ff9b::/96 (RFC 6052 section 2.1).
const WELL_KNOWN: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// `nat64_prefixes`.
pub(super) fn nat64_prefixes<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<Ipv6Net>> {
    let elements = possibly_empty_list(document, item, "\"2001:db8:64::/96\"")?;
    if let Some(element) = elements.get(MAX_NAT64) {
        document.error(
            element.node,
            format!("more than {MAX_NAT64} NAT64 prefixes"),
            "name those that translators on the way to this host use",
        );
        return None;
    }
    let mut found: Vec<Located<Ipv6Net>> = Vec::new();
    for element in elements {
        let Some(Located { value, place }) = prefix(document, element) else {
            continue;
        };
        let value = match check(value) {
            Ok(value) => value,
            Err((message, fix)) => {
                document.error(element.node, message, fix);
                continue;
            }
        };
        if value == WELL_KNOWN {
            let message = "the well-known prefix is always decoded";
            document.warning(element.node, message, "remove it");
            continue;
        }
        let overlaps = |other: &Ipv6Net| other.contains(&value) || value.contains(other);
        if overlaps(&WELL_KNOWN) {
            let message = "the prefix overlaps 64:ff9b::/96, which is always decoded as a /96";
            document.error(element.node, message, "write the prefix that the translator uses");
        } else if let Some(other) = found.iter().find(|other| overlaps(&other.value)) {
            let message = format!(
                "the prefix overlaps {} in line {}: an address would hold two IPv4 addresses",
                other.value, other.place.line
            );
            document.error(element.node, message, "keep the one that the translator uses");
        } else {
            found.push(Located { value, place });
        }
    }
    Some(found.into_iter().map(|prefix| prefix.value).collect())
}

fn check(prefix: IpNet) -> Result<Ipv6Net, (&'static str, &'static str)> {
    let IpNet::V6(prefix) = prefix else {
        return Err((
            "a NAT64 prefix is an IPv6 prefix",
            "write the prefix that the translator puts before IPv4 addresses",
        ));
    };
    if !LENGTHS.contains(&prefix.prefix_len()) {
        return Err((
            "no NAT64 prefix has this length (RFC 6052)",
            "write a length of 32, 40, 48, 56, 64 or 96",
        ));
    }
    // Bits 64 to 71 are zero in every address of such a prefix.
    if prefix.addr().octets()[8] != 0 {
        return Err((
            "bits 64 to 71 of a NAT64 prefix are zero (RFC 6052)",
            "write the prefix that the translator uses",
        ));
    }
    Ok(prefix)
}
