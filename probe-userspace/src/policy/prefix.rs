//! Prefixes and addresses.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{Located, document::Document, table::Item, value::string};

/// A prefix: address, slash, length; host bits zero.
pub(crate) fn prefix(document: &mut Document<'_>, item: Item<'_>) -> Option<Located<IpNet>> {
    let written = string(document, item)?;
    match parse_prefix(written) {
        Ok(value) => Some(Located {
            value,
            place: document.place(item.node),
        }),
        Err((message, fix)) => {
            document.error(item.node, message, fix);
            None
        }
    }
}

/// An address without a prefix length.
pub(crate) fn address(document: &mut Document<'_>, item: Item<'_>) -> Option<Located<IpAddr>> {
    let written = string(document, item)?;
    let (message, fix) = match written.parse::<IpAddr>() {
        Ok(value) => match mapped(value) {
            None => {
                return Some(Located {
                    value,
                    place: document.place(item.node),
                });
            }
            Some(v4) => mapped_error(&v4.to_string()),
        },
        Err(_) => {
            let fix = match written.parse::<IpNet>() {
                Ok(net) => format!("write one address, as in `{}`", net.addr()),
                Err(_) => "write an address like `203.0.113.7` or `2001:db8::7`".to_owned(),
            };
            ("not an address".to_owned(), fix)
        }
    };
    document.error(item.node, message, fix);
    None
}

type Refusal = (String, String);

/// Reads a prefix; the error is a message and a fix.
pub(crate) fn parse_prefix(written: &str) -> Result<IpNet, Refusal> {
    let Some((address, prefix_len)) = written.split_once('/') else {
        return Err(no_slash(written));
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err((
            "not a prefix".to_owned(),
            "write address, slash and length, as in `203.0.113.0/24` or `2001:db8::/32`".to_owned(),
        ));
    };
    let max = if address.is_ipv4() { 32 } else { 128 };
    let length = prefix_len.parse::<u8>().ok().filter(|length| *length <= max);
    let Some(net) = length.and_then(|length| IpNet::new(address, length).ok()) else {
        return Err(bad_length(address, prefix_len, max));
    };
    if let Some(v4) = mapped(address)
        && net.prefix_len() >= 96
    {
        let v4 = IpNet::new(IpAddr::V4(v4), net.prefix_len() - 96).map_or(net, |net| net.trunc());
        return Err(mapped_error(&v4.to_string()));
    }
    if net.trunc() != net {
        return Err((
            "the prefix has host bits set: either its address or its length is not the one meant".to_owned(),
            format!("write `{}`, or the length that you mean", net.trunc()),
        ));
    }
    Ok(net)
}

fn no_slash(written: &str) -> Refusal {
    if let Ok(address) = written.parse::<IpAddr>() {
        let (address, max) = match mapped(address) {
            Some(v4) => (IpAddr::V4(v4), 32),
            None if address.is_ipv4() => (address, 32),
            None => (address, 128),
        };
        return (
            "an address without a prefix length".to_owned(),
            format!("write `{address}/{max}` for this one address"),
        );
    }
    let is_range = written.split_once('-').is_some_and(|(first, last)| {
        first.trim().parse::<IpAddr>().is_ok() && last.trim().parse::<IpAddr>().is_ok()
    });
    if is_range {
        return (
            "a range from address to address is not a prefix".to_owned(),
            "write the prefixes that make it up".to_owned(),
        );
    }
    (
        "not a prefix".to_owned(),
        "write address, slash and length, as in `203.0.113.0/24` or `2001:db8::/32`".to_owned(),
    )
}

fn bad_length(address: IpAddr, written: &str, max: u8) -> Refusal {
    let netmask = written.parse::<Ipv4Addr>().ok().map(u32::from);
    let fix = match netmask {
        Some(mask) if address.is_ipv4() && mask.leading_ones() + mask.trailing_zeros() >= 32 => {
            let length = mask.leading_ones() as u8;
            let net = IpNet::new(address, length).map(|net| net.trunc().to_string());
            format!(
                "write the length instead of the mask: `{}`",
                net.unwrap_or_default()
            )
        }
        _ => format!("write a length from 0 to {max}"),
    };
    (
        "the prefix length is not a number that this address family has".to_owned(),
        fix,
    )
}

/// The IPv4 address in an IPv4-mapped IPv6 address.
fn mapped(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}

fn mapped_error(v4: &str) -> Refusal {
    (
        "IPv4-mapped IPv6 addresses are never seen in packets, so this would never match".to_owned(),
        format!("write the IPv4 form: `{v4}`"),
    )
}

/// Whether a prefix is a whole address family.
pub(crate) fn is_whole_family(prefix: &IpNet) -> bool {
    prefix.prefix_len() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_prefixes_of_both_families() {
        for written in [
            "203.0.113.0/24",
            "0.0.0.0/0",
            "192.0.2.1/32",
            "2001:db8::/32",
            "::/0",
            "::1/128",
        ] {
            assert_eq!(parse_prefix(written).unwrap().to_string(), written);
        }
    }

    #[test]
    fn every_refusal_shows_what_to_write() {
        for (written, fix) in [
            (
                "203.0.113.7/24",
                "write `203.0.113.0/24`, or the length that you mean",
            ),
            (
                "2001:db8::1/32",
                "write `2001:db8::/32`, or the length that you mean",
            ),
            ("203.0.113.7", "write `203.0.113.7/32` for this one address"),
            ("2001:db8::7", "write `2001:db8::7/128` for this one address"),
            (
                "::ffff:203.0.113.7",
                "write `203.0.113.7/32` for this one address",
            ),
            ("::ffff:203.0.113.0/120", "write the IPv4 form: `203.0.113.0/24`"),
            (
                "10.0.0.0/255.0.0.0",
                "write the length instead of the mask: `10.0.0.0/8`",
            ),
            ("10.0.0.0/255.0.255.0", "write a length from 0 to 32"),
            ("10.0.0.0/33", "write a length from 0 to 32"),
            ("2001:db8::/129", "write a length from 0 to 128"),
            ("10.0.0.0/-1", "write a length from 0 to 32"),
            ("10.0.0.1 - 10.0.0.9", "write the prefixes that make it up"),
            (
                "10.0.0/8",
                "write address, slash and length, as in `203.0.113.0/24` or `2001:db8::/32`",
            ),
            (
                "",
                "write address, slash and length, as in `203.0.113.0/24` or `2001:db8::/32`",
            ),
        ] {
            assert_eq!(parse_prefix(written).unwrap_err().1, fix, "{written}");
        }
    }
}
