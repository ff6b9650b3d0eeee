//! `[[source]]`: where bundles are pulled from.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use hyper::{Uri, http::uri::Scheme};

use super::absolute_path;
use crate::{
    policy::{
        Located,
        document::Document,
        table::{Item, Key, Shape, Table},
        value::{choice, text},
    },
    span::parse_span,
};

/// Most `[[source]]` tables.
const MAX_SOURCES: usize = 16;
/// Longest URL, in bytes.
const MAX_URL_BYTES: usize = 2048;
/// Time between two looks at a source, if it says nothing.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);
/// Shortest time between two looks.
const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// Longest.
const MAX_INTERVAL: Duration = Duration::from_secs(7 * 86_400);

/// One `[[source]]`.
#[derive(Clone, Debug)]
pub struct Source {
    /// `url`.
    pub url: SourceUrl,
    /// `kind`: what is expected there.
    pub kind: SourceKind,
    /// `interval`: how often it is looked at.
    pub interval: Duration,
    /// `ca_file`: certificates that the server's must lead to; absent: those of the system.
    pub ca_file: Option<PathBuf>,
    /// `token_file`: holds a token that is shown to the server.
    pub token_file: Option<PathBuf>,
}

/// What a source gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Policy bundles.
    Policy,
    /// Geo bundles.
    Geo,
    /// Signed directives.
    Directive,
}

impl SourceKind {
    /// As the host file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Geo => "geo",
            Self::Directive => "directive",
        }
    }
}

/// The place of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceUrl {
    /// `http` or `https`.
    Web {
        /// Whether it is `https`.
        is_tls: bool,
        /// Name or address of the server, without brackets.
        host: String,
        /// Port.
        port: u16,
        /// Path and query.
        target: String,
    },
    /// A file of this host.
    File(PathBuf),
}

impl SourceUrl {
    /// Reads a URL. The error says what is wrong, and how to write it.
    pub fn parse(url: &str) -> Result<Self, (String, &'static str)> {
        let wrong = |message: &str, fix| Err((message.to_owned(), fix));
        if url.len() > MAX_URL_BYTES {
            return wrong("the URL is longer than 2,048 bytes", "shorten it");
        }
        if let Some(path) = url.strip_prefix("file://") {
            if !path.starts_with('/') || path.contains(['%', '?', '#']) {
                return wrong(
                    "a file URL names a path of this host, without escapes",
                    "write `file:///` and the rest of the path as it is",
                );
            }
            return Ok(Self::File(PathBuf::from(path)));
        }
        let uri: Uri = match url.parse() {
            Ok(uri) => uri,
            Err(error) => {
                return Err((
                    format!("this is no URL: {error}"),
                    "write it like `https://bundles.example/edge.cordon`",
                ));
            }
        };
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => {
                return wrong(
                    "only `https`, `http` and `file` are known",
                    "write it like `https://bundles.example/edge.cordon`",
                );
            }
        };
        let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else {
            return wrong(
                "the URL names no server",
                "write it between `//` and the next `/`",
            );
        };
        if authority.as_str().contains('@') {
            return wrong(
                "the URL holds a user or a password, and URLs are shown in the status",
                "write the secret to a file and name it as `token_file`",
            );
        }
        if url.contains('#') {
            return wrong("a fragment is never sent", "leave out `#` and what follows");
        }
        let port = match uri.port() {
            Some(port) => port.as_u16(),
            None if is_tls => 443,
            None => 80,
        };
        if host.is_empty() || port == 0 {
            return wrong(
                "the URL names no server",
                "write it between `//` and the next `/`",
            );
        }
        Ok(Self::Web {
            is_tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            target: uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }

    /// Server and port, for the `Host` header.
    pub fn authority(&self) -> Option<String> {
        let Self::Web {
            is_tls, host, port, ..
        } = self
        else {
            return None;
        };
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => format!("[{host}]"),
            _ => host.clone(),
        };
        Some(match (is_tls, port) {
            (true, 443) | (false, 80) => host,
            _ => format!("{host}:{port}"),
        })
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Web { is_tls, target, .. } => {
                let scheme = if *is_tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{target}", self.authority().unwrap_or_default())
            }
        }
    }
}

