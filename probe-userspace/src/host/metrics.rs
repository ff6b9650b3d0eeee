//! `metrics`, `metrics_textfile`: where figures for Prometheus are given.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use super::absolute_path;
use crate::policy::{
    document::Document,
    table::{Item, Table},
    value::string,
};

/// Where metrics are served unless the host file says something else.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9469);

/// Where metrics are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Address and port that `/metrics` is served on; `None`: on none.
    pub address: Option<SocketAddr>,
    /// File that they are written to.
    pub textfile: Option<PathBuf>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            address: Some(DEFAULT),
            textfile: None,
        }
    }
}

pub(super) fn metrics<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Metrics {
    let path = root.read(document, "metrics_textfile", absolute_path);
    Metrics {
        address: root.read(document, "metrics", address).unwrap_or(Some(DEFAULT)),
        textfile: path.map(|path| path.value),
    }
}

/// `Some(None)`: not served.
#[expect(
    clippy::option_option,
    reason = "one says whether it can be read, the other whether it is served"
)]
fn address(document: &mut Document<'_>, item: Item<'_>) -> Option<Option<SocketAddr>> {
    let value = string(document, item)?;
    if value.is_empty() {
        return Some(None);
    }
    let Ok(address) = value.parse::<SocketAddr>() else {
        document.error(
            item.node,
            "this is no address with a port",
            format!("write `metrics = \"{DEFAULT}\"` or `metrics = \"[::1]:9469\"`, or \"\" for none"),
        );
        return None;
    };
    if address.port() == 0 {
        document.error(
            item.node,
            "port 0 is any port, so nobody would find it",
            "name a port, such as 9469",
        );
        return None;
    }
    if !address.ip().is_loopback() {
        document.warning(
            item.node,
            "whoever reaches this address can read which policy is in force, how much is dropped from where, and what \
             is wrong",
            "use a loopback address and let an exporter proxy with TLS and passwords stand before it, or keep others \
             away from this port",
        );
    }
    Some(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::parse;

    fn read(text: &str) -> (Option<Metrics>, String) {
        let (host, remarks) = parse("cordon.toml", text);
        let remarks: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        (host.map(|host| host.metrics), remarks.join("\n"))
    }

    #[test]
    fn they_are_on_localhost_unless_the_host_file_says_otherwise() {
        assert_eq!(read(""), (Some(Metrics::default()), String::new()));
        let (off, remarks) = read("metrics = \"\"\n");
        assert_eq!(
            (off.map(|metrics| metrics.address), remarks.as_str()),
            (Some(None), "")
        );
        let (on, remarks) = read("metrics = \"[::1]:9000\"\nmetrics_textfile = \"/var/lib/x/cordon.prom\"\n");
        let on = on.unwrap();
        assert_eq!(on.address, Some("[::1]:9000".parse().unwrap()));
        assert_eq!(
            (on.textfile.unwrap().to_str(), remarks.as_str()),
            (Some("/var/lib/x/cordon.prom"), "")
        );
    }

    #[test]
    fn other_addresses_are_warned_of_and_nonsense_is_refused() {
        let (metrics, remarks) = read("metrics = \"0.0.0.0:9469\"\n");
        assert!(
            metrics.is_some() && remarks.contains("whoever reaches this address"),
            "{remarks}"
        );
        for text in ["localhost:9469", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999"] {
            let (metrics, remarks) = read(&format!("metrics = \"{text}\"\n"));
            assert!(metrics.is_none() && remarks.contains(text), "{text}: {remarks}");
        }
        assert!(
            read("metrics_textfile = \"cordon.prom\"\n")
                .1
                .contains("no absolute path")
        );
    }
}
