//! Exemptions made at run time: who may pass what the policy stops, until when.
//!
//! The list is on disk, and what follows from it is in tries that all generations share. Granting needs the record and
//! the file first, removing acts first. `keep` holds file and tries together, `lifts` makes generations know what is
//! lifted, `sync` replaces the whole list.

mod keep;
mod lifts;
mod sync;

use std::sync::Arc;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

pub use self::keep::Exemptions;
use super::{Engine, Reply, answer};
use crate::{
    audit::{Actor, Event},
    daemon::{
        Refusal,
        api::{
            self, AddRequest, Exempted, ExemptionQuery, RemoveQuery, RenewRequest, Status, SyncQuery, Synced,
        },
    },
    diagnostic::{Diagnostic, Place},
    exemption::{Exemption, Fault, List, Plan, limits::MAX_EXEMPTIONS},
    instant::Instant,
    policy::parse_prefix,
};

/// Most exemptions of one change that are recorded each by itself.
const MAX_RECORDS: usize = 16;
/// What the status counts as about to end.
const EXPIRING_S: u32 = 7 * 86_400;

/// What somebody wants of the exemptions.
#[derive(Debug)]
pub enum ExemptEvent {
    /// Tell which there are.
    List(ExemptionQuery, Reply<api::Exemptions>),
    /// Grant.
    Add(AddRequest, Actor, Reply<Exempted>),
    /// Move ends.
    Renew(RenewRequest, Actor, Reply<Exempted>),
    /// Take away.
    Remove(RemoveQuery, Actor, Reply<Exempted>),
    /// Replace the list by a file's text.
    Sync(SyncQuery, String, Actor, Reply<Synced>),
}

impl Engine {
    pub(super) fn exempt(&mut self, event: ExemptEvent) {
        match event {
            ExemptEvent::List(query, reply) => answer(reply, self.list_exemptions(&query)),
            ExemptEvent::Add(request, actor, reply) => {
                let result = self.add_exemptions(&request, &actor);
                self.note_refusal("exempt add", "", &actor, &result);
                answer(reply, result);
            }
            ExemptEvent::Renew(request, actor, reply) => {
                let result = self.renew_exemptions(&request, &actor);
                self.note_refusal("exempt renew", "", &actor, &result);
                answer(reply, result);
            }
            ExemptEvent::Remove(query, actor, reply) => {
                let result = self.remove_exemptions(&query, &actor);
                self.note_refusal("exempt remove", "", &actor, &result);
                answer(reply, result);
            }
            ExemptEvent::Sync(query, text, actor, reply) => {
                self.show(Some("replacing the exemptions"));
                let result = self.sync_exemptions(&query, &text, &actor);
                self.note_refusal("exempt sync", "", &actor, &result);
                self.show(None);
                answer(reply, result);
            }
        }
    }

    fn list_exemptions(&self, query: &ExemptionQuery) -> Result<api::Exemptions, Refusal> {
        self.exemptions.readable()?;
        let before = query.expiring_s.map(|seconds| {
            let end = u64::from(Instant::now().0).saturating_add(seconds);
            Instant(u32::try_from(end).unwrap_or(u32::MAX))
        });
        let is_asked_for = |exemption: &&Arc<Exemption>| {
            query
                .reference
                .as_ref()
                .is_none_or(|reference| *reference == exemption.reference)
                && query
                    .address
                    .is_none_or(|address| exemption.prefix.contains(&address))
                && before.is_none_or(|before| exemption.until <= before)
        };
        let list = self.exemptions.list.iter().filter(is_asked_for);
        Ok(api::Exemptions {
            exemptions: list.map(|exemption| exemption.written()).collect(),
            n_all: self.exemptions.list.len(),
        })
    }

    /// Grants all or none.
    pub(super) fn add_exemptions(
        &mut self,
        request: &AddRequest,
        actor: &Actor,
    ) -> Result<Exempted, Refusal> {
        self.exemptions.readable()?;
        let now = Instant::now();
        let mut list = self.exemptions.list.clone();
        let mut added = Vec::new();
        let mut diagnostics = Vec::new();
        for (idx, written) in request.exemptions.iter().enumerate() {
            let mut refuse = |faults: Vec<Fault>| {
                let n_asked = request.exemptions.len();
                diagnostics.extend(faults.into_iter().map(|fault| of_request(fault, idx, n_asked)));
            };
            let exemption = match Exemption::new(written.clone(), now, &actor.to_string()) {
                Ok(exemption) => exemption,
                Err(faults) => {
                    refuse(faults);
                    continue;
                }
            };
            let faults = self.faults(&exemption, &list, now);
            if faults.is_empty() {
                let is_there = list.get(&exemption.prefix, &exemption.reference).is_some();
                if !is_there {
                    added.push(Arc::new(exemption.clone()));
                    list.insert(exemption);
                }
            } else {
                refuse(faults);
            }
        }
        refuse_if(&diagnostics, "nothing was granted")?;
        refuse_too_many(&list)?;
        if added.is_empty() {
            return Ok(self.exempted(&[], None));
        }
        let generation = self.grant(list, &records("add", &added)?, actor)?;
        Ok(self.exempted(&added, generation))
    }

