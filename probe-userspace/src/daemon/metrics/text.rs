//! The metrics as Prometheus text.
//!
//! No label holds an address, or text that somebody wrote. So the number of series is bounded: per direction that a reason
//! has, packets and bytes take one for each reason that is not counted by place (19), and one for each pair of a place
//! and a reason that is (23, and some 250 places), of which only those that counted anything exist. All others are a few
//! for each interface, map, ethertype (256 and `other`), source of bundles and topic of problems.
//!
//! Packets are not counted by address family nor, beside what the interface itself counts, by interface. The programs
//! count each packet once, in one array by reason and place; another dimension is another write for each packet, and the
//! path of a packet comes first. Which family and which interface the packets of a sample had, `cordon watch` shows.

use std::fmt::Error;

use probe_common::Reason;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text},
    registry::Registry,
};

use super::{
    action::{action, fate},
    figures::Figures,
    page::{Labels, Page},
    proc::{InterfaceTotals, Process},
};
use crate::{
    daemon::api::{Health, Status},
    dataplane::{CounterRow, FillLevel},
    instant::Instant,
};

/// All that a page shows, read already.
#[derive(Debug)]
pub struct Facts {
    /// What the engine told last.
    pub figures: std::sync::Arc<Figures>,
    /// Counters by reason and place.
    pub counters: Vec<CounterRow>,
    /// How full maps are.
    pub maps: Vec<FillLevel>,
    /// What the kernel counts by interface.
    pub interfaces: Vec<InterfaceTotals>,
    /// This process.
    pub process: Process,
    /// Now.
    pub now: Instant,
}

/// The page.
pub fn text(facts: Facts) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(facts));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Facts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let page = &mut Page(encoder);
        self.state(page)?;
        self.ages(page)?;
        self.orders(page)?;
        self.packets(page)?;
        self.interfaces(page)?;
        self.kernel(page)?;
        self.process(page)
    }
}

fn label(name: &'static str, value: impl ToString) -> Labels {
    vec![(name, value.to_string())]
}

impl Facts {
    fn status(&self) -> &Status {
        &self.figures.status
    }

    /// How the host stands.
    fn state(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let status = self.status();
        let build = vec![
            ("version", status.version.clone()),
            ("abi_version", status.abi_version.to_string()),
        ];
        page.gauges(
            "cordon_build_info",
            "Version of the daemon and of what it pins.",
            [(build, 1.0)],
        )?;
        let states = [
            ("ok", Health::Ok),
            ("degraded", Health::Degraded),
            ("not_enforcing", Health::NotEnforcing),
            ("unknown", Health::Unknown),
        ];
        let states = states.map(|(name, state)| (label("state", name), flag(status.checked() == state)));
        page.gauges(
            "cordon_state",
            "1 for the state that the host is in, as `status --check` has it.",
            states,
        )?;
        page.flag(
            "cordon_busy",
            "Whether the daemon is publishing, or starting.",
            status.busy.is_some(),
        )?;
        page.gauge(
            "cordon_figures_age_seconds",
            "Time since the engine told its state; it does so every second unless it is busy.",
            since(self.now, self.figures.as_of),
        )?;
        let problems = self.figures.problems.iter();
        let problems = problems.map(|(topic, n)| (label("topic", topic), *n as f64));
        page.gauges("cordon_problems", "Problems that exist now, by topic.", problems)?;
        page.flag(
            "cordon_halted",
            "Whether the host is halted: only failsafe prefixes and what goes with them pass.",
            status.halted.is_some(),
        )?;
        page.gauge(
            "cordon_halted_services",
            "Services that are halted.",
            status.halted_services.len() as f64,
        )?;
        page.gauge(
            "cordon_lifted_orders",
            "Orders that are lifted.",
            status.lifts.len() as f64,
        )?;
        page.flag(
            "cordon_break_glass",
            "Whether the policy in force is one that nobody signed, on a host that takes signed ones only.",
            status.break_glass.is_some(),
        )?;
        page.flag(
            "cordon_managed",
            "Whether the host takes signed policies only.",
            status.managed,
        )?;
        page.flag(
            "cordon_reverted",
            "Whether the last policy was not confirmed in time, so that the earlier one holds again.",
            status.reverted,
        )?;
        page.flag(
            "cordon_confirm_pending",
            "Whether a policy waits for confirmation.",
            status.confirm_left_s.is_some(),
        )?;
        let told_s = self.now.0.saturating_sub(self.figures.as_of.0);
        let left_s = status
            .confirm_left_s
            .map(|left_s| left_s.saturating_sub(u64::from(told_s)) as f64);
        page.gauge(
            "cordon_confirm_remaining_seconds",
            "Time until the kernel reverts it.",
            left_s,
        )
    }

