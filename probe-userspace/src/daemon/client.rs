//! The caller's side of the control API.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

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

    /// Orders.
    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> anyhow::Result<T> {
        let request = Request::post(path)
            .header("host", "cordon")
            .header("content-type", "application/json")
            .body(Full::from(serde_json::to_vec(body)?))?;
        self.send(request).await
    }

    async fn send<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> anyhow::Result<T> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| Unreachable {
                socket: self.socket.clone(),
                error,
            })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender
            .send_request(request)
            .await
            .context("the daemon ended the connection: see its log")?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .context("the daemon's answer is cut short: see its log")?
            .to_bytes();
        connection.abort();
        if status.is_success() {
            return serde_json::from_slice(&body)
                .context("the daemon's answer is not what this version expects");
        }
        let refusal: Refusal = serde_json::from_slice(&body)
            .map_err(|_| anyhow!("the daemon answered {status}: {}", String::from_utf8_lossy(&body)))?;
        Err(anyhow::Error::new(Refusal {
            status: status.as_u16(),
            ..refusal
        }))
    }
}
