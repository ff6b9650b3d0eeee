//! `--confirm SPAN` and `--confirm auto[=SPAN]`, for every verb that publishes.

use std::time::Duration;

use anyhow::anyhow;

use super::{Globals, remote};
use crate::{
    daemon::{
        api::{PolicyRef, Probing, Status},
        client::Client,
    },
    span::parse_span,
};

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

/// For people: what is watched before a policy is confirmed.
pub(super) fn told(policy: &PolicyRef, generation: u32, probing: &Probing) -> String {
    let mut text = String::new();
    for probe in &probing.left_out {
        text.push_str(&format!("left out, it failed before: {probe}\n"));
    }
    let probes: Vec<&str> = probing.probes.iter().map(|row| row.probe.as_str()).collect();
    text.push_str(&format!(
        "policy {} is in force (generation {generation}) and is confirmed once these have held for {} s: {}\n",
        policy.name,
        probing.settle_s,
        probes.join(", ")
    ));
    text
}

/// For people: what came of it.
pub(super) fn told_confirmed(policy: &PolicyRef) -> String {
    format!("all probes hold: policy {} is confirmed\n", policy.name)
}

/// Waits until the daemon has confirmed a policy. Gives the probes as they stood last.
pub(super) fn wait(globals: &Globals, policy: &PolicyRef) -> anyhow::Result<Option<Probing>> {
    remote::with_daemon(globals, async |client| wait_for(&client, policy).await)
}

async fn wait_for(client: &Client, policy: &PolicyRef) -> anyhow::Result<Option<Probing>> {
    let mut last = None;
    loop {
        let status: Status = client.get("/v1/status").await?;
        if is_confirmed(&status, policy).map_err(|why| anyhow!(why))? {
            return Ok(last);
        }
        last = status.probing.or(last);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a policy is confirmed; `Err`: it never is, or not by the daemon. The policy is what counts: its generation is
/// another one as soon as an order is lifted or a service is halted.
fn is_confirmed(status: &Status, policy: &PolicyRef) -> Result<bool, String> {
    if status.busy.is_some() {
        return Ok(false);
    }
    if status.reverted {
        let mut problems = status.problems.iter();
        let why = problems.find(|problem| problem.contains("was reverted"));
        return Err(why.map_or_else(|| format!("policy {} was reverted", policy.name), Clone::clone));
    }
    if status.policy.as_ref() != Some(policy) {
        return Err("another policy was published meanwhile: see `cordon status`".to_owned());
    }
    let Some(left_s) = status.confirm_left_s else {
        return Ok(true);
    };
    let by_hand = format!("run `cordon confirm` by hand within {left_s} s, or it is reverted");
    if status.halted.is_some() {
        return Err(format!(
            "the host was halted meanwhile, and in a halt the probes say nothing: {by_hand}. After `cordon resume` they \
             begin anew"
        ));
    }
    match status.probing {
        Some(_) => Ok(false),
        None => Err(format!("the daemon does not probe any more: {by_hand}")),
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
    #[test]
    fn a_policy_is_followed_through_amendments_until_it_is_confirmed_or_lost() {
        let policy = |name: &str| PolicyRef {
            name: name.to_owned(),
            sha256: "7".to_owned(),
        };
        let waiting = || Status {
            busy: None,
            policy: Some(policy("new")),
            confirm_left_s: Some(60),
            probing: Some(Probing::default()),
            ..Status::starting()
        };
        let ask = |status: &Status| is_confirmed(status, &policy("new"));
        assert_eq!(ask(&waiting()), Ok(false), "whatever its generation");
        let busy = Status {
            busy: Some("publishing".to_owned()),
            policy: None,
            ..waiting()
        };
        assert_eq!(ask(&busy), Ok(false));
        let confirmed = Status {
            confirm_left_s: None,
            probing: None,
            ..waiting()
        };
        assert_eq!(ask(&confirmed), Ok(true));
        let other = Status {
            policy: Some(policy("other")),
            ..confirmed.clone()
        };
        assert!(ask(&other).unwrap_err().contains("another policy"));
        let reverted = Status {
            reverted: true,
            problems: vec!["new was reverted: because".to_owned()],
            ..other
        };
        assert_eq!(ask(&reverted), Err("new was reverted: because".to_owned()));
        let halted = Status {
            halted: Some(crate::daemon::api::Halted {
                until: None,
                reason: "drill".to_owned(),
            }),
            ..waiting()
        };
        let why = ask(&halted).unwrap_err();
        assert!(why.contains("`cordon confirm` by hand within 60 s"), "{why}");
        let silent = Status {
            probing: None,
            ..waiting()
        };
        assert!(ask(&silent).unwrap_err().contains("by hand"));
    }
}
