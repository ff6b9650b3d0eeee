//! `http://` and `https://`: one GET, on a connection of its own.

use std::{fs, io::Read as _, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    client::conn::http1,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, ETAG, HOST, HeaderValue, IF_NONE_MATCH, LOCATION,
        USER_AGENT,
    },
};
use hyper_util::rt::TokioIo;
use nix::libc;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Limits, Look, tls};
use crate::host::{Source, SourceUrl};

/// How long one address of a server may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most redirects, all of them within the same server.
const MAX_REDIRECTS: usize = 3;
/// Most headers, and most bytes of them together.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Longest tag that is kept.
const MAX_TAG_BYTES: usize = 1024;
/// Longest token.
const MAX_TOKEN_BYTES: u64 = 8192;

/// Looks at a source on the web.
pub(super) async fn look(source: &Source, known: Option<&str>, limits: Limits) -> anyhow::Result<Look> {
    let token = source.token_file.as_deref().map(read_token).transpose()?;
    let mut url = source.url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let response = get(&url, source.ca_file.as_deref(), known, token.as_ref()).await?;
        let status = response.0.status();
        match status {
            StatusCode::OK => return body(response.0, limits.max_bytes).await,
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Look::Unchanged),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => url = redirected(&url, &response.0)?,
            _ => bail!("the server answered {status}"),
        }
    }
    bail!("more than {MAX_REDIRECTS} redirects")
}

/// Drops the connection with the answer.
type Answer = (Response<Incoming>, Connection);

/// The task behind a connection; ends with it.
struct Connection(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn get(
    url: &SourceUrl,
    ca_file: Option<&Path>,
    known: Option<&str>,
    token: Option<&HeaderValue>,
) -> anyhow::Result<Answer> {
    let SourceUrl::Web {
        is_tls,
        host,
        port,
        target,
    } = url
    else {
        bail!("{url} is not on the web");
    };
    let mut request = Request::get(target)
        .header(HOST, url.authority().unwrap_or_default())
        .header(USER_AGENT, concat!("cordon/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT_ENCODING, "identity");
    if let Some(known) = known {
        request = request.header(IF_NONE_MATCH, known);
    }
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    let request = request.body(Empty::new())?;
    let stream = connect(host, *port).await?;
    if !is_tls {
        return exchange(stream, request).await;
    }
    let name =
        ServerName::try_from(host.clone()).with_context(|| format!("no certificate can be for {host}"))?;
    let stream = tls::connector(ca_file)?
        .connect(name, stream)
        .await
        .with_context(|| format!("no TLS with {host}"))?;
    exchange(stream, request).await
}

/// The first address that takes a connection.
async fn connect(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let addresses = lookup_host((host, port))
        .await
        .with_context(|| format!("cannot look up {host}"))?;
    let mut last = anyhow::anyhow!("{host} has no address");
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                last = anyhow::Error::new(error).context(format!("cannot connect to {address}"))
            }
            Err(_) => last = anyhow::anyhow!("{address} does not answer"),
        }
    }
    Err(last)
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    let connection = Connection(tokio::spawn(connection));
    let response = sender
        .send_request(request)
        .await
        .context("the server's answer cannot be read")?;
    Ok((response, connection))
}

async fn body(response: Response<Incoming>, max_bytes: usize) -> anyhow::Result<Look> {
    let headers = response.headers();
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|value| *value != "identity") {
        bail!("the server sent it encoded ({encoding:?}), though it was asked not to");
    }
    let tag = headers
        .get(ETAG)
        .and_then(|tag| tag.to_str().ok())
        .filter(|tag| tag.len() <= MAX_TAG_BYTES)
        .map(str::to_owned);
    let mut body = response.into_body();
    let too_large = || anyhow::anyhow!("more than {max_bytes} bytes: that is no bundle");
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("cut short")?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if bytes.len() + data.len() > max_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    Ok(Look::Changed { bytes, tag })
}

/// Where a redirect leads. Only within the same server: another one was not named by whoever manages this host, and
/// would be shown the token.
fn redirected(from: &SourceUrl, response: &Response<Incoming>) -> anyhow::Result<SourceUrl> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .context("a redirect to nowhere")?;
    let SourceUrl::Web {
        is_tls,
        host,
        port,
        target,
    } = from
    else {
        bail!("{from} is not on the web");
    };
    let scheme = if *is_tls { "https" } else { "http" };
    let to = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if has_scheme(location) {
        location.to_owned()
    } else {
        let authority = from.authority().unwrap_or_default();
        format!("{scheme}://{authority}{}", resolve(target, location))
    };
    let elsewhere =
        || format!("redirected to {location:?}, which is not on the same server: name that as `url`");
    let to = SourceUrl::parse(&to).map_err(|(message, _)| anyhow::anyhow!("{}: {message}", elsewhere()))?;
    match &to {
        SourceUrl::Web {
            is_tls: to_tls,
            host: to_host,
            port: to_port,
            ..
        } if (to_tls, to_port) == (is_tls, port) && to_host.eq_ignore_ascii_case(host) => Ok(to),
        _ => bail!("{}", elsewhere()),
    }
}

/// Whether a reference begins with something like `https:`.
fn has_scheme(location: &str) -> bool {
    let end = location.find([':', '/', '?', '#']);
    end.is_some_and(|end| end > 0 && location[end..].starts_with(':'))
}

/// Path and query that a reference without a server means, from the ones it was found at (RFC 3986, 5.2).
fn resolve(base: &str, location: &str) -> String {
    let base_path = base.split('?').next().unwrap_or_default();
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (location, String::new()),
    };
    let whole = match path {
        "" => base_path.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{}/{path}", base_path.rsplit_once('/').map_or("", |(dir, _)| dir)),
    };
    let mut segments: Vec<&str> = Vec::new();
    let mut named = whole.split('/').skip(1).peekable();
    while let Some(segment) = named.next() {
        let is_last = named.peek().is_none();
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
        // A directory keeps the slash at its end.
        if is_last && matches!(segment, "." | "..") {
            segments.push("");
        }
    }
    format!("/{}{query}", segments.join("/"))
}

/// `Bearer` and what the file holds.
fn read_token(path: &Path) -> anyhow::Result<HeaderValue> {
    let name = || format!("token_file {}", path.display());
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .with_context(name)?;
    if !file.metadata().with_context(name)?.is_file() {
        bail!("{} is no regular file", name());
    }
    let mut text = String::new();
    file.take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)
        .with_context(name)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .ok()
        .filter(|_| !text.trim().is_empty())
        .with_context(|| format!("{} holds no token: write it on one line", name()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_as_browsers_do() {
        let base = "/pool/edge/latest.cordon?site=fra1";
        for (location, expected) in [
            ("edge-8.cordon", "/pool/edge/edge-8.cordon"),
            ("./edge-8.cordon?t=1", "/pool/edge/edge-8.cordon?t=1"),
            ("../geo/8.cordon", "/pool/geo/8.cordon"),
            ("../../../../8.cordon", "/8.cordon"),
            ("..", "/pool/"),
            ("/8.cordon", "/8.cordon"),
            ("?site=ams1", "/pool/edge/latest.cordon?site=ams1"),
        ] {
            assert!(!has_scheme(location), "{location}");
            assert_eq!(resolve(base, location), expected, "{location}");
        }
        assert!(has_scheme("https://bundles.example/8.cordon") && has_scheme("file:///8.cordon"));
        assert!(!has_scheme("8.cordon?at=12:00"));
    }
}
