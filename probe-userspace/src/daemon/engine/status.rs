//! The status: what the engine knows, in the API's words.

use probe_common::{ABI_VERSION, Counter, FOREVER};

use super::{Engine, apply::policy_ref};
use crate::{
    compile::{Image, Override},
    daemon::{
        api::{
            BreakGlassState, CounterRow, Database, EthertypeRow, EventCounts, Generation, Health, Interface,
            MAX_OVERRIDES_LISTED, OrderRef, OverrideRow, Status,
        },
        sentence::sentence,
    },
    dataplane::{self, Attached, GenerationInfo, Mode},
    geo::GeoSource,
    instant::Instant,
    policy::halted_service,
};

const SECONDS_PER_DAY: u64 = 86_400;

impl Engine {
    pub(super) fn status(&self) -> Status {
        let mut status = self.status_without_counters();
        match self.dataplane.counters() {
            Ok(rows) => status.counters = rows.into_iter().map(counter).collect(),
            Err(error) => {
                status.problems.push(format!("cannot read the counters: {error}"));
                status.state = Health::Unknown;
                status.sentence = sentence(&status);
            }
        }
        status
    }

    /// Reading the counters takes most of the time.
    pub(super) fn status_without_counters(&self) -> Status {
        let mut status = Status::starting();
        status.busy = None;
        status.problems = self.problems.texts();
        status.last_publish = self.last_publish.clone();
        status.reverted = self.host_state.reverted.is_some();
        status.problems.extend(self.host_state.reverted_text());
        status.sources = self.source_rows();
        status.gaps = self.gaps();
        status.is_stored = self.store.has_policy();
        status.halted_services = self.halted_services();
        status.lifts = self.lifts();
        status.managed = self.is_managed();
        let broken = self.host_state.break_glass.as_ref();
        status.break_glass = broken.map(|break_glass| BreakGlassState {
            reason: break_glass.reason.clone(),
            actor: break_glass.actor.clone(),
            until: break_glass.until,
        });
        // What is in force counts, not what was read last and may have been refused.
        let in_force = self.in_force.as_ref().map(|in_force| &in_force.image.location);
        if let Some(location) = in_force.or(self.location.as_ref()) {
            status.database = Some(database(&location.source, Instant::now()));
        }
        self.add_policy(&mut status);
        self.add_exemptions_to(&mut status);
        if let Err(error) = self.add_kernel(&mut status) {
            status
                .problems
                .push(format!("cannot read the kernel's state: {error}"));
            status.state = Health::Unknown;
        }
        status.sentence = sentence(&status);
        status
    }

    fn add_policy(&self, status: &mut Status) {
        let Some(in_force) = self.in_force.as_ref().filter(|in_force| !in_force.is_baseline) else {
            return;
        };
        let image = &in_force.image;
        status.policy = Some(policy_ref(image));
        status.bundle.clone_from(&in_force.bundle);
        status.replies = image.replies;
        status.orders = image
            .orders
            .iter()
            .filter(|order| halted_service(&order.id).is_none())
            .map(|order| OrderRef {
                id: order.id.clone(),
                authority: order.authority.clone(),
            })
            .collect();
        status.n_overrides = image.overrides.len();
        status.overrides = image
            .overrides
            .iter()
            .take(MAX_OVERRIDES_LISTED)
            .map(|entry| override_row(image, entry))
            .collect();
    }

    fn add_kernel(&self, status: &mut Status) -> Result<(), crate::dataplane::DataplaneError> {
        let state = self.dataplane.state()?;
        status.generation = state.active.as_ref().map(generation);
        status.both_directions = state.active.as_ref().is_some_and(|active| active.is_both);
        status.confirm_left_s = state.confirm_left_s;
        status.probing = self
            .auto_confirm
            .as_ref()
            .filter(|_| state.confirm_left_s.is_some())
            .map(super::probe::AutoConfirm::to_api);
        status.halted = self.halted(&state);
        let attached = self.dataplane.interfaces()?;
        // The pin of an interface that is gone says nothing any more.
        let present = attached.iter().filter(|attached| attached.ifindex != 0);
        status.interfaces = present.map(interface).collect();
        let events = self.dataplane.event_counters()?;
        status.events = EventCounts {
            is_reporting: self.is_reporting(),
            written: events.written,
            lost: events.lost,
            capped: events.capped,
        };
        status.redirect_errors = self.dataplane.redirect_errors()?;
        status.ethertypes = self.dataplane.ethertypes()?.into_iter().map(ethertype).collect();
        let is_baseline = self
            .in_force
            .as_ref()
            .is_some_and(|in_force| in_force.is_baseline);
        status.state = if state.active.is_none() || is_baseline || status.interfaces.is_empty() {
            Health::NotEnforcing
        } else if status.problems.is_empty() && self.in_force.is_some() {
            Health::Ok
        } else {
            Health::Degraded
        };
        Ok(())
    }
}

