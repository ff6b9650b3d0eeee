//! `--confirm SPAN` and `--confirm auto[=SPAN]`, for every verb that publishes.

use std::time::Duration;

use anyhow::bail;

use crate::daemon::{
    api::{Probing, Status},
    client::Client,
};
use crate::span::parse_span;

/// Window of `auto` without a span.
const AUTO_WINDOW: Duration = Duration::from_secs(120);
/// Pause between two looks at the status.
const PAUSE: Duration = Duration::from_millis(500);

/// Who confirms, and how much time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirmation {
    /// The kernel reverts after this time.
    pub window: Duration,
    /// The daemon confirms by itself if its probes hold.
    pub is_auto: bool,
}

/// Parses `120s`, `auto` or `auto=120s`.
pub(super) fn parse_confirmation(text: &str) -> Result<Confirmation, String> {
    let (window, is_auto) = match text.strip_prefix("auto") {
        None => (parse_span(text)?, false),
        Some("") => (AUTO_WINDOW, true),
        Some(rest) => match rest.strip_prefix('=') {
            Some(span) => (parse_span(span)?, true),
            None => return Err("write `auto`, `auto=120s` or `120s`".to_owned()),
        },
    };
    Ok(Confirmation { window, is_auto })
}

/// Waits until the daemon has confirmed a generation, or the kernel has reverted it. Gives the probes as they stood last.
pub(super) async fn wait(client: &Client, generation: u32) -> anyhow::Result<Option<Probing>> {
    let mut last = None;
    loop {
        let status: Status = client.get("/v1/status").await?;
        let active = status.generation.as_ref().map(|generation| generation.number);
        if status.busy.is_none() {
            if active != Some(generation) {
                let why = status
                    .problems
                    .iter()
                    .find(|problem| problem.contains("was reverted"));
                match why {
                    Some(why) if status.reverted => bail!("{why}"),
                    _ => bail!("another policy was published meanwhile: see `cordon status`"),
                }
            }
            if status.confirm_left_s.is_none() {
                return Ok(last);
            }
        }
        last = status.probing.or(last);
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_has_a_window_of_its_own_or_the_one_behind_it() {
        let parse = |text| parse_confirmation(text).map(|found| (found.window.as_secs(), found.is_auto));
        assert_eq!(parse("90s"), Ok((90, false)));
        assert_eq!(parse("auto"), Ok((120, true)));
        assert_eq!(parse("auto=5m"), Ok((300, true)));
        for wrong in ["auto5m", "auto=", "auto=5", "automatic"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
