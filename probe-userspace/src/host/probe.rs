//! `[[probe]]`: what must hold before cordon confirms a policy by itself.

use std::net::{IpAddr, SocketAddr};

use toml::de::DeValue;

use super::{number::number, source::SourceUrl};
use crate::policy::{
    document::Document,
    table::{Item, Key, Shape, Table, wrong_type},
    value::{flag, text},
};

/// Most `[[probe]]` tables.
const MAX_PROBES: usize = 32;
/// HTTP status codes.
const MIN_STATUS: u32 = 100;
const MAX_STATUS: u32 = 599;

/// One `[[probe]]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// `gateway`: every default gateway answers.
    Gateway,
    /// `resolver`: every resolver answers a question.
    Resolver,
    /// `bundle_server`: the server of every `[[source]]` takes a connection.
    BundleServer,
    /// `tcp`: this service takes a connection.
    Tcp(SocketAddr),
    /// `http`: this service answers as expected.
    Http {
        /// Where it listens.
        address: SocketAddr,
        /// Path and query.
        target: String,
        /// What it answers.
        status: u16,
    },
    /// `max_drop_share`: at most so much more of the packets is dropped than before, 0 to 1.
    DropShare(f64),
}

const PROBE: Shape = Shape {
    label: "[[probe]]",
    keys: &[
        Key::optional("gateway"),
        Key::optional("resolver"),
        Key::optional("bundle_server"),
        Key::optional("tcp"),
        Key::optional("http"),
        Key::optional("status"),
        Key::optional("max_drop_share"),
    ],
    elsewhere: &[
        ("https", "TLS is not looked into: write `tcp`"),
        ("dns", "write `resolver = true`"),
        ("source", "write `bundle_server = true`"),
    ],
};

const ONE_OF: &str = "write one of `gateway = true`, `resolver = true`, `bundle_server = true`, `tcp = \"127.0.0.1:443\"`, \
                      `http = \"http://127.0.0.1/health\"`, `max_drop_share = 0.2`; a `[[probe]]` for each";

/// `[[probe]]` tables.
pub(super) fn probes<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Vec<Probe> {
    let mut probes = Vec::new();
    for item in root.tables(document, "probe", "[[probe]]", MAX_PROBES) {
        let Some(table) = Table::open(document, item, &PROBE) else {
            continue;
        };
        let named: Vec<&str> = [
            "gateway",
            "resolver",
            "bundle_server",
            "tcp",
            "http",
            "max_drop_share",
        ]
        .into_iter()
        .filter(|key| table.get(key).is_some())
        .collect();
        let [_] = named[..] else {
            document.error(item.node, "a `[[probe]]` is one probe", ONE_OF);
            continue;
        };
        let status = table.read(document, "status", |document, item| {
            number(document, item, MIN_STATUS..=MAX_STATUS)
        });
        if let Some(item) = table.get("status").filter(|_| named != ["http"]) {
            document.error(item.node, "`status` goes with `http`", "remove it");
        }
        let status = status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(200);
        let on = |document: &mut Document<'a>, key, probe| {
            let is_on = table.read(document, key, flag)?;
            if !is_on && let Some(item) = table.get(key) {
                document.error(
                    item.node,
                    "a probe that is not made is left out",
                    "remove the table",
                );
            }
            is_on.then_some(probe)
        };
        let found = on(document, "gateway", Probe::Gateway)
            .or_else(|| on(document, "resolver", Probe::Resolver))
            .or_else(|| on(document, "bundle_server", Probe::BundleServer))
            .or_else(|| table.read(document, "tcp", tcp))
            .or_else(|| table.read(document, "http", |document, item| http(document, item, status)))
            .or_else(|| table.read(document, "max_drop_share", share));
        probes.extend(found);
    }
    probes
}

fn tcp(document: &mut Document<'_>, item: Item<'_>) -> Option<Probe> {
    match text(document, item)?.parse() {
        Ok(address) => Some(Probe::Tcp(address)),
        Err(_) => {
            document.error(
                item.node,
                "`tcp` must be an address and a port: names would make the probe depend on a resolver",
                "write `tcp = \"127.0.0.1:443\"` or `tcp = \"[::1]:443\"`",
            );
            None
        }
    }
}

fn http(document: &mut Document<'_>, item: Item<'_>, status: u16) -> Option<Probe> {
    let fix = "write `http = \"http://127.0.0.1/health\"`; for TLS write `tcp`";
    match SourceUrl::parse(&text(document, item)?) {
        Ok(SourceUrl::Web {
            is_tls: false,
            host,
            port,
            target,
        }) if host.parse::<IpAddr>().is_ok() => Some(Probe::Http {
            address: SocketAddr::new(host.parse().ok()?, port),
            target,
            status,
        }),
        Ok(_) => {
            document.error(
                item.node,
                "`http` must be a URL with `http` and an address, not a name",
                fix,
            );
            None
        }
        Err((message, _)) => {
            document.error(item.node, message, fix);
            None
        }
    }
}

fn share(document: &mut Document<'_>, item: Item<'_>) -> Option<Probe> {
    let fix = "write `max_drop_share = 0.2` for a fifth of the packets";
    let value = match item.node.get_ref() {
        DeValue::Float(value) => value.as_str().parse::<f64>().ok(),
        DeValue::Integer(value) => value.as_str().parse::<f64>().ok(),
        _ => {
            wrong_type(document, item, "a number", fix);
            return None;
        }
    };
    match value {
        Some(value) if (0.0..=1.0).contains(&value) => Some(Probe::DropShare(value)),
        _ => {
            document.error(item.node, "`max_drop_share` must be 0 to 1", fix);
            None
        }
    }
}