impl Status {
    /// Before anything is known.
    pub fn starting() -> Self {
        Self {
            state: Health::Unknown,
            sentence: "starting".to_owned(),
            busy: Some("starting".to_owned()),
            policy: None,
            bundle: None,
            managed: false,
            break_glass: None,
            generation: None,
            confirm_left_s: None,
            probing: None,
            reverted: false,
            is_stored: false,
            halted: None,
            halted_services: Vec::new(),
            lifts: Vec::new(),
            database: None,
            sources: Vec::new(),
            interfaces: Vec::new(),
            gaps: crate::daemon::api::Gaps::default(),
            orders: Vec::new(),
            overrides: Vec::new(),
            n_overrides: 0,
            n_exemptions: 0,
            n_exemptions_expiring: 0,
            problems: Vec::new(),
            counters: Vec::new(),
            events: EventCounts::default(),
            redirect_errors: 0,
            ethertypes: Vec::new(),
            replies: false,
            both_directions: false,
            last_publish: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi_version: ABI_VERSION,
        }
    }
}

/// The instant as the API writes it.
pub(super) fn instant_text(instant: Instant) -> String {
    instant.to_string()
}

fn database(source: &GeoSource, now: Instant) -> Database {
    let built = u32::try_from(source.built_s).unwrap_or(u32::MAX);
    Database {
        origin: source.origin.clone(),
        database_type: source.database_type.clone(),
        built: instant_text(Instant(built)),
        age_days: u64::from(now.0).saturating_sub(source.built_s) / SECONDS_PER_DAY,
        sha256: source.sha256.clone(),
        attribution: source.attribution.clone(),
        n_networks_v4: source.n_networks_v4,
        n_networks_v6: source.n_networks_v6,
    }
}

fn generation(info: &GenerationInfo) -> Generation {
    Generation {
        number: info.number,
        slot: info.slot,
        published: instant_text(info.published),
        image_digest: info.image_digest.clone(),
        location_digest: info.location_digest.clone(),
        engine_v4: info.engines[0].to_owned(),
        engine_v6: info.engines[1].to_owned(),
        lpm_prefixes: info.lpm_prefixes,
    }
}

fn interface(attached: &Attached) -> Interface {
    Interface {
        ifname: attached.ifname.clone(),
        ifindex: attached.ifindex,
        mode: match attached.mode {
            Mode::Native => "native".to_owned(),
            Mode::Skb => "skb".to_owned(),
        },
        egress: attached.egress.map(str::to_owned),
    }
}

fn counter(row: dataplane::CounterRow) -> CounterRow {
    CounterRow {
        reason: row.reason.to_owned(),
        class: row.class,
        packets: row.packets,
        bytes: row.bytes,
    }
}

/// Type 0 stands for all types that found no place of their own.
fn ethertype((ethertype, counter): (u16, Counter)) -> EthertypeRow {
    EthertypeRow {
        ethertype: match ethertype {
            0 => "other".to_owned(),
            ethertype => format!("{ethertype:#06x}"),
        },
        packets: counter.packets,
        bytes: counter.bytes,
    }
}

fn override_row(image: &Image, entry: &Override) -> OverrideRow {
    let profile = image.profiles.get(usize::from(entry.value.profile));
    OverrideRow {
        prefix: entry.prefix.to_string(),
        profile: profile.map_or_else(|| entry.value.profile.to_string(), |profile| profile.name.clone()),
        until: (entry.value.until_s != FOREVER).then(|| instant_text(Instant(entry.value.until_s))),
        why: entry.why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_ages_in_whole_days() {
        let source = GeoSource {
            origin: "embedded".to_owned(),
            database_type: "Test".to_owned(),
            built_s: 1_780_000_000,
            sha256: String::new(),
            n_networks_v4: 1,
            n_networks_v6: 2,
            attribution: None,
        };
        let age = |now| database(&source, Instant(now)).age_days;
        assert_eq!(age(1_780_000_000 + 86_399), 0);
        assert_eq!(age(1_780_000_000 + 86_400), 1);
        assert_eq!(age(1_700_000_000), 0, "a clock that is wrong");
    }
}