    /// Numbers, ages and ends.
    fn ages(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let (figures, status) = (&self.figures, self.status());
        let generation = status
            .generation
            .as_ref()
            .map(|generation| f64::from(generation.number));
        page.gauge(
            "cordon_generation",
            "Number of the generation in force.",
            generation,
        )?;
        let bundle = status.bundle.as_ref();
        page.gauge(
            "cordon_revision",
            "Revision of the bundle in force.",
            bundle.map(|bundle| bundle.revision as f64),
        )?;
        page.gauge(
            "cordon_bundle_age_seconds",
            "Time since the bundle in force was issued.",
            bundle.map(|bundle| since(self.now, bundle.issued)),
        )?;
        page.gauge(
            "cordon_policy_age_seconds",
            "Time since the policy in force was accepted.",
            figures.policy_accepted.map(|accepted| since(self.now, accepted)),
        )?;
        page.gauge(
            "cordon_database_age_seconds",
            "Time since the GeoIP database in force was built.",
            figures
                .database_built_s
                .map(|built_s| f64::from(self.now.0) - built_s as f64),
        )?;
        let ends = figures.ends.iter();
        let ends = ends.map(|(what, end)| (label("what", what), -since(self.now, *end)));
        page.gauges(
            "cordon_expiry_seconds",
            "Time until the first of its kind ends; negative if it has ended.",
            ends,
        )?;
        let sources = status.sources.iter().enumerate();
        let sources = sources
            .filter_map(|(idx, source)| Some((label("source", idx + 1), source.age_s? as f64)))
            .collect::<Vec<_>>();
        page.gauges(
            "cordon_source_age_seconds",
            "Time since the source was last seen to be good, by its place in the host file.",
            sources,
        )?;
        let phases = figures.publishes.phases();
        page.histograms(
            "cordon_publish_duration_seconds",
            "What publishes of this process took, by phase.",
            "phase",
            phases,
        )
    }

    /// Overrides.
    fn orders(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let status = self.status();
        page.gauge(
            "cordon_orders",
            "Orders of the policy in force.",
            status.orders.len() as f64,
        )?;
        page.gauge(
            "cordon_policy_overrides",
            "Exemptions, allows and denies of the policy in force, by prefix.",
            status.n_overrides as f64,
        )?;
        page.gauge(
            "cordon_exemptions",
            "Exemptions made at run time.",
            status.n_exemptions as f64,
        )?;
        page.gauge(
            "cordon_exemptions_expiring",
            "Those of them that end within seven days.",
            status.n_exemptions_expiring as f64,
        )
    }

