//! Confirm: what waited is in force for good.

use std::time::Duration;

use super::{Engine, apply::policy_ref};
use crate::{
    audit::{Actor, Event},
    daemon::{
        Refusal,
        api::{Confirmed, PolicyRef},
        problems::Topic,
    },
};

/// Longest time to confirm, in seconds.
const MAX_CONFIRM_S: u64 = 86_400;

impl Engine {
    pub(super) fn confirm(&mut self, actor: &Actor) -> Result<Confirmed, Refusal> {
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        if state.confirm_left_s.is_some()
            && (self.host_state.break_glass.is_some() || self.is_pending_break_glass())
        {
            return Err(Refusal::conflict(
                "nobody signed the policy in force, so it cannot be confirmed: it ends by itself; push a signed bundle with \
                 `cordon bundle push`",
            ));
        }
        if state.confirm_left_s.is_none() {
            return Err(Refusal::conflict(match self.host_state.reverted_text() {
                Some(text) => format!("too late: {text}"),
                None => "no policy waits for confirmation".to_owned(),
            }));
        }
        self.dataplane.confirm().map_err(Refusal::failed)?;
        // Before anything else: to a daemon that dies here, the policy would be one that nobody confirmed.
        let promoted = self.store.promote_pending();
        self.previous = self.fallback.take();
        self.stop_probing();
        let policy = self.in_force.as_ref().map_or_else(
            || PolicyRef {
                name: "?".to_owned(),
                sha256: String::new(),
            },
            |in_force| policy_ref(&in_force.image),
        );
        let event = Event::Confirm {
            policy: policy.name.clone(),
        };
        self.record(actor, &event);
        promoted.map_err(|error| {
            self.problems.set(
                Topic::StoredPolicy,
                format!("the confirmed policy is not stored: {error:#}"),
            );
            Refusal::failed(error.context("confirmed in the kernel, but not stored: apply it again"))
        })?;
        self.settle_amendments();
        Ok(Confirmed { policy })
    }
}

/// The time that somebody gives himself to confirm.
pub(super) fn confirm_window(confirm_s: Option<u64>) -> Result<Option<Duration>, Refusal> {
    match confirm_s {
        None => Ok(None),
        Some(seconds @ 1..=MAX_CONFIRM_S) => Ok(Some(Duration::from_secs(seconds))),
        Some(seconds) => Err(Refusal::input(
            format!("{seconds} s to confirm: must be 1 s to {MAX_CONFIRM_S} s"),
            Vec::new(),
        )),
    }
}
