//! The engine: one thread that owns the dataplane and everything that must agree with it.
//!
//! It takes one event at a time, so applies, halts and ticks are in one order by construction. Compiling and
//! publishing happen here too; while they run, the status is answered from a snapshot.

mod apply;
mod audit;
mod candidate;
mod database;
mod explain;
mod halt;
mod interfaces;
mod locate;
mod network;
mod probe;
mod start;
mod status;
mod watchers;

use std::{fs::File, sync::Arc, thread};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Refusal,
    api::{
        Applied, ApplyRequest, Confirmed, ExplainQuery, Explained, HaltReply, HaltRequest, LastPublish,
        LocateQuery, Located, ResumeReply, SourceRow, Status,
    },
    build,
    clock::{ClockWatch, Step, wall_offset_ns},
    events::{Hub, Naming},
    fetch::{Candidate, Taken},
    probes::Counts,
    problems::{Problems, Topic},
    settings::Settings,
    store::{HostState, Store},
};
use crate::{
    audit::Actor,
    bundle::DatabaseNeed,
    compile::Image,
    dataplane::{self, Dataplane, EventRing},
    geo::Location,
};

/// How often leases are read, and interfaces in case that netlink told of no change.
const LOOK_INTERVAL_S: u64 = 30;

/// Everything that can happen to the engine.
#[derive(Debug)]
pub enum Event {
    /// A second has passed: look at the clock, the confirm deadline and the interfaces.
    Tick,
    /// How does the host stand?
    Status(oneshot::Sender<Status>),
    /// Publish a policy.
    Apply(ApplyRequest, Actor, Reply<Applied>),
    /// Keep the policy that waits.
    Confirm(Actor, Reply<Confirmed>),
    /// Drop the world.
    Halt(HaltRequest, Actor, Reply<HaltReply>),
    /// Back to the policy.
    Resume(Actor, Reply<ResumeReply>),
    /// Judge a packet.
    Explain(ExplainQuery, Reply<Explained>),
    /// The decision on an address.
    Locate(LocateQuery, Reply<Located>),
    /// A bundle was pulled.
    Candidate(Candidate, Reply<Taken>),
    /// The source of this number was looked at.
    Source(usize, SourceRow),
    /// An interface or an address has changed.
    Network,
    /// Events cannot be read any more.
    EventsFailed(String),
    /// Stop; enforcement stays on.
    Shutdown,
}

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// The way to the engine.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Takes the events.
    pub events: mpsc::Sender<Event>,
    /// The last snapshot of the status; `busy` says whether the engine would answer now.
    pub snapshot: watch::Receiver<Arc<Status>>,
    /// Sampled verdicts.
    pub hub: Hub,
}

/// A policy that the kernel enforces.
#[derive(Clone, Debug)]
struct InForce {
    image: Arc<Image>,
    /// Not a policy of the operator's: [`super::build::PASS_EVERYTHING`].
    is_baseline: bool,
}

struct Engine {
    settings: Settings,
    store: Store,
    dataplane: Dataplane,
    snapshot: watch::Sender<Arc<Status>>,
    location: Option<Arc<Location>>,
    in_force: Option<InForce>,
    /// While a policy waits for confirmation: what the kernel reverts to.
    fallback: Option<InForce>,
    host_state: HostState,
    problems: Problems,
    network: network::Network,
    attachments: interfaces::Attachments,
    /// Seconds since the start, as far as there was nothing else to do.
    n_ticks: u64,
    naming: watch::Sender<Arc<Naming>>,
    /// Keeps other daemons off the state directory.
    _lock: File,
    last_publish: Option<LastPublish>,
    clock: ClockWatch,
    watched: database::Watched,
    /// What the policy in force asks of the database; `None`: nothing.
    database_need: Option<DatabaseNeed>,
    sources: Vec<SourceRow>,
    auto_confirm: Option<probe::AutoConfirm>,
    /// Counters of half a minute ago and before, oldest first.
    samples: Vec<Counts>,
}

