//! Back to what was confirmed last: by the kernel at the deadline, or because somebody ends break-glass.

use super::Engine;
use crate::{
    audit::{Actor, Event},
    daemon::{Refusal, api::Ended, problems::Topic},
};

impl Engine {
    /// Takes note of a revert that the kernel did by itself.
    pub(super) fn settle(&mut self) {
        if !self.dataplane.state().is_ok_and(|state| state.reverted) {
            return;
        }
        match self.go_back() {
            Ok(lost) => self.record(&Actor::Daemon, &Event::Revert { policy: lost }),
            Err(refusal) => tracing::warn!("{refusal}"),
        }
    }

    /// Back to what was confirmed last, or takes note that the kernel went back by itself. Gives the name of what was in
    /// force until now. It is on the caller to record it: whoever ends break-glass has done so before.
    pub(super) fn go_back(&mut self) -> Result<String, Refusal> {
        let is_break_glass = self.host_state.break_glass.is_some();
        self.mark_pending();
        let name = self.name_of_pending();
        // Where the kernel went back by itself, the file goes first: to a daemon that dies in between, it must not look
        // like a policy that came into force.
        let has_reverted = self.dataplane.state().is_ok_and(|state| state.reverted);
        if has_reverted {
            self.forget_pending();
        }
        let result = self.dataplane.revert();
        self.problems
            .note(
                Topic::Confirm,
                "the kernel reverted, but tidying up failed",
                result,
            )
            .ok_or_else(|| Refusal::failed("what was confirmed last could not be taken up again"))?;
        if !has_reverted {
            self.forget_pending();
        }
        let lost = match self.in_force.take() {
            Some(lost) => lost.image.policy_name.clone(),
            None => name.unwrap_or_default(),
        };
        match is_break_glass {
            true => tracing::info!(
                policy = lost,
                "break-glass is over: the signed policy holds again"
            ),
            false => tracing::warn!(policy = lost, "not confirmed in time: reverted"),
        }
        self.in_force = self.fallback.take();
        self.previous = None;
        self.note_redirects();
        if let Some(in_force) = &self.in_force
            && let Err(error) = self.dataplane.recognise(&in_force.image)
        {
            tracing::warn!("cannot recognise the generation reverted to: {error}");
        }
        if is_break_glass {
            self.end_of_break_glass(false);
        } else {
            self.host_state.reverted_why = self.probes_failed();
            self.host_state.reverted = Some(lost.clone());
            self.save_host_state();
        }
        self.look_at_expiry();
        self.history_went_back(match is_break_glass {
            true => Ended::BreakGlassOver,
            false => Ended::Reverted,
        });
        Ok(lost)
    }

    fn forget_pending(&mut self) {
        let dropped = self.store.drop_pending();
        self.problems
            .note(Topic::StoredPending, "cannot forget the reverted policy", dropped);
    }

    /// A bundle that was in force was taken, also if it was not confirmed: its revision is not free for another one.
    fn mark_pending(&mut self) {
        let pending = self.store.pending().ok().flatten();
        let read = pending.and_then(|pending| self.read_stored(&pending).ok());
        if let Some(bundle) = read.and_then(|read| read.bundle) {
            self.raise_mark_to(&bundle);
        }
    }

    /// At start, the policy that was reverted meanwhile is known by its file only.
    fn name_of_pending(&self) -> Option<String> {
        let pending = self.store.pending().ok().flatten()?;
        Some(self.read_stored(&pending).ok()?.policy.name.clone())
    }
}