    /// What speaks against granting it, beside its own form.
    fn faults(&self, exemption: &Exemption, list: &List, now: Instant) -> Vec<Fault> {
        let mut faults = self.unknown_names(exemption);
        if exemption.until <= now {
            faults.push(Fault {
                field: "until",
                value: exemption.until.to_string(),
                message: "this is over already".to_owned(),
                fix: "write a later end".to_owned(),
            });
        }
        let known = list.get(&exemption.prefix, &exemption.reference);
        if let Some(known) = known.filter(|known| !known.says_the_same_as(exemption)) {
            faults.push(Fault {
                field: "prefix",
                value: exemption.prefix.to_string(),
                message: format!(
                    "it has an exemption {} already, until {}",
                    known.reference, known.until
                ),
                fix: "renew that one, or remove it first".to_owned(),
            });
        }
        faults
    }

    /// Moves the ends of a reference.
    pub(super) fn renew_exemptions(
        &mut self,
        request: &RenewRequest,
        actor: &Actor,
    ) -> Result<Exempted, Refusal> {
        let until = Exemption::end(request.until.as_deref(), request.for_s, Instant::now())
            .map_err(|fault| Refusal::input("nothing was renewed", vec![of_request(fault, 0, 1)]))?;
        let prefix = request.prefix.as_deref().map(asked_prefix).transpose()?;
        self.renew_all(&request.reference, prefix.as_slice(), until, actor)
    }

    /// Moves the ends of a reference; no prefix: of all that it holds.
    pub(super) fn renew_all(
        &mut self,
        reference: &str,
        prefixes: &[IpNet],
        until: Instant,
        actor: &Actor,
    ) -> Result<Exempted, Refusal> {
        self.exemptions.readable()?;
        if until <= Instant::now() {
            return Err(Refusal::input(
                format!("{until} is over already: write a later end, or remove the exemption"),
                Vec::new(),
            ));
        }
        let found = self.found(Some(reference), prefixes)?;
        let mut list = self.exemptions.list.clone();
        let mut renewed = Vec::new();
        for exemption in found.iter().filter(|exemption| exemption.until != until) {
            let exemption = Exemption {
                until,
                ..Exemption::clone(exemption)
            };
            renewed.push(Arc::new(exemption.clone()));
            list.insert(exemption);
        }
        if renewed.is_empty() {
            return Ok(self.exempted(&[], None));
        }
        let generation = self.grant(list, &records("renew", &renewed)?, actor)?;
        Ok(self.exempted(&renewed, generation))
    }

    /// Takes away. The kernel comes first, the record of it second.
    pub(super) fn remove_exemptions(
        &mut self,
        query: &RemoveQuery,
        actor: &Actor,
    ) -> Result<Exempted, Refusal> {
        let prefix = query.prefix.as_deref().map(asked_prefix).transpose()?;
        if prefix.is_none() && query.reference.is_none() {
            return Err(Refusal::input("name a prefix, a reference, or both", Vec::new()));
        }
        self.remove_all(query.reference.as_deref(), prefix.as_slice(), actor)
    }

    /// Takes away those of a reference; no prefix: all that it holds.
    pub(super) fn remove_all(
        &mut self,
        reference: Option<&str>,
        prefixes: &[IpNet],
        actor: &Actor,
    ) -> Result<Exempted, Refusal> {
        self.exemptions.readable()?;
        let removed = self.found(reference, prefixes)?;
        let mut list = self.exemptions.list.clone();
        list.remove_if(|exemption| is_meant(exemption, reference, prefixes));
        let generation = self.withdraw(list, &records("remove", &removed)?, actor)?;
        Ok(self.exempted(&removed, generation))
    }

    /// Those that are meant; none is a refusal, also if it is so for one prefix of several.
    fn found(&self, reference: Option<&str>, prefixes: &[IpNet]) -> Result<Vec<Arc<Exemption>>, Refusal> {
        let list = self.exemptions.list.iter();
        let found: Vec<_> = list
            .filter(|exemption| is_meant(exemption, reference, prefixes))
            .cloned()
            .collect();
        let has_none = |prefix: &&IpNet| !found.iter().any(|exemption| exemption.prefix == **prefix);
        let missing = prefixes.iter().find(has_none);
        if !found.is_empty() && missing.is_none() {
            return Ok(found);
        }
        let of_prefix = missing.map_or_else(String::new, |prefix| format!(" of {prefix}"));
        let with = reference.map_or_else(String::new, |reference| {
            format!(" with the reference {reference}")
        });
        Err(Refusal::with_status(
            404,
            format!("no exemption{of_prefix}{with}: `cordon exempt list` shows which there are"),
        ))
    }

