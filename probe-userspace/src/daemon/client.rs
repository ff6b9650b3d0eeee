//! The caller's side of the control API.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, task::JoinHandle};

use super::Refusal;

/// Talks to a daemon. A daemon's refusal is an error that downcasts to [`Refusal`]; one that cannot be reached
/// is an error that downcasts to [`Unreachable`].
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Nobody answers at the control socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the daemon at {}: {error} ({})", socket.display(), fix(error))]
pub struct Unreachable {
    /// The socket.
    pub socket: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

fn fix(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "run it as root or as a member of the socket's group",
        _ => "start it with `systemctl start cordon`, or in the foreground with `cordon run`",
    }
}

impl Client {
    /// A client of the daemon at a socket.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = Request::get(path)
            .header("host", "cordon")
            .body(Full::default())?;
        self.send(request).await
    }

    /// Asks for a text.
    pub async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let request = Request::get(path)
            .header("host", "cordon")
            .body(Full::default())?;
        let body = self.send_raw(request).await?;
        String::from_utf8(body.into()).context("the daemon's answer is not text")
    }

    /// Orders.
    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> anyhow::Result<T> {
        let request = Request::post(path)
            .header("host", "cordon")
            .header("content-type", "application/json")
            .body(Full::from(serde_json::to_vec(body)?))?;
        self.send(request).await
    }

    /// Replaces by a text.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, text: String) -> anyhow::Result<T> {
        let request = Request::put(path)
            .header("host", "cordon")
            .body(Full::from(text))?;
        self.send(request).await
    }

    /// Removes.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = Request::delete(path)
            .header("host", "cordon")
            .body(Full::default())?;
        self.send(request).await
    }

    /// Sends bytes.
    pub async fn send_bytes<T: DeserializeOwned>(&self, path: &str, bytes: Vec<u8>) -> anyhow::Result<T> {
        let request = Request::post(path)
            .header("host", "cordon")
            .header("content-type", "application/octet-stream")
            .body(Full::from(bytes))?;
        self.send(request).await
    }

    /// Asks for an answer that comes line by line and does not end.
    pub async fn lines(&self, path: &str) -> anyhow::Result<Lines> {
        let request = Request::get(path)
            .header("host", "cordon")
            .body(Full::default())?;
        let (response, connection) = self.exchange(request).await?;
        if response.status().is_success() {
            return Ok(Lines {
                body: response.into_body(),
                received: Vec::new(),
                _connection: connection,
            });
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Err(refusal(status, &body))
    }

    async fn send<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> anyhow::Result<T> {
        let body = self.send_raw(request).await?;
        serde_json::from_slice(&body).context("the daemon's answer is not what this version expects")
    }

    async fn send_raw(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        let (response, _connection) = self.exchange(request).await?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .context("the daemon's answer is cut short: see its log")?
            .to_bytes();
        match status.is_success() {
            true => Ok(body),
            false => Err(refusal(status, &body)),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<(Response<Incoming>, Connection)> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| Unreachable {
                socket: self.socket.clone(),
                error,
            })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = Connection(tokio::spawn(connection));
        let response = sender
            .send_request(request)
            .await
            .context("the daemon ended the connection: see its log")?;
        Ok((response, connection))
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => anyhow::Error::new(Refusal {
            status: status.as_u16(),
            ..refusal
        }),
        Err(_) => anyhow!("the daemon answered {status}: {}", String::from_utf8_lossy(body)),
    }
}

/// The task behind an exchange; ends with it.
#[derive(Debug)]
struct Connection(JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer that comes line by line.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    received: Vec<u8>,
    _connection: Connection,
}

impl Lines {
    /// The next line that is not empty; `None`: the daemon has ended.
    pub async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let line = String::from_utf8(line).context("the daemon's answer is not UTF-8")?;
                if line.trim().is_empty() {
                    continue;
                }
                return Ok(Some(line.trim_end().to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.context("the daemon ended the connection: see its log")?;
                    if let Ok(data) = frame.into_data() {
                        self.received.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
