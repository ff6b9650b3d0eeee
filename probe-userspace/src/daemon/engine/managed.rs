//! Who may put a policy in force. With the first trusted key a host is managed: it takes signed policies only, and what
//! root puts in force without a signature ends by itself.

use std::sync::Arc;

use super::Engine;
use crate::{
    audit::{Actor, Event},
    bundle::trust::{Trust, TrustDirectory},
    daemon::{
        Refusal,
        api::{ApplyRequest, UnmanageRequest, Unmanaged},
        problems::Topic,
        store::BreakGlass,
    },
    instant::Instant,
};

/// Longest time that a policy which nobody signed is in force, in seconds.
const MAX_BREAK_GLASS_S: u64 = 86_400;

impl Engine {
    /// Reads the trusted keys as they are now. What cannot be read refuses every bundle, and takes nothing out of force.
    pub(super) fn look_at_trust(&mut self) {
        self.trust = TrustDirectory::new(&self.settings.keys_dir())
            .read()
            .map(Arc::new);
        match &self.trust {
            Ok(trust) => {
                let trust = Arc::clone(trust);
                self.problems.clear(&Topic::Trust);
                self.note_keys();
                self.note_managed(&trust);
            }
            Err(refusal) => {
                let text = match refusal.diagnostics.first() {
                    Some(first) => format!("no bundle is taken: {refusal}: {first}"),
                    None => format!("no bundle is taken: {refusal}"),
                };
                self.problems.set(Topic::Trust, text);
            }
        }
    }

    /// Notes the first trusted key for good.
    fn note_managed(&mut self, trust: &Trust) {
        let is_trusted = |file: &crate::bundle::trust::KeyFile| !trust.rules().is_revoked(&file.key);
        if self.host_state.managed.is_some() || !trust.keys().iter().any(is_trusted) {
            return;
        }
        tracing::info!("managed from now on: plain policy files are refused");
        let since = Some(Instant::now());
        self.host_state.managed = since;
        if let Err(error) = self.marks.set_managed(since) {
            self.note_marks(Err(error));
        }
        let event = Event::Key {
            change: "manage".to_owned(),
            key: String::new(),
            verbs: Vec::new(),
        };
        self.record(&Actor::Daemon, &event);
        self.save_host_state();
    }

    /// Whether this host takes signed policies only. Where the keys cannot be read, nobody knows that it does not.
    pub(super) fn is_managed(&self) -> bool {
        self.host_state.managed.is_some() || self.trust.as_ref().map_or(true, |trust| !trust.is_empty())
    }

    /// Whether a plain file may be applied, and if so whether by breaking the glass.
    pub(super) fn may_apply_plain(
        &mut self,
        request: &ApplyRequest,
        actor: &Actor,
    ) -> Result<Option<BreakGlass>, Refusal> {
        self.look_at_trust();
        match (&request.break_glass, self.is_managed()) {
            (None, false) => Ok(None),
            (None, true) => Err(Refusal::conflict(format!(
                "this host takes signed policies only ({}), so {} was not applied: send a bundle with `cordon bundle push`, \
                 or, in an emergency, apply the file for a while with `--break-glass --reason TEXT`",
                self.why_managed(),
                request.file
            ))),
            (Some(_), false) => Err(Refusal::conflict(
                "no key is trusted here, so there is no glass to break: apply the file without `--break-glass`",
            )),
            (Some(asked), true) => {
                if asked.reason.trim().is_empty() {
                    return Err(Refusal::input(
                        "to break the glass needs a reason: --reason TEXT",
                        Vec::new(),
                    ));
                }
                if !(1..=MAX_BREAK_GLASS_S).contains(&asked.for_s) {
                    return Err(Refusal::input(
                        format!("{} s without a signature: must be 1 s to 24 h", asked.for_s),
                        Vec::new(),
                    ));
                }
                let seconds = u32::try_from(asked.for_s).unwrap_or(u32::MAX);
                Ok(Some(BreakGlass {
                    reason: asked.reason.clone(),
                    actor: actor.clone(),
                    until: Instant(Instant::now().0.saturating_add(seconds)),
                }))
            }
        }
    }