/// Opens the dataplane and starts the thread. Fails only where nothing could be done at all; whatever is pinned
/// is then left as it is. Gives the event ring, if there is one, to be emptied by [`Hub::pump`].
pub fn spawn(settings: Settings) -> anyhow::Result<(Handle, Option<EventRing>, thread::JoinHandle<()>)> {
    let (events, inbox) = mpsc::channel(64);
    let (snapshot, snapshots) = watch::channel(Arc::new(Status::starting()));
    let (naming, names) = watch::channel(Arc::new(Naming::default()));
    let (opened, is_open) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            let engine = Engine::open(settings, snapshot, naming);
            match engine {
                Ok(mut engine) => {
                    if opened.send(Ok(engine.open_events())).is_ok() {
                        engine.start();
                        engine.run(inbox);
                    }
                }
                // The receiver waits for it just below; if it is gone, so is the process.
                Err(error) => drop(opened.send(Err(error))),
            }
        })
        .context("cannot start the engine's thread")?;
    let ring = is_open.blocking_recv().context("the engine's thread died")??;
    Ok((
        Handle {
            events,
            snapshot: snapshots,
            hub: Hub::new(names),
        },
        ring,
        thread,
    ))
}

impl Engine {
    fn open(
        settings: Settings,
        snapshot: watch::Sender<Arc<Status>>,
        naming: watch::Sender<Arc<Naming>>,
    ) -> anyhow::Result<Self> {
        let store = Store::new(&settings.state_dir);
        let lock = store.lock()?;
        let interfaces = settings.host.interfaces.iter();
        let network = network::Network::new(interfaces.map(|name| name.value.as_str()));
        let dataplane = Dataplane::open(&dataplane::Settings {
            pin_dir: Some(settings.pin_dir.clone()),
            no_generation_pass: settings.host.no_generation_pass,
            egress: settings.host.egress,
            sizes: settings.host.sizes,
            vlan_filter: network.has_vlan_filter,
        })
        .with_context(|| format!("cannot open the dataplane in {}", settings.pin_dir.display()))?;
        Ok(Self {
            store,
            settings,
            dataplane,
            snapshot,
            location: None,
            in_force: None,
            fallback: None,
            host_state: HostState::default(),
            problems: Problems::default(),
            network,
            attachments: interfaces::Attachments::default(),
            n_ticks: 0,
            naming,
            _lock: lock,
            last_publish: None,
            clock: ClockWatch::default(),
            watched: database::Watched::default(),
            database_need: None,
            sources: Vec::new(),
            auto_confirm: None,
            samples: Vec::new(),
        })
    }

    fn run(&mut self, mut inbox: mpsc::Receiver<Event>) {
        self.show(None);
        self.tell_watchers();
        while let Some(event) = inbox.blocking_recv() {
            self.settle();
            match event {
                Event::Tick => self.tick(),
                Event::Status(reply) => answer(reply, self.status()),
                Event::Apply(request, actor, reply) => {
                    self.show(Some("publishing"));
                    let result = self.apply(&request, &actor);
                    log_refusal("apply", &actor, &result);
                    self.show(None);
                    answer(reply, result);
                }
                Event::Confirm(actor, reply) => {
                    let result = self.confirm(&actor);
                    log_refusal("confirm", &actor, &result);
                    answer(reply, result);
                }
                Event::Halt(request, actor, reply) => {
                    let result = self.halt(&request, &actor);
                    log_refusal("halt", &actor, &result);
                    answer(reply, result);
                }
                Event::Resume(actor, reply) => {
                    let result = self.resume(&actor);
                    log_refusal("resume", &actor, &result);
                    answer(reply, result);
                }
                Event::Explain(query, reply) => answer(reply, self.explain(&query)),
                Event::Locate(query, reply) => answer(reply, self.locate(&query)),
                Event::Candidate(candidate, reply) => {
                    self.show(Some("taking a bundle"));
                    let result = self.take_candidate(candidate);
                    log_refusal("bundle", &Actor::Daemon, &result);
                    self.show(None);
                    answer(reply, result);
                }
                Event::Source(idx, row) => self.note_source(idx, row),
                Event::Network => {
                    self.look_at_network();
                    self.attach_missing();
                }
                Event::EventsFailed(text) => self.problems.set(Topic::Events, text),
                Event::Shutdown => return,
            }
            self.tell_watchers();
        }
    }

