//! `time_servers` and `bundle_servers`: servers whose answers pass in a halt.

use std::net::{IpAddr, SocketAddr};

use super::failsafe::is_a_hosts;
use crate::policy::{
    Located,
    document::Document,
    prefix::address,
    table::Item,
    value::{possibly_empty_list, string},
};

/// Most servers of each kind.
const MAX_SERVERS: usize = 64;

/// A server that bundles come from: an address or a name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleServer {
    /// Address or name.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// `time_servers`.
pub(super) fn time_servers<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<Located<IpAddr>>> {
    let mut servers = Vec::new();
    for element in elements(document, item, "\"192.0.2.123\"")? {
        let Some(server) = address(document, element) else {
            continue;
        };
        if is_a_hosts(server.value) {
            servers.push(server);
        } else {
            document.error(
                element.node,
                "no server has this address: it is nobody's, everybody's or this host's own",
                "write the address that the server answers from",
            );
        }
    }
    Some(servers)
}

/// `bundle_servers`.
pub(super) fn bundle_servers<'a>(
    document: &mut Document<'a>,
    item: Item<'a>,
) -> Option<Vec<Located<BundleServer>>> {
    let mut servers = Vec::new();
    for element in elements(document, item, "\"bundles.example.org:443\"")? {
        let Some(text) = string(document, element) else {
            continue;
        };
        match parse_server(text) {
            Some(value) => servers.push(Located {
                value,
                place: document.place(element.node),
            }),
            None => document.error(
                element.node,
                "this is not a server and its port",
                "write \"bundles.example.org:443\", \"192.0.2.7:443\" or \"[2001:db8::7]:443\"",
            ),
        }
    }
    Some(servers)
}

fn elements<'a>(document: &mut Document<'a>, item: Item<'a>, example: &str) -> Option<Vec<Item<'a>>> {
    let elements = possibly_empty_list(document, item, example)?;
    if let Some(element) = elements.get(MAX_SERVERS) {
        document.error(
            element.node,
            format!("more than {MAX_SERVERS} servers"),
            "name those that this host needs to get out of a halt",
        );
        return None;
    }
    Some(elements)
}

fn parse_server(text: &str) -> Option<BundleServer> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0 && is_a_hosts(address.ip())).then(|| BundleServer {
            host: address.ip().to_string(),
            port: address.port(),
        });
    }
    let (name, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || char == '-')
    };
    // The last label of a name is never a number: else a mistyped address would be looked up.
    let is_name = name.split('.').all(is_label)
        && name
            .rsplit('.')
            .next()
            .is_some_and(|last| !last.chars().all(|char| char.is_ascii_digit()));
    is_name.then(|| BundleServer {
        host: name.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_or_a_name_with_a_port() {
        let parsed = |text: &str| parse_server(text).map(|server| format!("{} {}", server.host, server.port));
        assert_eq!(parsed("192.0.2.7:8080").as_deref(), Some("192.0.2.7 8080"));
        assert_eq!(parsed("[2001:db8::7]:443").as_deref(), Some("2001:db8::7 443"));
        assert_eq!(
            parsed("bundles.example.org:443").as_deref(),
            Some("bundles.example.org 443")
        );
        for text in [
            "192.0.2.7",
            "192.0.2:443",
            "192.0.2.7:0",
            "0.0.0.0:443",
            "name:",
            "na me:443",
            "https://name:443",
            ":443",
            "a..b:443",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
