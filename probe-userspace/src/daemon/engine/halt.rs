//! Halt and resume. The kernel comes first, the record of it second: a halt is an emergency.

use super::{
    Engine,
    amend::{Change, unknown_policy},
    lift::named,
    status::instant_text,
};
use crate::{
    audit::{Actor, Event},
    compile::Image,
    daemon::{
        Refusal,
        amendments::{StoredService, StoredServiceHalt},
        api::{HaltReply, HaltRequest, Halted, ResumeReply, ResumeRequest, ServiceHalted},
        preflight::{self, CutOff, Lockout},
        problems::Topic,
        store::StoredHalt,
        surroundings::Role,
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
        let until = request.for_s.map(|for_s| end_of("a halt", for_s)).transpose()?;
        if let Some(service) = &request.service {
            return self.halt_service(service, until, request, actor);
        }
        let lockouts = self.check_halt(request)?;
        self.dataplane.halt(until).map_err(Refusal::failed)?;
        self.note_halt_for_probes();
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
        self.look_at_endpoints();
        self.look_up_names();
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
            ))
            .having_acted());
        }
        Ok(HaltReply {
            service: None,
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
        if self.dataplane.state().is_ok_and(|state| state.is_empty) {
            self.publish_for_halt();
        }
        self.attachments.forget();
        self.attach_missing();
    }

    /// Refuses to cut off whoever works on this host. That its gateway or its resolver is cut off is only said:
    /// a gateway's own packets are few, and a halt is an emergency.
    fn check_halt(&self, request: &HaltRequest) -> Result<Vec<CutOff>, Refusal> {
        let mut surroundings = self.surroundings();
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

    /// The policy in force is published again, with everything for the service dropped.
    fn halt_service(
        &mut self,
        name: &str,
        until: Option<Instant>,
        request: &HaltRequest,
        actor: &Actor,
    ) -> Result<HaltReply, Refusal> {
        let service = self.find_service(name)?;
        let mut next = self.host_state.amendments.clone();
        next.halt(StoredServiceHalt {
            service,
            until_s: until.map(|until| until.0),
            reason: request.reason.clone(),
            actor: actor.clone(),
            is_over: false,
        });
        let amended = self.amended(next)?;
        let lockouts = self.check_service_halt(amended.image(), request)?;
        self.exchange_for(amended, Change::Closes)?;
        tracing::info!(
            %actor,
            service = name,
            reason = request.reason,
            until = until.map(tracing::field::display),
            "service halted"
        );
        let until = until.map(instant_text);
        let event = Event::Halt {
            service: Some(name.to_owned()),
            until: until.clone(),
            reason: request.reason.clone(),
        };
        self.record(actor, &event);
        self.attach_missing();
        Ok(HaltReply {
            service: Some(name.to_owned()),
            halted: Halted {
                until,
                reason: request.reason.clone(),
            },
            lockouts: lockouts.iter().map(Lockout::to_string).collect(),
            problems: self.problems.texts(),
        })
    }

    /// The service as the policy in force describes it; while it is halted, also as it was described then.
    fn find_service(&self, name: &str) -> Result<StoredService, Refusal> {
        let in_force = self.in_force.as_ref().ok_or_else(unknown_policy)?;
        let described = in_force.policy.services.iter().map(StoredService::of);
        let now = Instant::now();
        let halted = self.host_state.amendments.live_halts(now);
        let halted = halted.map(|halt| halt.service.clone());
        let known: Vec<StoredService> = described.into_iter().chain(halted).collect();
        if let Some(service) = known.iter().find(|service| service.name == name) {
            return Ok(service.clone());
        }
        let mut names: Vec<String> = known.into_iter().map(|service| service.name).collect();
        names.dedup();
        Err(Refusal::input(
            format!(
                "the policy in force has no service \"{name}\"; {}",
                named("it has", &names)
            ),
            Vec::new(),
        ))
    }

    /// Refuses to cut off what the host needs and has had so far. Unlike a policy, a halt may count on the failsafe
    /// prefixes.
    fn check_service_halt(&self, image: &Image, request: &HaltRequest) -> Result<Vec<Lockout>, Refusal> {
        let (host, surroundings) = (&self.settings.host, self.surroundings());
        let guarded = preflight::guarded(host, request.ssh_peer, &surroundings);
        let now = Instant::now();
        let before = match &self.in_force {
            Some(in_force) => preflight::lockouts(&in_force.image, &guarded, host.ssh_ports(), now),
            None => Vec::new(),
        };
        let mut lockouts = preflight::lockouts(image, &guarded, host.ssh_ports(), now);
        let failsafe = self.failsafe_prefixes();
        lockouts.retain(|lockout| {
            if failsafe.iter().any(|prefix| prefix.contains(&lockout.address)) {
                return false;
            }
            let is_same = |known: &Lockout| known.address == lockout.address && known.from <= lockout.from;
            !before.iter().any(is_same)
        });
        let is_refused = lockouts.iter().any(|lockout| lockout.is_binding);
        if !is_refused || request.override_lockout {
            return Ok(lockouts);
        }
        let place = Place::file(&self.settings.host.file);
        let diagnostics = lockouts
            .iter()
            .filter(|lockout| lockout.is_binding)
            .map(|lockout| {
                let address = lockout.address.to_string();
                Diagnostic::error(place.clone(), address, lockout.message(), &*lockout.fix)
            })
            .collect();
        Err(Refusal {
            diagnostics,
            ..Refusal::conflict(
                "the halt would cut off what this host needs; nothing was halted (to halt all the same: --override-lockout)",
            )
        })
    }

    pub(super) fn resume(&mut self, request: &ResumeRequest, actor: &Actor) -> Result<ResumeReply, Refusal> {
        let services = self.services_to_resume(request)?;
        let ended = match &request.service {
            Some(_) => None,
            None => self.dataplane.state().ok().and_then(|state| self.halted(&state)),
        };
        let names = services.iter().map(|halt| Some(halt.service.clone()));
        for service in ended.iter().map(|_| None).chain(names) {
            let event = Event::Resume {
                service,
                ended: false,
            };
            self.record_first(actor, &event)?;
        }
        let resumed = self.resume_services(&services);
        if request.service.is_none() {
            if ended.is_some() {
                self.note_halt_for_probes();
            }
            self.dataplane.resume().map_err(|error| Refusal {
                has_acted: resumed.is_ok() && !services.is_empty(),
                ..Refusal::failed(error)
            })?;
            self.problems.clear(&Topic::Halt);
            self.host_state.halted = None;
            self.save_host_state();
        }
        if let Err(refusal) = resumed {
            return Err(Refusal {
                has_acted: ended.is_some(),
                error: match &ended {
                    Some(_) => format!(
                        "the host is resumed, but services are still halted: {}",
                        refusal.error
                    ),
                    None => refusal.error.clone(),
                },
                ..refusal
            });
        }
        tracing::info!(
            %actor,
            was_halted = ended.is_some(),
            n_services = services.len(),
            "resumed"
        );
        Ok(ResumeReply {
            ended,
            services,
            problems: self.problems.texts(),
        })
    }

    fn services_to_resume(&self, request: &ResumeRequest) -> Result<Vec<ServiceHalted>, Refusal> {
        let mut halted = self.halted_services();
        let Some(name) = &request.service else {
            return Ok(halted);
        };
        let names: Vec<String> = halted.iter().map(|halt| halt.service.clone()).collect();
        halted.retain(|halt| halt.service == *name);
        if halted.is_empty() {
            return Err(Refusal::conflict(format!(
                "service \"{name}\" is not halted; {}",
                named("halted are", &names)
            )));
        }
        Ok(halted)
    }

    fn resume_services(&mut self, services: &[ServiceHalted]) -> Result<(), Refusal> {
        if services.is_empty() {
            return Ok(());
        }
        let mut next = self.host_state.amendments.clone();
        next.halts
            .retain(|halt| !services.iter().any(|ended| ended.service == halt.service.name));
        let amended = self.amended(next)?;
        self.exchange_for(amended, Change::Opens)
    }

    pub(super) fn has_halted_services(&self) -> bool {
        let halts = self.host_state.amendments.live_halts(Instant::now());
        halts.count() > 0
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

/// The instant at which something that begins now ends by itself.
pub(super) fn end_of(what: &str, for_s: u64) -> Result<Instant, Refusal> {
    let end = u64::from(Instant::now().0).saturating_add(for_s);
    match u32::try_from(end) {
        Ok(end) if for_s > 0 && end != u32::MAX => Ok(Instant(end)),
        _ => Err(Refusal::input(
            format!("{what} of {for_s} s: must be at least 1 s and end before 2106"),
            Vec::new(),
        )),
    }
}
