//! Halt and resume. The kernel comes first, the record of it second: a halt is an emergency.

use std::path::Path;

use super::{Engine, status::instant_text};
use crate::{
    audit::{Actor, Event},
    daemon::{
        Refusal,
        api::{HaltReply, HaltRequest, Halted, ResumeReply},
        preflight::{self, CutOff},
        problems::Topic,
        store::StoredHalt,
        surroundings::{Role, Surroundings},
    },
    dataplane::StateInfo,
    diagnostic::{Diagnostic, Place},
    instant::Instant,
};

/// Reason of a halt whose record was lost.
const NOT_RECORDED: &str = "not recorded";

impl Engine {
    pub(super) fn halt(&mut self, request: &HaltRequest, actor: &Actor) -> Result<HaltReply, Refusal> {
        if request.reason.trim().is_empty() {
            return Err(Refusal::input("a halt needs a reason: --reason TEXT", Vec::new()));
        }
        let until = request.for_s.map(end_of_halt).transpose()?;
        let lockouts = self.check_halt(request)?;
        self.dataplane.halt(until).map_err(Refusal::failed)?;
        tracing::info!(
            %actor,
            reason = request.reason,
            until = until.map(tracing::field::display),
            "halted"
        );
        let event = Event::Halt {
            service: None,
            until: until.map(instant_text),
            reason: request.reason.clone(),
        };
        self.record(actor, &event);
        self.host_state.halted = Some(StoredHalt {
            until_s: until.map(|until| until.0),
            reason: request.reason.clone(),
            actor: Some(actor.clone()),
        });
        self.save_host_state();
        self.attach_for_halt();
        let problems = self.problems.texts();
        if self
            .dataplane
            .interfaces()
            .is_ok_and(|interfaces| interfaces.is_empty())
        {
            return Err(Refusal::failed(format!(
                "nothing is dropped: cordon is attached to no interface ({}). The halt is noted and holds as soon \
                 as one is attached; `cordon resume` takes it back",
                if problems.is_empty() {
                    "the host file names none".to_owned()
                } else {
                    problems.join("; ")
                }
            )));
        }
        Ok(HaltReply {
            halted: Halted {
                until: until.map(instant_text),
                reason: request.reason.clone(),
            },
            lockouts: lockouts
                .iter()
                .map(|cut_off| format!("{}: {} - {}", cut_off.address, cut_off.message(), cut_off.fix()))
                .collect(),
            problems,
        })
    }

    /// A halt drops the world whether or not there is a policy, and also where somebody had detached cordon.
    fn attach_for_halt(&mut self) {
        if self.dataplane.state().is_ok_and(|state| state.is_empty)
            && let Ok(location) = self.load_location()
            && let Some(baseline) = self.baseline(&location)
        {
            let published = self.dataplane.publish(&baseline.image, None);
            let done = self
                .problems
                .note(Topic::Policy, "cannot publish what a halt stands on", published);
            if let Some(published) = done {
                self.record_published(&baseline.image, published.number);
                self.in_force = Some(baseline);
            }
        }
        self.attachments.forget();
        self.attach_missing();
    }

    /// Refuses to cut off whoever works on this host. That its gateway or its resolver is cut off is only said:
    /// a gateway's own packets are few, and a halt is an emergency.
    fn check_halt(&self, request: &HaltRequest) -> Result<Vec<CutOff>, Refusal> {
        let mut surroundings = Surroundings::read(Path::new("/"));
        surroundings.add(Role::SshPeer, request.ssh_peer);
        let cut_off = preflight::cut_off_by_halt(&self.failsafe_prefixes(), &surroundings);
        let is_peer = |cut_off: &&CutOff| cut_off.role == Role::SshPeer;
        if request.override_lockout || !cut_off.iter().any(|cut_off| is_peer(&cut_off)) {
            return Ok(cut_off);
        }
        let place = Place::file(&self.settings.host.file);
        let diagnostics = cut_off
            .iter()
            .filter(is_peer)
            .map(|peer| {
                let address = peer.address.to_string();
                Diagnostic::error(place.clone(), address, peer.message(), peer.fix())
            })
            .collect();
        Err(Refusal {
            diagnostics,
            ..Refusal::conflict(
                "a halt would cut off whoever works on this host; nothing was halted (to halt all the same: --override-lockout)",
            )
        })
    }

