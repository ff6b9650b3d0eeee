//! The engine: one thread that owns the dataplane and everything that must agree with it.
//!
//! It takes one event at a time, so applies, halts and ticks are in one order by construction. Compiling and
//! publishing happen here too; while they run, the status is answered from a snapshot.

mod amend;
mod apply;
pub(super) mod audit;
mod baseline;
mod candidate;
mod clock;
mod confirm;
mod counters;
mod coverage;
mod database;
mod directive;
mod endpoints;
mod event;
mod exempt;
mod explain;
mod figures;
mod halt;
mod history;
mod incoming;
mod interfaces;
mod lift;
mod locate;
mod managed;
mod memory;
mod network;
mod probe;
mod push;
mod ready;
mod restore;
mod revert;
mod start;
mod status;
mod watchers;

pub use self::{
    event::{Event, Handle, Reply},
    exempt::ExemptEvent,
    push::Upload,
    restore::{Restored, restore},
};

use std::{fs::File, sync::Arc, thread};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Refusal,
    amendments::StoredAmendments,
    api::{BundleRef, LastPublish, SourceRow, Status},
    clock::ClockWatch,
    events::{Hub, Naming},
    history::History,
    incoming::Incoming,
    kept::Kept,
    marks::Marks,
    metrics::{Figures, Pages, PublishDurations},
    notify::Notifier,
    probes::Counts,
    problems::{Problems, Topic},
    settings::Settings,
    store::{HostState, Store, StoredPolicy},
    upload::Held,
};
use crate::{
    audit::Journal,
    bundle::{DatabaseNeed, trust::Trust},
    compile::Image,
    dataplane::{self, Dataplane, EventRing},
    geo::Location,
    link,
    policy::Policy,
};

/// How often leases are read, and interfaces in case that netlink told of no change.
const LOOK_INTERVAL_S: u64 = 30;

/// A policy that the kernel enforces.
#[derive(Clone, Debug)]
struct InForce {
    image: Arc<Image>,
    /// What it says. Kept, because a service must be halted also when the disk does not give it any more.
    policy: Arc<Policy>,
    /// What it was compiled from; `None` for the baseline.
    source: Option<Arc<StoredPolicy>>,
    /// Not a policy of the operator's: [`super::build::PASS_EVERYTHING`].
    is_baseline: bool,
    /// The bundle that brought it.
    bundle: Option<BundleRef>,
    /// What it asks of the geo data; `None`: nothing.
    need: Option<DatabaseNeed>,
    /// What was lifted and halted when its image was compiled.
    amendments: StoredAmendments,
}

struct Engine {
    settings: Settings,
    store: Store,
    dataplane: Dataplane,
    snapshot: watch::Sender<Arc<Status>>,
    figures: watch::Sender<Arc<Figures>>,
    publishes: PublishDurations,
    location: Option<Arc<Location>>,
    in_force: Option<InForce>,
    /// While a policy waits for confirmation: what the kernel reverts to.
    fallback: Option<InForce>,
    /// What was in force before, if its generation may still be loaded.
    previous: Option<InForce>,
    host_state: HostState,
    exemptions: exempt::Exemptions,
    /// How far this host has come.
    marks: Marks,
    kept: Kept,
    history: History,
    /// The trusted keys, as they were read last.
    trust: Result<Arc<Trust>, Refusal>,
    incoming: Incoming,
    /// The tick from which on the incoming directory is looked at again.
    incoming_after: u64,
    problems: Problems,
    network: network::Network,
    endpoints: endpoints::Endpoints,
    attachments: interfaces::Attachments,
    coverage: coverage::Coverage,
    /// Seconds since the start, as far as there was nothing else to do.
    n_ticks: u64,
    naming: watch::Sender<Arc<Naming>>,
    notifier: Notifier,
    /// Keeps other daemons off the state directory.
    _lock: File,
    last_publish: Option<LastPublish>,
    clock: ClockWatch,
    journal: Journal,
    kept_counters: counters::Kept,
    watched: database::Watched,
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
    let (figures, told) = watch::channel(Arc::new(Figures::starting()));
    let (naming, names) = watch::channel(Arc::new(Naming::default()));
    let (opened, is_open) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            let engine = Engine::open(settings, snapshot, figures, naming);
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
            pages: Pages::new(told),
        },
        ring,
        thread,
    ))
}