    fn tick(&mut self) {
        match self.clock.look(wall_offset_ns()) {
            Step::None => {}
            Step::Moved(by_ns) => {
                tracing::info!(by_ms = by_ns / 1_000_000, "the clock was set");
                self.sync_clock();
            }
            Step::Suspicious(by_ns) => {
                tracing::warn!(
                    by_s = by_ns / 1_000_000_000,
                    "the clock was set by more than a day"
                );
                self.sync_clock();
            }
        }
        self.forget_ended_halt();
        self.n_ticks += 1;
        let is_due = self.n_ticks.is_multiple_of(LOOK_INTERVAL_S);
        if is_due {
            self.look_at_leases();
            self.look_at_age();
            self.sample_counters();
        }
        self.look_at_probes();
        self.look_at_database();
        if self.problems.has(&Topic::Failsafe) {
            self.set_failsafe();
        }
        if is_due || self.problems.has(&Topic::Network) || self.problems.has(&Topic::Targets) {
            self.look_at_network();
        }
        self.attach_missing();
        let result = self.dataplane.tidy();
        self.problems
            .note(Topic::Retired, "cannot free retired generations", result);
    }

    fn sync_clock(&mut self) {
        // Read first: a step in between is then seen by the next look, and stored.
        let offset_ns = wall_offset_ns();
        let result = self.dataplane.sync_clock();
        if result.is_ok() {
            self.clock.stored(offset_ns);
        }
        self.problems
            .note(Topic::Clock, "cannot give the kernel the time", result);
    }

    fn set_failsafe(&mut self) {
        let result = self.dataplane.set_failsafe(&self.failsafe_prefixes());
        self.problems
            .note(Topic::Failsafe, "cannot set the failsafe prefixes", result);
    }

    /// Takes note of a revert that the kernel did by itself.
    fn settle(&mut self) {
        if !self.dataplane.state().is_ok_and(|state| state.reverted) {
            return;
        }
        let result = self.dataplane.revert();
        let done = self.problems.note(
            Topic::Confirm,
            "the kernel reverted, but tidying up failed",
            result,
        );
        if done.is_none() {
            return;
        }
        let lost = match self.in_force.take() {
            Some(lost) => lost.image.policy_name.clone(),
            None => self.name_of_pending().unwrap_or_default(),
        };
        tracing::warn!(policy = lost, "not confirmed in time: reverted");
        self.in_force = self.fallback.take();
        self.note_redirects();
        if let Some(in_force) = &self.in_force
            && let Err(error) = self.dataplane.recognise(&in_force.image)
        {
            tracing::warn!("cannot recognise the generation reverted to: {error}");
        }
        let dropped = self.store.drop_pending();
        self.problems
            .note(Topic::StoredPending, "cannot forget the reverted policy", dropped);
        self.host_state.reverted_why = self.probes_failed();
        self.host_state.reverted = Some(lost);
        self.save_host_state();
    }

    /// At start, the policy that was reverted meanwhile is known by its file only.
    fn name_of_pending(&self) -> Option<String> {
        let pending = self.store.pending().ok().flatten()?;
        let (policy, _) = build::parse_policy(&pending.file, &pending.text).ok()?;
        Some(policy.name)
    }

    fn save_host_state(&mut self) {
        let result = self.store.set_host_state(&self.host_state);
        self.problems
            .note(Topic::StoredState, "cannot store the state", result);
    }

    /// Replaces the snapshot.
    fn show(&mut self, busy: Option<&str>) {
        let status = Status {
            busy: busy.map(str::to_owned),
            ..self.status()
        };
        self.snapshot.send_replace(Arc::new(status));
    }
}

fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        tracing::debug!("the caller is gone");
    }
}

fn log_refusal<T>(verb: &str, actor: &Actor, result: &Result<T, Refusal>) {
    if let Err(refusal) = result {
        tracing::info!(%actor, "{verb} refused: {refusal}");
    }
}