    fn exempted(&self, changed: &[Arc<Exemption>], generation: Option<u32>) -> Exempted {
        Exempted {
            exemptions: changed.iter().map(|exemption| exemption.written()).collect(),
            n_all: self.exemptions.list.len(),
            generation,
            problems: self.problems.texts(),
        }
    }

    pub(super) fn add_exemptions_to(&self, status: &mut Status) {
        let soon = Instant(Instant::now().0.saturating_add(EXPIRING_S));
        let list = &self.exemptions.list;
        status.n_exemptions = list.len();
        status.n_exemptions_expiring = list.iter().filter(|exemption| exemption.until <= soon).count();
    }

    /// When the first of them ends.
    pub(in crate::daemon::engine) fn first_exemption_end(&self) -> Option<Instant> {
        self.exemptions.list.first_end()
    }

    /// The run-time exemptions that cover an address now, and what they lift together: ends and lift keys.
    pub(super) fn exemptions_of(
        &self,
        address: std::net::IpAddr,
        now: Instant,
    ) -> (Vec<api::ExplainedExemption>, Vec<(Instant, u8)>) {
        let covering: Vec<&Exemption> = self.exemptions.list.covering(address).collect();
        let steps = crate::exemption::steps_at(covering.iter().copied(), now);
        let steps = steps
            .into_iter()
            .map(|step| (step.until, self.told_key(&step.lift).0))
            .collect();
        let live = covering.into_iter().filter(|exemption| now < exemption.until);
        (live.map(explained).collect(), steps)
    }
}

fn explained(exemption: &Exemption) -> api::ExplainedExemption {
    api::ExplainedExemption {
        prefix: exemption.prefix.to_string(),
        reference: exemption.reference.clone(),
        reason: exemption.reason.clone(),
        until: exemption.until.to_string(),
        lifts: exemption.lift().to_string(),
    }
}

fn is_meant(exemption: &Exemption, reference: Option<&str>, prefixes: &[IpNet]) -> bool {
    reference.is_none_or(|reference| reference == exemption.reference)
        && (prefixes.is_empty() || prefixes.contains(&exemption.prefix))
}

fn asked_prefix(written: &str) -> Result<IpNet, Refusal> {
    parse_prefix(written).map_err(|(message, fix)| {
        let place = Place::file("prefix");
        let diagnostic = Diagnostic::error(place, written, message, fix);
        Refusal::input("the prefix cannot be read", vec![diagnostic])
    })
}

/// A fault of the exemption at an index of a request for so many.
fn of_request(fault: Fault, idx: usize, n_asked: usize) -> Diagnostic {
    let place = match n_asked {
        1 => fault.field.to_owned(),
        _ => format!("exemptions[{idx}].{}", fault.field),
    };
    Diagnostic::error(Place::file(&place), fault.value, fault.message, fault.fix)
}

fn refuse_if(diagnostics: &[Diagnostic], what: &str) -> Result<(), Refusal> {
    if diagnostics.is_empty() {
        return Ok(());
    }
    let n_told = diagnostics.len().min(crate::policy::limits::MAX_REMARKS);
    let n = crate::daemon::settings::count(diagnostics.len(), "error");
    Err(Refusal::input(
        format!("{what}: {n}"),
        diagnostics[..n_told].to_vec(),
    ))
}

fn refuse_too_many(list: &List) -> Result<(), Refusal> {
    if list.len() <= MAX_EXEMPTIONS {
        return Ok(());
    }
    Err(Refusal::conflict(format!(
        "{} exemptions: a host has at most {MAX_EXEMPTIONS}; remove some first",
        list.len()
    )))
}

/// What is recorded of a change: each exemption, or, if there are many, one record with a digest of them all.
fn records(change: &str, exemptions: &[Arc<Exemption>]) -> Result<Vec<Event>, Refusal> {
    if exemptions.len() <= MAX_RECORDS {
        let record = |exemption: &Arc<Exemption>| Event::Exempt {
            change: change.to_owned(),
            reference: exemption.reference.clone(),
            prefix: Some(exemption.prefix.to_string()),
            n: 1,
            until: Some(exemption.until.to_string()),
            reason: exemption.reason.clone(),
            approver: exemption.approver.clone(),
        };
        return Ok(exemptions.iter().map(record).collect());
    }
    let mut list = List::default();
    for exemption in exemptions {
        list.insert(Exemption::clone(exemption));
    }
    Ok(vec![Event::Exempt {
        change: change.to_owned(),
        reference: digest_of(&list)?,
        prefix: None,
        n: exemptions.len(),
        until: None,
        reason: "several".to_owned(),
        approver: "several".to_owned(),
    }])
}

/// SHA-256 of a list's file.
fn digest_of(list: &List) -> Result<String, Refusal> {
    let text = crate::exemption::file::write(list).map_err(Refusal::failed)?;
    let hex = Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    Ok(format!("sha256 {hex}"))
}

/// What the kernel is to be told of a list now.
fn plan_of(list: &List) -> Plan {
    Plan::new(list, Instant::now())
}
