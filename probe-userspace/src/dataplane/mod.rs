//! The kernel side's loader: the only caller of bpf(2).
//!
//! [`Dataplane`] owns the pinned state: entry program, links, shared maps, generations. Its methods are
//! synchronous and may take seconds (filling tables): the daemon calls them from one thread of its own.

mod adopt;
mod attach;
mod cost;
mod counters;
mod detach;
mod egress;
mod entry;
mod error;
mod events;
mod fill;
mod fill_level;
mod generation;
mod host_maps;
mod integrity;
#[cfg(feature = "log")]
mod kernel_log;
mod location;
mod needs;
mod object;
mod pins;
mod programs;
mod publish;
mod runtime;
mod sample;
mod shape;
mod shared;
mod spec;
mod status;
mod support;
mod sys;
mod verify;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use ipnet::IpNet;
use probe_common::{Counter, FOREVER, RuntimeValue, StateWord, Target, Verdict, limits::NO_SLOT, need};

use self::{
    counters::Totals,
    egress::Egress,
    events::Sums,
    generation::Generation,
    host_maps::{HostMaps, OwnAddresses},
    location::LastTables,
    object::Loaders,
    pins::{EntryVariant, Pins},
    runtime::RuntimeTries,
    shared::SharedMaps,
};
use crate::{
    compile::{Heading, Image},
    host::{EgressHook, EngineChoice, ModeChoice, TableSizes},
    instant::Instant,
};

pub use attach::remove_link;
pub use counters::CounterReader;
pub use detach::detach_all;
pub use error::DataplaneError;
pub use events::{EventCounters, EventRing};
pub use fill_level::{FillLevel, FillReader};
pub use host_maps::Endpoint;
pub use integrity::Change;
pub use object::{ENTRY, GENERATION, PEERS};
pub use publish::{Previous, Staged};
pub use status::{Attached, CounterRow, Detached, GenerationInfo, Mode, ProgramSize, Published, StateInfo};
pub use support::{KernelSupport, attached_to, is_on_bpffs, kernel_support};
pub use sys::{boot_ns, interface_index, is_clock_kept, unix_ns};

/// How to open the dataplane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory on a bpffs under which `v1/` is made; `None`: nothing is pinned, and everything ends with the
    /// process (`observe`, tests).
    pub pin_dir: Option<PathBuf>,
    /// What the entry program does with a packet if no generation can be called.
    pub no_generation_pass: bool,
    /// How leaving packets are seen.
    pub egress: EgressHook,
    /// How addresses are looked up.
    pub engine: EngineChoice,
    /// Sizes of shared tables; those that are pinned already keep theirs.
    pub sizes: TableSizes,
    /// Whether the host judges only some VLANs of an interface: then the entry program asks
    /// [`Dataplane::set_vlans`]'s table.
    pub vlan_filter: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pin_dir: None,
            no_generation_pass: false,
            egress: EgressHook::Auto,
            engine: EngineChoice::Auto,
            sizes: TableSizes::default(),
            vlan_filter: false,
        }
    }
}

/// The kernel side.
///
/// Fields drop in order: the pins' lock and private bpffs go last.
pub struct Dataplane {
    entry: Xdp,
    entry_load: Duration,
    variant: EntryVariant,
    egress: Egress,
    shared: SharedMaps,
    host: HostMaps,
    runtime: RuntimeTries,
    sums: Sums,
    loaders: Loaders,
    engine: EngineChoice,
    last_tables: Option<LastTables>,
    generations: Vec<(u8, Generation)>,
    /// The highest number given so far.
    last_number: u32,
    totals: Totals,
    holdings: integrity::Holdings,
    pins: Pins,
}

impl Dataplane {
    /// Opens the dataplane: adopts what is pinned (links, shared maps, generations), makes what is missing, and
    /// deletes what the state word does not name. Takes a file lock, so that two daemons never share a pin
    /// directory. An entry program of another version is replaced by this binary's own, link by link, without a gap.
    pub fn open(settings: &Settings) -> Result<Self, DataplaneError> {
        let pins = Pins::open(settings.pin_dir.as_deref())?;
        shared::check_pinned(&pins, &settings.sizes)?;
        let mut loaders = Loaders::new(&pins, settings.sizes);
        let variant = EntryVariant {
            no_generation_pass: settings.no_generation_pass,
            vlan_filter: settings.vlan_filter,
        };
        let (entry, entry_load) = entry::load(&mut loaders, &pins, variant)?;
        loaders.make_shared(&pins)?;
        let mut dataplane = Self {
            entry,
            entry_load,
            variant,
            egress: Egress::new(settings.egress),
            shared: SharedMaps::open(&pins)?,
            host: HostMaps::open(&pins)?,
            runtime: RuntimeTries::open(&pins)?,
            sums: Sums::open(&pins)?,
            loaders,
            engine: settings.engine,
            last_tables: None,
            generations: Vec::new(),
            last_number: 0,
            totals: Totals::open(&pins)?,
            holdings: integrity::Holdings::new(&pins, variant)?,
            pins,
        };
        dataplane.adopt()?;
        // A kernel that has the time keeps it: whether a step is taken is decided by the daemon.
        if dataplane.wall_offset_ns() == 0 {
            dataplane.sync_clock(Instant(0))?;
        }
        attach::sweep_links(&dataplane.pins)?;
        dataplane.update_links()?;
        dataplane.hold_links();
        Ok(dataplane)
    }