    pub(super) fn why_managed(&self) -> String {
        match (&self.trust, self.host_state.managed) {
            (Err(_), _) => "its trusted keys cannot be read".to_owned(),
            (Ok(trust), Some(since)) if trust.is_empty() => format!(
                "since {since}; no key is trusted any more: trust one with `cordon key trust`, or end it with `cordon key \
                 unmanage`"
            ),
            (Ok(_), Some(since)) => format!("since {since}"),
            (Ok(_), None) => "a key is trusted".to_owned(),
        }
    }

    /// Stored before it is in force: a daemon that dies in between must know what it finds.
    pub(super) fn begin_break_glass(&mut self, break_glass: Option<&BreakGlass>) -> Result<(), Refusal> {
        let Some(break_glass) = break_glass else {
            return Ok(());
        };
        let before = self.host_state.break_glass.replace(break_glass.clone());
        self.store.set_host_state(&self.host_state).map_err(|error| {
            self.host_state.break_glass = before;
            Refusal::failed(error)
        })
    }

    /// Another policy came into force, or the same is noted as what it is.
    pub(super) fn end_of_break_glass(&mut self, is_break_glass: bool) {
        if is_break_glass {
            if let Some(break_glass) = &self.host_state.break_glass {
                self.problems.set(
                    Topic::BreakGlass,
                    format!(
                        "nobody signed the policy in force: break-glass by {} until {}: {}",
                        break_glass.actor, break_glass.until, break_glass.reason
                    ),
                );
            }
            return;
        }
        self.problems.clear(&Topic::BreakGlass);
        if self.host_state.break_glass.take().is_some() {
            self.save_host_state();
        }
    }

    /// At a start: break-glass lives in the kernel and nowhere else, so it is over if nothing waits there. What waits is
    /// told by its own file, unless the daemon died between writing the file of the next policy and publishing that: what
    /// is pinned is then not what the file says, and the record of the break-glass holds.
    pub(super) fn take_up_break_glass(&mut self) {
        let state = self.dataplane.state().ok();
        let left_s = state.and_then(|state| state.confirm_left_s);
        let is_recorded = self.host_state.break_glass.is_some() && self.in_force.is_none();
        let is_break_glass = left_s.is_some() && (is_recorded || self.is_pending_break_glass());
        if let (true, Some(left_s), None) = (is_break_glass, left_s, &self.host_state.break_glass) {
            let left_s = u32::try_from(left_s).unwrap_or(u32::MAX);
            self.host_state.break_glass = Some(BreakGlass {
                reason: "not recorded".to_owned(),
                actor: Actor::Daemon,
                until: Instant(Instant::now().0.saturating_add(left_s)),
            });
            self.save_host_state();
        }
        self.end_of_break_glass(is_break_glass);
    }

    /// Whether nobody signed the policy that waits.
    pub(super) fn is_pending_break_glass(&self) -> bool {
        let pending = self.store.pending().ok().flatten();
        pending.is_some_and(|pending| pending.is_break_glass)
    }

    /// Takes plain files again. Only where no key is left: keys are taken away one by one, each with its reason.
    pub(super) fn unmanage(
        &mut self,
        request: &UnmanageRequest,
        actor: &Actor,
    ) -> Result<Unmanaged, Refusal> {
        if request.reason.trim().is_empty() {
            return Err(Refusal::input("it needs a reason: --reason TEXT", Vec::new()));
        }
        self.look_at_trust();
        match &self.trust {
            Err(refusal) => return Err(refusal.clone()),
            Ok(trust) if !trust.is_empty() => {
                return Err(Refusal::conflict(
                    "keys are trusted here: take each away with `cordon key revoke` first",
                ));
            }
            Ok(_) => {}
        }
        let Some(since) = self.host_state.managed else {
            return Ok(Unmanaged { since: None });
        };
        let event = Event::Key {
            change: "unmanage".to_owned(),
            key: request.reason.clone(),
            verbs: Vec::new(),
        };
        self.record_first(actor, &event)?;
        self.marks.set_managed(None).map_err(Refusal::failed)?;
        self.host_state.managed = None;
        self.store.set_host_state(&self.host_state).map_err(|error| {
            self.host_state.managed = Some(since);
            Refusal::failed(error)
        })?;
        tracing::info!(%actor, reason = request.reason, "not managed any more: plain files are taken again");
        Ok(Unmanaged { since: Some(since) })
    }
}
