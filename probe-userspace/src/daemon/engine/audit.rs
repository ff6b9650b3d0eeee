//! What the engine does is recorded: closing verbs act first and are recorded at once after; opening verbs need the
//! record first.

use std::collections::BTreeMap;

use super::{Engine, InForce};
use crate::{
    audit::{Actor, Event, Journal, JournalError, Rejection},
    bundle::trust::{Trust, TrustDirectory, Verb},
    compile::Image,
    daemon::{Refusal, problems::Topic, settings::Settings},
    dataplane::{Mode, StateInfo, interface_index},
    link,
};

/// Name of the directory of trusted keys in the state directory.
const KEYS: &str = "keys";

/// The journal of a host, with what its host file says.
pub(in crate::daemon) fn journal(settings: &Settings) -> Journal {
    let keep = settings.host.audit_segments.map(|n| n as usize);
    Journal::new(&settings.state_dir).keeping(keep)
}

impl Engine {
    /// Records what is about to be opened. Nothing may be done if this fails.
    pub(super) fn record_first(&mut self, actor: &Actor, event: &Event) -> Result<(), Refusal> {
        tracing::info!(%actor, ?event, "about to");
        let result = self.journal.record_first(actor, event);
        let refused = result.as_ref().err().map(|error| {
            Refusal::with_status(
                507,
                format!(
                    "{error}. Nothing was done: what opens something must be on record first. Make room there, or make it \
                     writable, and try again"
                ),
            )
        });
        self.note_journal(result);
        refused.map_or(Ok(()), Err)
    }

    /// Records what has happened. A failure is a problem that the status shows; the record is written when it can be.
    pub(super) fn record(&mut self, actor: &Actor, event: &Event) {
        tracing::info!(%actor, ?event, "done");
        let result = self.journal.record(actor, event);
        self.note_journal(result);
    }

    /// Logs and counts a refusal. The same one by the thousand is one record a minute.
    pub(super) fn note_refusal<T>(
        &mut self,
        verb: &str,
        source: &str,
        actor: &Actor,
        result: &Result<T, Refusal>,
    ) {
        let Err(refusal) = result else {
            return;
        };
        tracing::info!(%actor, "{verb} refused: {refusal}");
        let rejection = Rejection {
            verb: verb.to_owned(),
            source: source.to_owned(),
            reason: refusal.word().to_owned(),
            message: refusal.error.clone(),
        };
        self.journal.reject(actor, rejection);
    }

    /// Counts a request of somebody who has not the role for it.
    pub(super) fn note_denied(&mut self, asked: String, why: String, actor: &Actor) {
        tracing::info!(%actor, asked, "denied");
        let rejection = Rejection {
            verb: "access".to_owned(),
            source: asked,
            reason: "denied".to_owned(),
            message: why,
        };
        self.journal.reject(actor, rejection);
    }

    /// Opens the log, and records the start and what was not as it should have been before it.
    pub(super) fn start_audit(&mut self) {
        let event = Event::Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.record(&Actor::Daemon, &event);
        self.note_gaps();
        self.note_keys();
    }

    /// Interfaces that were judged when somebody looked last, and are not now.
    fn note_gaps(&mut self) {
        let Some(attached) = self.judged_interfaces() else {
            return;
        };
        let (from, to) = (self.journal.last_alive(), self.journal.began().to_owned());
        let known = std::mem::take(&mut self.host_state.interfaces);
        for ifname in known.keys().filter(|ifname| !attached.contains_key(*ifname)) {
            let from = from.clone().unwrap_or_else(|| "unknown".to_owned());
            // Since it was made: what it had received when it was judged last is not known.
            let ifindex = interface_index(ifname);
            let packets = ifindex.and_then(|ifindex| link::received(ifindex).ok());
            self.record_gap(ifname, from, to.clone(), packets.unwrap_or(0));
        }
        let n_known = known.len();
        let is_judged = |ifname: &String, _: &mut String| attached.contains_key(ifname);
        self.host_state.interfaces = known;
        self.host_state.interfaces.retain(is_judged);
        if self.host_state.interfaces.len() < n_known {
            self.save_host_state();
        }
    }

    /// Records what has changed about interfaces since the last look.
    pub(super) fn note_interfaces(&mut self) {
        let Some(attached) = self.judged_interfaces() else {
            return;
        };
        if attached == self.host_state.interfaces {
            return;
        }
        let known = std::mem::replace(&mut self.host_state.interfaces, attached.clone());
        for (ifname, mode) in attached {
            if known.get(&ifname) != Some(&mode) {
                self.record(&Actor::Daemon, &Event::Attach { ifname, mode });
            }
        }
        for ifname in known.into_keys() {
            if self.host_state.interfaces.contains_key(&ifname) {
                continue;
            }
            let reason = if !self.may_be_configured(&ifname)
                && !self.configured().any(|entry| entry == link::ALL_PHYSICAL)
            {
                "the host file does not name it"
            } else if self.network.links.iter().any(|link| link.name == ifname) {
                "somebody detached it"
            } else {
                "the interface is gone"
            };
            let reason = reason.to_owned();
            self.record(&Actor::Daemon, &Event::Detach { ifname, reason });
        }
        self.save_host_state();
    }