    /// The number that the next generation gets.
    pub fn next_number(&self) -> u32 {
        self.last_number + 1
    }

    /// Makes these the failsafe prefixes, by adding and removing single entries.
    pub fn set_failsafe(&mut self, prefixes: &[IpNet]) -> Result<(), DataplaneError> {
        self.shared.set_failsafe(prefixes)
    }

    /// Makes these the run-time overrides, by adding, changing and removing single entries: in force at once, whatever
    /// generation judges, untouched by what is published. If one cannot be written, all are as before.
    pub fn set_runtime(&mut self, wanted: &BTreeMap<IpNet, RuntimeValue>) -> Result<(), DataplaneError> {
        // The programs ask the tries only if this says that there is something in them: on the way it says too much.
        let on_the_way = RuntimeTries::count(self.runtime.present()) + RuntimeTries::count(wanted);
        self.shared.store_n_runtime(on_the_way);
        let written = self.runtime.set(wanted);
        self.shared
            .store_n_runtime(RuntimeTries::count(self.runtime.present()));
        written
    }

    /// The run-time overrides in force.
    pub fn runtime(&self) -> &BTreeMap<IpNet, RuntimeValue> {
        self.runtime.present()
    }

    /// Whether any generation is loaded.
    pub fn has_generations(&self) -> bool {
        !self.generations.is_empty()
    }