    pub(super) fn resume(&mut self, actor: &Actor) -> Result<ResumeReply, Refusal> {
        let ended = self.dataplane.state().ok().and_then(|state| self.halted(&state));
        if ended.is_some() {
            let event = Event::Resume {
                service: None,
                ended: false,
            };
            self.record_first(actor, &event)?;
        }
        self.dataplane.resume().map_err(Refusal::failed)?;
        tracing::info!(%actor, was_halted = ended.is_some(), "resumed");
        self.problems.clear(&Topic::Halt);
        self.host_state.halted = None;
        self.save_host_state();
        Ok(ResumeReply {
            ended,
            problems: self.problems.texts(),
        })
    }

    /// The halt in force, with its reason.
    pub(super) fn halted(&self, state: &StateInfo) -> Option<Halted> {
        let until = state.halted?;
        Some(Halted {
            until: until.map(instant_text),
            reason: self
                .host_state
                .halted
                .as_ref()
                .map_or_else(|| NOT_RECORDED.to_owned(), |halt| halt.reason.clone()),
        })
    }

    /// After a boot nothing is pinned: the stored halt holds. Otherwise the kernel knows best: a halt that is not
    /// stored (its record was lost, or the daemon died before writing it) is recorded, to outlive the next boot.
    pub(super) fn restore_halt(&mut self, state: &StateInfo) {
        if let Some(until) = state.halted {
            let until_s = until.map(|until| until.0);
            let stored = self.host_state.halted.as_ref();
            if stored.is_none_or(|stored| stored.until_s != until_s) {
                tracing::warn!("the kernel is halted, but this halt was not recorded: recorded now");
                self.host_state.halted = Some(StoredHalt {
                    until_s,
                    reason: NOT_RECORDED.to_owned(),
                    actor: None,
                });
                self.save_host_state();
                let event = Event::Halt {
                    service: None,
                    until: until.map(instant_text),
                    reason: NOT_RECORDED.to_owned(),
                };
                self.record(&Actor::Daemon, &event);
            }
            return;
        }
        let Some(stored) = &self.host_state.halted else {
            return;
        };
        let until = stored.until_s.map(Instant);
        let is_over = until.is_some_and(|until| until <= Instant::now());
        if state.active.is_some() || is_over {
            return;
        }
        tracing::info!(reason = stored.reason, "still halted");
        let event = Event::Halt {
            service: None,
            until: until.map(instant_text),
            reason: stored.reason.clone(),
        };
        let result = self.dataplane.halt(until);
        let done = self
            .problems
            .note(Topic::Halt, "cannot restore the halt that was in force", result);
        if done.is_some() {
            self.record(&Actor::Daemon, &event);
        }
    }

    /// A halt that ended by itself.
    pub(super) fn forget_ended_halt(&mut self) {
        if self.host_state.halted.is_some()
            && self.dataplane.state().is_ok_and(|state| state.halted.is_none())
        {
            tracing::info!("the halt is over");
            let event = Event::Resume {
                service: None,
                ended: true,
            };
            self.record(&Actor::Daemon, &event);
            self.host_state.halted = None;
            self.save_host_state();
        }
    }
}

fn end_of_halt(for_s: u64) -> Result<Instant, Refusal> {
    let end = u64::from(Instant::now().0).saturating_add(for_s);
    match u32::try_from(end) {
        Ok(end) if for_s > 0 && end != u32::MAX => Ok(Instant(end)),
        _ => Err(Refusal::input(
            format!("a halt of {for_s} s: must be at least 1 s and end before 2106"),
            Vec::new(),
        )),
    }
}