impl Engine {
    fn open(
        settings: Settings,
        snapshot: watch::Sender<Arc<Status>>,
        figures: watch::Sender<Arc<Figures>>,
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
            engine: settings.host.engine,
            sizes: settings.host.sizes,
            vlan_filter: network.has_vlan_filter,
        })
        .with_context(|| format!("cannot open the dataplane in {}", settings.pin_dir.display()))?;
        let (marks, marks_problem) = Marks::read(&store);
        let (history, history_problem) = History::read(&store);
        let mut problems = Problems::default();
        if let Some(text) = marks_problem {
            problems.set(
                Topic::Marks,
                format!("which revision this host has is known from one copy only: {text}"),
            );
        }
        if let Some(text) = history_problem {
            problems.set(Topic::History, format!("the history is not complete: {text}"));
        }
        Ok(Self {
            journal: audit::journal(&settings),
            kept_counters: counters::Kept::default(),
            kept: Kept::new(&store),
            history,
            marks,
            trust: Ok(Arc::new(Trust::default())),
            incoming: Incoming::new(&settings.state_dir),
            incoming_after: 0,
            store,
            settings,
            dataplane,
            snapshot,
            figures,
            publishes: PublishDurations::default(),
            location: None,
            in_force: None,
            fallback: None,
            previous: None,
            host_state: HostState::default(),
            exemptions: exempt::Exemptions::default(),
            problems,
            network,
            endpoints: endpoints::Endpoints::default(),
            attachments: interfaces::Attachments::default(),
            coverage: coverage::Coverage::default(),
            n_ticks: 0,
            naming,
            notifier: Notifier::from_environment(),
            _lock: lock,
            last_publish: None,
            clock: ClockWatch::default(),
            watched: database::Watched::default(),
            sources: Vec::new(),
            auto_confirm: None,
            samples: Vec::new(),
        })
    }

    fn run(&mut self, mut inbox: mpsc::Receiver<Event>) {
        self.show(None);
        self.notify();
        self.tell_watchers();
        while let Some(event) = inbox.blocking_recv() {
            // Before anything is concluded from a word that somebody else wrote.
            if self.dataplane.is_state_changed() {
                self.inspect();
            }
            self.settle();
            let is_question = matches!(
                event,
                Event::Status(_)
                    | Event::Explain(..)
                    | Event::Locate(..)
                    | Event::History(_)
                    | Event::Exempt(_)
            );
            match event {
                Event::Tick => self.tick(),
                Event::Status(reply) => answer(reply, self.status()),
                Event::Apply(request, actor, reply) => {
                    self.show(Some("publishing"));
                    let result = self.apply(&request.value, &actor);
                    self.note_refusal("apply", &request.value.file, &actor, &result);
                    drop(request);
                    self.show(None);
                    answer(reply, result);
                }
                Event::Confirm(actor, reply) => {
                    let result = self.confirm(&actor);
                    self.note_refusal("confirm", "", &actor, &result);
                    answer(reply, result);
                }
                Event::Push(upload, actor, reply) => {
                    self.show(Some("taking a bundle"));
                    let Held { value, room } = *upload;
                    let file = value.query.file.clone();
                    let result = self.push(value, &actor);
                    drop(room);
                    // What a bundle is rejected for is on record with those who signed it.
                    if result.as_ref().is_err_and(|refusal| refusal.reason.is_none()) {
                        self.note_refusal("push", &file, &actor, &result);
                    }
                    self.show(None);
                    answer(reply, result);
                }
                Event::Rollback(request, actor, reply) => {
                    self.show(Some("rolling back"));
                    let result = self.rollback(&request, &actor);
                    self.note_refusal("rollback", "", &actor, &result);
                    self.show(None);
                    answer(reply, result);
                }
                Event::Denied { asked, why, actor } => self.note_denied(asked, why, &actor),
                Event::History(reply) => answer(reply, Ok(self.history())),
                Event::Unmanage(request, actor, reply) => {
                    let result = self.unmanage(&request, &actor);
                    self.note_refusal("unmanage", "", &actor, &result);
                    answer(reply, result);
                }
                Event::Halt(request, actor, reply) => {
                    let result = self.halt(&request, &actor);
                    self.note_refusal("halt", "", &actor, &result);
                    answer(reply, result);
                }
                Event::Resume(request, actor, reply) => {
                    let result = self.resume(&request, &actor);
                    self.note_refusal("resume", "", &actor, &result);
                    answer(reply, result);
                }
                Event::Lift(request, actor, reply) => {
                    let result = self.lift(&request, &actor);
                    self.note_refusal("lift", "", &actor, &result);
                    answer(reply, result);
                }
                Event::Unlift(request, actor, reply) => {
                    let result = self.unlift(&request, &actor);
                    self.note_refusal("unlift", "", &actor, &result);
                    answer(reply, result);
                }
                Event::Explain(query, reply) => answer(reply, self.explain(&query)),
                Event::Exempt(event) => self.exempt(event),
                Event::Locate(query, reply) => answer(reply, self.locate(&query)),
                Event::Candidate(candidate, reply) => {
                    self.show(Some("taking a bundle"));
                    let result = self.take_candidate(candidate);
                    self.show(None);
                    answer(reply, result);
                }
                Event::Source(idx, row) => self.note_source(idx, row),
                Event::Network => {
                    self.look_at_network();
                    self.attach_missing();
                }
                Event::EventsFailed(text) => self.problems.set(Topic::Events, text),
                Event::Problem(topic, Some(text)) => self.problems.set(topic, text),
                Event::Problem(topic, None) => self.problems.clear(&topic),
                Event::Shutdown => {
                    self.notifier.stopping();
                    return self.stop_audit();
                }
            }
            self.tell_watchers();
            if !is_question {
                self.tell_metrics(None);
            }
        }
    }

    fn tick(&mut self) {
        self.look_at_clock();
        self.forget_ended_halt();
        self.look_at_exemptions();
        self.note_ended_amendments();
        self.n_ticks += 1;
        let is_due = self.n_ticks.is_multiple_of(LOOK_INTERVAL_S);
        if is_due {
            self.look_at_leases();
            self.look_at_age();
            self.sample_counters();
            self.note_keys();
        }
        self.tick_endpoints(is_due);
        self.look_at_probes();
        self.look_at_database();
        if self.problems.has(&Topic::Failsafe) {
            self.set_failsafe();
        }
        let is_unsettled = self.problems.has(&Topic::Network) || self.problems.has(&Topic::Targets);
        // Netlink may have lost what it had to tell.
        if is_due || is_unsettled || link::snapshot().is_ok_and(|links| links != self.network.links) {
            self.look_at_network();
        }
        self.inspect();
        self.attach_missing();
        self.look_at_trust();
        self.look_at_expiry();
        self.save_marks();
        self.look_at_incoming();
        let result = self.dataplane.tidy();
        self.problems
            .note(Topic::Retired, "cannot free retired generations", result);
        self.tick_audit();
        self.notify();
    }

    fn set_failsafe(&mut self) {
        let result = self.dataplane.set_failsafe(&self.failsafe_prefixes());
        self.problems
            .note(Topic::Failsafe, "cannot set the failsafe prefixes", result);
    }

    fn save_host_state(&mut self) {
        let result = self.store.set_host_state(&self.host_state);
        self.problems
            .note(Topic::StoredState, "cannot store the state", result);
    }

    /// Replaces the snapshot.
    fn show(&mut self, busy: Option<&str>) {
        self.notifier.busy(busy.is_some());
        let status = Status {
            busy: busy.map(str::to_owned),
            ..self.status()
        };
        if self.notifier.is_ready() {
            self.notifier.status(&status.sentence);
        }
        self.snapshot.send_replace(Arc::new(status));
        self.tell_metrics(busy);
    }
}

fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        tracing::debug!("the caller is gone");
    }
}
