//! Rules of nftables in a namespace. They end with it.

use std::{io::Write as _, process::Stdio};

use anyhow::{Context as _, bail};

use crate::netns::Netns;

/// Loads a ruleset.
pub fn load(netns: &Netns, ruleset: &str) -> anyhow::Result<()> {
    let mut child = netns
        .command("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `nft` (package nftables)")?;
    child
        .stdin
        .take()
        .context("nft has no standard input")?
        .write_all(ruleset.as_bytes())
        .context("cannot write to nft")?;
    let output = child.wait_with_output().context("cannot wait for nft")?;
    if !output.status.success() {
        bail!(
            "nft failed: {}\nin:\n{ruleset}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