    /// What was judged.
    fn packets(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let passes = self.figures.no_generation_pass;
        let labels = |row: &CounterRow| {
            let mut reasons = Reason::ALL.iter().copied();
            let reason = reasons.find(|reason| reason.name() == row.reason);
            vec![
                ("direction", row.direction.to_owned()),
                ("reason", row.reason.to_owned()),
                (
                    "action",
                    reason
                        .map_or("", |reason| action(reason, passes).name())
                        .to_owned(),
                ),
                (
                    "fate",
                    reason.map_or("", |reason| fate(reason, passes)).to_owned(),
                ),
                ("country", row.class.clone().unwrap_or_default()),
            ]
        };
        let rows = self.counters.iter();
        page.counters(
            "cordon_packets",
            "Packets judged. The sum over direction=\"in\" is all that came in.",
            rows.clone().map(|row| (labels(row), row.packets)),
        )?;
        page.counters(
            "cordon_bytes",
            "Their bytes, from the Ethernet header on.",
            rows.map(|row| (labels(row), row.bytes)),
        )?;
        let status = self.status();
        page.counters(
            "cordon_not_ip_packets",
            "Frames that passed because they are not IP, by ethertype.",
            status
                .ethertypes
                .iter()
                .map(|row| (label("ethertype", &row.ethertype), row.packets)),
        )?;
        let events = [
            ("written", status.events.written),
            ("lost", status.events.lost),
            ("capped", status.events.capped),
        ];
        page.counters(
            "cordon_events",
            "Sampled verdicts: written to the ring, lost because it was full, suppressed by the policy's cap.",
            events.map(|(outcome, n)| (label("outcome", outcome), n)),
        )?;
        page.counters(
            "cordon_redirect_errors",
            "Frames that devices did not take from a redirect.",
            [(Labels::new(), status.redirect_errors)],
        )
    }

    /// Where packets are judged, and what the interfaces themselves count.
    fn interfaces(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let attached = &self.status().interfaces;
        page.gauge(
            "cordon_interfaces_configured",
            "Interfaces that the host file names.",
            self.figures.n_configured as f64,
        )?;
        page.gauges(
            "cordon_interface_attached",
            "Interfaces that packets are judged on.",
            attached.iter().map(|interface| {
                let mode = ("mode", interface.mode.clone());
                (vec![("interface", interface.ifname.clone()), mode], 1.0)
            }),
        )?;
        let judged = || {
            let totals = self.interfaces.iter();
            totals.filter(|totals| attached.iter().any(|interface| interface.ifname == totals.ifname))
        };
        let interface = |totals: &InterfaceTotals| label("interface", &totals.ifname);
        page.counters(
            "cordon_interface_received_packets",
            "Packets that a judged interface received, as its driver counts them: some leave out what native XDP drops.",
            judged().map(|totals| (interface(totals), totals.packets)),
        )?;
        page.counters(
            "cordon_interface_received_bytes",
            "Their bytes.",
            judged().map(|totals| (interface(totals), totals.bytes)),
        )?;
        page.counters(
            "cordon_interface_receive_drops",
            "Packets that a judged interface dropped on receive, as its driver counts them.",
            judged().map(|totals| (interface(totals), totals.drops)),
        )
    }

    /// Maps.
    fn kernel(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let entries = self.maps.iter();
        let entries = entries.filter_map(|level| Some((label("map", level.map), level.n_entries? as f64)));
        page.gauges(
            "cordon_map_entries",
            "Entries of maps. FLOWS and BUCKETS forget the oldest when full and are not counted.",
            entries.collect::<Vec<_>>(),
        )?;
        page.gauges(
            "cordon_map_capacity",
            "Most entries of maps. Those of a generation are made to fit.",
            self.maps
                .iter()
                .map(|level| (label("map", level.map), level.capacity as f64)),
        )
    }

    /// The daemon itself.
    fn process(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let bytes = self.process.resident_bytes.map(|bytes| bytes as f64);
        page.gauge("process_resident_memory_bytes", "Memory of the daemon.", bytes)?;
        let n_fds = self.process.n_fds.map(|n| n as f64);
        page.gauge("process_open_fds", "Open descriptors of the daemon.", n_fds)
    }
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn since(now: Instant, then: Instant) -> f64 {
    f64::from(now.0) - f64::from(then.0)
}