const SOURCE: Shape = Shape {
    label: "[[source]]",
    keys: &[
        Key::mandatory(
            "url",
            "it says where bundles are pulled from",
            "add `url = \"https://...\"`",
        ),
        Key::mandatory(
            "kind",
            "it says what is expected there",
            "add `kind = \"policy\"`, or `\"geo\"`",
        ),
        Key::optional("interval"),
        Key::optional("ca_file"),
        Key::optional("token_file"),
    ],
    elsewhere: &[
        ("token", "write it to a file and name that as `token_file`"),
        ("password", "write it to a file and name that as `token_file`"),
        ("ca", "write `ca_file`"),
        ("every", "write `interval`"),
    ],
};

const KINDS: &[(&str, SourceKind)] = &[
    ("policy", SourceKind::Policy),
    ("geo", SourceKind::Geo),
    ("directive", SourceKind::Directive),
];

/// `[[source]]` tables.
pub(super) fn sources<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for item in root.tables(document, "source", "[[source]]", MAX_SOURCES) {
        let Some(table) = Table::open(document, item, &SOURCE) else {
            continue;
        };
        let url = table.read(document, "url", |document, item| {
            let found = url(document, item)?;
            if sources.iter().any(|other| other.url == found) {
                document.error(
                    item.node,
                    "another `[[source]]` has this URL",
                    "remove one of the two",
                );
                return None;
            }
            Some(found)
        });
        let kind = table.read(document, "kind", |document, item| {
            choice(document, item, KINDS, &[("database", "geo")])
        });
        let interval = table.read(document, "interval", interval);
        let is_tls = url
            .as_ref()
            .is_none_or(|url| matches!(url, SourceUrl::Web { is_tls: true, .. }));
        let mut file = |key, is_of_use: bool, why: &str| {
            let path: Located<PathBuf> = table.read(document, key, absolute_path)?;
            if !is_of_use && let Some(item) = table.get(key) {
                document.error(item.node, why, "remove it, or write the URL with `https`");
            }
            Some(path.value)
        };
        let ca_file = file("ca_file", is_tls, "only `https` knows certificates");
        let token_file = file("token_file", is_tls, "the token would be sent in the clear");
        if let (Some(url), Some(kind)) = (url, kind) {
            sources.push(Source {
                url,
                kind,
                interval: interval.unwrap_or(DEFAULT_INTERVAL),
                ca_file,
                token_file,
            });
        }
    }
    sources
}

fn url(document: &mut Document<'_>, item: Item<'_>) -> Option<SourceUrl> {
    let value = text(document, item)?;
    match SourceUrl::parse(&value) {
        Ok(url) => Some(url),
        Err((message, fix)) => {
            document.error(item.node, message, fix);
            None
        }
    }
}

fn interval(document: &mut Document<'_>, item: Item<'_>) -> Option<Duration> {
    let value = text(document, item)?;
    match parse_span(&value) {
        Ok(span) if (MIN_INTERVAL..=MAX_INTERVAL).contains(&span) => Some(span),
        Ok(_) => {
            document.error(
                item.node,
                "`interval` must be 5s to 7d",
                "write `interval = \"5m\"`",
            );
            None
        }
        Err(error) => {
            document.error(item.node, error, "write `interval = \"5m\"`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_back() {
        for (url, shown) in [
            ("https://a.example/x?y=1", "https://a.example/x?y=1"),
            ("https://a.example:443", "https://a.example/"),
            ("http://[2001:db8::1]:8080/e", "http://[2001:db8::1]:8080/e"),
            ("http://192.0.2.1/e", "http://192.0.2.1/e"),
            ("file:///srv/edge.cordon", "file:///srv/edge.cordon"),
        ] {
            assert_eq!(SourceUrl::parse(url).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn urls_that_would_not_do_what_is_meant_are_refused() {
        for (url, expected) in [
            ("ftp://a.example/x", "only `https`"),
            ("/srv/edge.cordon", "only `https`"),
            ("https://user:secret@a.example/x", "user or a password"),
            ("https://a.example/x#y", "fragment"),
            ("file://host/x", "path of this host"),
            ("file:///a%20b", "path of this host"),
            ("https:///x", "no URL"),
            ("http://a.example:0/", "no server"),
        ] {
            let (message, _) = SourceUrl::parse(url).unwrap_err();
            assert!(message.contains(expected), "{url}: {message}");
        }
    }
}