    /// Makes these this host's own addresses, which no packet from a wire may claim as its source.
    pub fn set_own_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), DataplaneError> {
        let own = OwnAddresses::new(addresses);
        self.host.add_own(&own)?;
        // The programs ask the tables only for last bytes that are in the filter.
        self.shared.store_own_filter(own.filter());
        self.host.keep_own(&own)
    }

    /// Makes these the interfaces that services and events know by name.
    pub fn set_interfaces(&mut self, interfaces: &[(u32, String)]) -> Result<(), DataplaneError> {
        self.host.set_interfaces(interfaces)
    }

    /// Makes these the servers whose answers pass in a halt.
    pub fn set_endpoints(&mut self, endpoints: &[Endpoint]) -> Result<(), DataplaneError> {
        self.host.set_endpoints(endpoints)
    }

    /// Makes these the VLANs that are judged on the interfaces named here, by index; on other interfaces all are.
    /// Packets without a tag are not judged on those. Takes [`Settings::vlan_filter`].
    pub fn set_vlans(&mut self, vlans: &[(u32, u16)]) -> Result<(), DataplaneError> {
        self.host.set_vlans(vlans)
    }

    /// Lets redirects go to these interfaces, or, with `None`, no longer: packets for them are dropped then. Targets
    /// that are not named stay as they are.
    pub fn set_targets(&mut self, targets: &[(String, Option<Target>)]) -> Result<(), DataplaneError> {
        for (name, target) in targets {
            self.host.set_target(name, target.as_ref())?;
        }
        Ok(())
    }

    /// Tells the dataplane the image of a generation it adopted, so that later publishes know what changed.
    /// `false`: no generation in the kernel was made of it.
    pub fn recognise(&mut self, image: &Arc<Image>) -> Result<bool, DataplaneError> {
        let active = self.effective_slot();
        let mut is_active = false;
        for (slot, generation) in &mut self.generations {
            if generation.meta.image_digest == image.digest {
                generation.image = Some(Arc::clone(image));
                is_active |= *slot == active;
            }
        }
        Ok(is_active)
    }

    /// Drops everything but failsafe prefixes and control traffic, until an instant or until resumed.
    pub fn halt(&mut self, until: Option<Instant>) -> Result<(), DataplaneError> {
        self.shared.store_halt(until.map_or(FOREVER, |until| until.0));
        Ok(())
    }

    /// Back to the policy.
    pub fn resume(&mut self) -> Result<(), DataplaneError> {
        self.shared.store_halt(0);
        Ok(())
    }

    /// Attaches the entry program to an interface by a pinned link. Refuses while nothing is published.
    pub fn attach(&mut self, ifname: &str, mode: ModeChoice) -> Result<Attached, DataplaneError> {
        if !self.is_callable()? {
            return Err(DataplaneError::NothingPublished);
        }
        // Before packets are dropped there, what leaves must be noted: their answers come within microseconds.
        self.prepare_interface(ifname)?;
        match attach::attach(&self.pins, &mut self.entry, ifname, mode) {
            Ok(attached) => {
                self.hold_links();
                Ok(self.with_egress(attached))
            }
            Err(error) => {
                self.release();
                Err(error)
            }
        }
    }

    /// Detaches from one interface.
    pub fn detach(&mut self, ifname: &str) -> Result<(), DataplaneError> {
        let attached = self
            .interfaces()?
            .into_iter()
            .find(|attached| attached.ifname == ifname);
        let attached = attached.ok_or_else(|| DataplaneError::NoInterface {
            ifname: ifname.to_owned(),
        })?;
        let path = self.pins.link(attached.ifindex, attached.mode);
        attach::remove_link(&path)?;
        self.let_go(&path);
        self.release();
        Ok(())
    }

    /// The interfaces attached to.
    pub fn interfaces(&self) -> Result<Vec<Attached>, DataplaneError> {
        let attached = attach::interfaces(&self.pins)?.into_iter();
        Ok(attached.map(|attached| self.with_egress(attached)).collect())
    }

    /// The state now.
    pub fn state(&self) -> Result<StateInfo, DataplaneError> {
        let state = self.shared.state();
        let word = StateWord::unpack(state.word);
        let boot_ns = sys::boot_ns();
        let reverted = word.is_reverted(boot_ns);
        let info = |slot: u8| self.generation(slot).map(|generation| generation.info(slot));
        let deadline_ns = u64::from(word.deadline_s) * 1_000_000_000;
        let halted_until_s = state.halted_until_s as u32;
        Ok(StateInfo {
            active: info(word.effective(boot_ns)),
            previous: if reverted { None } else { info(word.previous) },
            confirm_left_s: (word.deadline_s != 0 && !reverted)
                .then(|| deadline_ns.saturating_sub(boot_ns).div_ceil(1_000_000_000)),
            reverted,
            is_empty: word == StateWord::EMPTY,
            halted: match halted_until_s {
                0 => None,
                FOREVER => Some(None),
                until_s if until_s > Instant::now().0 => Some(Some(Instant(until_s))),
                _ => None,
            },
        })
    }

    /// Stores the difference between the system's clock and boot time. Called at start and when the clock steps. The
    /// kernel's time never goes back, nor below `floor`: what has ended stays ended. Gives the difference that holds, in
    /// nanoseconds.
    pub fn sync_clock(&mut self, floor: Instant) -> Result<i64, DataplaneError> {
        let (unix_ns, boot_ns) = (sys::unix_ns(), sys::boot_ns());
        let floor_ns = u64::from(floor.0) * 1_000_000_000;
        let offset_ns = self
            .wall_offset_ns()
            .max(unix_ns.max(floor_ns).wrapping_sub(boot_ns).cast_signed());
        self.shared.store_wall_offset(offset_ns.cast_unsigned());
        Ok(offset_ns)
    }

    /// Unix time less boot time, in nanoseconds, by which the kernel goes; 0: it was given none.
    pub fn wall_offset_ns(&self) -> i64 {
        self.shared.state().wall_offset_ns.cast_signed()
    }

    /// As [`Self::judge_packet`], for a packet that goes to no service; without the tier.
    pub fn judge(&self, address: IpAddr, now: Instant) -> Result<Verdict, DataplaneError> {
        self.judge_packet(address, &Heading::default(), now)
            .map(|(verdict, _)| verdict)
    }

    /// Runs a packet through the active generation's sample program: uncounted, nothing sent. State (halt),
    /// failsafe prefixes and run-time overrides are taken into account as in production. Also the tier.
    pub fn judge_packet(
        &self,
        address: IpAddr,
        heading: &Heading,
        now: Instant,
    ) -> Result<(Verdict, u8), DataplaneError> {
        let generation = self.effective().ok_or(DataplaneError::NothingPublished)?;
        let ifname = heading.interface.as_deref();
        let state = sample::State {
            now,
            halted_until_s: self.shared.state().halted_until_s as u32,
            with_shared: true,
            ifindex: ifname.and_then(|name| self.host.interface(name)).unwrap_or(0),
        };
        let (verdict, decision) = sample::run(&generation.sample, address, heading, state)?;
        Ok((verdict, decision.tier()))
    }

    /// Opens the ring that programs write events to.
    pub fn open_events(&self) -> Result<EventRing, DataplaneError> {
        EventRing::open(&self.pins)
    }

    /// What became of events since the maps were made.
    pub fn event_counters(&self) -> Result<EventCounters, DataplaneError> {
        self.sums.events()
    }

    /// Frames that interfaces did not take from a redirect, since the maps were made: of every device map on this
    /// host, while a policy in force redirects.
    pub fn redirect_errors(&self) -> Result<u64, DataplaneError> {
        self.sums.redirect_errors()
    }

    /// Frames counted as `not_ip`, by their type; type 0: those of types that found no room of their own.
    pub fn ethertypes(&self) -> Result<Vec<(u16, Counter)>, DataplaneError> {
        self.host.ethertypes()
    }

    /// Counters that are not zero: the entry program's, all generations' since the start, summed over CPUs.
    pub fn counters(&self) -> Result<Vec<CounterRow>, DataplaneError> {
        let mut sums = self.totals.clone_sums();
        self.totals.add_entry(&mut sums)?;
        for (_, generation) in &self.generations {
            counters::add_generation(&mut sums, generation)?;
        }
        Ok(counters::rows(&sums))
    }

    /// As [`Self::counters`], by the number of the generation; 0: the entry program.
    pub fn counters_by_generation(&self) -> Result<Vec<(u32, Vec<CounterRow>)>, DataplaneError> {
        let mut entry = counters::Sums::new();
        self.totals.add_entry(&mut entry)?;
        let mut counters = vec![(0, counters::rows(&entry))];
        for (_, generation) in &self.generations {
            let mut sums = counters::Sums::new();
            counters::add_generation(&mut sums, generation)?;
            counters.push((generation.meta.number, counters::rows(&sums)));
        }
        Ok(counters)
    }

    /// The last counters of generations that were retired since the last call.
    pub fn take_last_counters(&mut self) -> Vec<(u32, Vec<CounterRow>)> {
        let last = self.totals.take_last().into_iter();
        last.map(|(number, sums)| (number, counters::rows(&sums)))
            .collect()
    }

    /// What all retired generations have counted.
    pub fn retired_counters(&self) -> Vec<CounterRow> {
        counters::rows(&self.totals.clone_sums())
    }

    /// Takes up what generations have counted that were retired before this process began: reason, class, packets, bytes.
    pub fn restore_retired(&mut self, rows: impl Iterator<Item = (String, Option<String>, u64, u64)>) {
        self.totals.restore(rows);
    }

    /// Another handle on the entry program, for BPF_PROG_TEST_RUN by tests and benches: what an interface runs.
    pub fn open_entry_program(&self) -> Result<Xdp, DataplaneError> {
        Xdp::from_pin(self.pins.entry(self.variant), XdpAttachType::Interface)
            .map_err(|error| DataplaneError::kernel("opening the entry program", &error))
    }

    /// Whether the slot in force holds a program, known or not.
    fn is_callable(&self) -> Result<bool, DataplaneError> {
        match self.effective_slot() {
            NO_SLOT => Ok(false),
            slot => Ok(self.shared.slot(slot)?.is_some()),
        }
    }

    /// Gives every link this binary's programs. Not while nothing can be called: a link whose shared maps
    /// were removed by somebody still enforces what it did, and goes on until there is something to take over.
    fn update_links(&mut self) -> Result<(), DataplaneError> {
        if self.is_callable()? {
            self.update_egress();
            attach::update_links(&self.pins, &mut self.entry)?;
        }
        Ok(())
    }

    fn effective_slot(&self) -> u8 {
        self.shared.word().effective(sys::boot_ns())
    }

    fn effective(&self) -> Option<&Generation> {
        self.generation(self.effective_slot())
    }

    fn generation(&self, slot: u8) -> Option<&Generation> {
        self.generations
            .iter()
            .find(|(its_slot, _)| *its_slot == slot)
            .map(|(_, generation)| generation)
    }
}

impl Generation {
    fn info(&self, slot: u8) -> GenerationInfo {
        let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
        GenerationInfo {
            number: self.meta.number,
            slot,
            published: Instant(self.meta.published_s as u32),
            image_digest: hex(&self.meta.image_digest),
            location_digest: hex(&self.meta.location_digest),
            engines: self.engines(),
            lpm_prefixes: self.lpm_prefixes,
            is_both: self.meta.needs & need::BOTH != 0,
        }
    }
}
