//! Asking the daemon from a verb.

use std::{future::Future, net::IpAddr};

use anyhow::Context as _;

use super::Globals;
use crate::daemon::{client::Client, surroundings::parse_ssh_connection};

/// Runs one exchange with the daemon that the host file names.
pub(super) fn with_daemon<T, F: Future<Output = anyhow::Result<T>>>(
    globals: &Globals,
    exchange: impl FnOnce(Client) -> F,
) -> anyhow::Result<T> {
    let socket = globals.settings_or_defaults()?.socket();
    runtime()?.block_on(exchange(Client::new(&socket)))
}

/// A runtime for one verb.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Who sits at the other end of this session.
pub(super) fn ssh_peer() -> Option<IpAddr> {
    ["SSH_CONNECTION", "SSH_CLIENT"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find_map(|value| parse_ssh_connection(&value))
}