    /// Name and mode of the interfaces attached to.
    fn judged_interfaces(&self) -> Option<BTreeMap<String, String>> {
        let attached = self.dataplane.interfaces().ok()?.into_iter();
        let present = attached.filter(|attached| attached.ifindex != 0);
        let mode = |mode: Mode| match mode {
            Mode::Native => "native".to_owned(),
            Mode::Skb => "skb".to_owned(),
        };
        Some(present.map(|it| (it.ifname, mode(it.mode))).collect())
    }

    /// Records what has changed about trusted keys since the last look. `cordon key` works on files, without the daemon.
    pub(super) fn note_keys(&mut self) {
        let directory = TrustDirectory::new(&self.settings.state_dir.join(KEYS));
        // What is wrong with them is told where they are needed.
        let Ok(trust) = directory.read() else {
            return;
        };
        let (keys, thresholds) = summary(&trust);
        if keys == self.host_state.keys && thresholds == self.host_state.thresholds {
            return;
        }
        let known = std::mem::replace(&mut self.host_state.keys, keys.clone());
        let known_thresholds = std::mem::replace(&mut self.host_state.thresholds, thresholds.clone());
        let event = |change: &str, key: String, verbs: Vec<String>| Event::Key {
            change: change.to_owned(),
            key,
            verbs,
        };
        let mut events = Vec::new();
        for (key, verbs) in &keys {
            match known.get(key) {
                Some(before) if before == verbs => {}
                Some(_) => events.push(event("restrict", key.clone(), verbs.clone())),
                None => events.push(event("trust", key.clone(), verbs.clone())),
            }
        }
        let gone = known.keys().filter(|key| !keys.contains_key(*key));
        events.extend(gone.map(|key| event("revoke", key.clone(), Vec::new())));
        for (verb, n_keys) in &thresholds {
            if known_thresholds.get(verb) != Some(n_keys) {
                events.push(event("threshold", n_keys.to_string(), vec![verb.clone()]));
            }
        }
        for event in events {
            self.record(&Actor::Daemon, &event);
        }
        self.save_host_state();
    }

    /// A generation was published that nobody asked for by itself: counters of generations are told by such records.
    pub(super) fn record_published(&mut self, in_force: &InForce, generation: u32) {
        let event = Event::Publish {
            policy: in_force.image.policy_name.clone(),
            sha256: in_force.image.policy_sha256.clone(),
            generation,
            revision: in_force.bundle.as_ref().map(|bundle| bundle.revision),
            confirm_s: None,
            lockouts: Vec::new(),
            break_glass: None,
        };
        self.record(&Actor::Daemon, &event);
    }

    /// A text was taken that differs from the one in force in nothing that the kernel sees.
    pub(super) fn note_accepted(&mut self, image: &Image, state: &StateInfo, actor: &Actor) {
        let in_force = self.in_force.as_ref();
        if in_force.is_some_and(|in_force| in_force.image.policy_sha256 == image.policy_sha256) {
            return;
        }
        let event = Event::Accept {
            policy: image.policy_name.clone(),
            sha256: image.policy_sha256.clone(),
            generation: state.active.as_ref().map_or(0, |active| active.number),
        };
        self.record(actor, &event);
    }

    /// Writes what is due.
    pub(super) fn tick_audit(&mut self) {
        self.keep_counters();
        let result = self.journal.tick();
        self.note_journal(result);
    }

    /// The daemon stops, and the log says so.
    pub(super) fn stop_audit(&mut self) {
        self.record_counters();
        self.record(&Actor::Daemon, &Event::Stop {});
        self.sign_audit();
    }

    /// Signs what was recorded so far.
    pub(super) fn sign_audit(&mut self) {
        let result = self.journal.checkpoint();
        self.note_journal(result);
    }

    pub(super) fn note_journal(&mut self, result: Result<(), JournalError>) {
        match result {
            Ok(()) => match self.journal.damage() {
                Some(damage) => self.problems.set(Topic::Audit, damage),
                None => self.problems.clear(&Topic::Audit),
            },
            Err(error) => self.problems.set(Topic::Audit, error.to_string()),
        }
    }
}

type KeysAndThresholds = (BTreeMap<String, Vec<String>>, BTreeMap<String, usize>);

fn summary(trust: &Trust) -> KeysAndThresholds {
    let names = |verbs: Vec<Verb>| verbs.iter().map(|verb| verb.name().to_owned()).collect();
    let keys = trust
        .keys()
        .iter()
        .map(|file| (file.key.id().to_string(), names(trust.verbs(&file.key))))
        .filter(|(_, verbs): &(String, Vec<String>)| !verbs.is_empty());
    let thresholds = Verb::ALL
        .into_iter()
        .map(|verb| (verb.name().to_owned(), trust.rules().threshold(verb)))
        .filter(|(_, n_keys)| *n_keys > 1);
    (keys.collect(), thresholds.collect())
}
