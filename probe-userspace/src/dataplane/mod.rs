//! The kernel side's loader: the only caller of bpf(2).
//!
//! [`Dataplane`] owns the pinned state: entry program, links, shared maps, generations. Its methods are
//! synchronous and may take seconds (filling tables): the daemon calls them from one thread of its own.

mod attach;
mod counters;
mod detach;
mod error;
mod generation;
#[cfg(feature = "log")]
mod kernel_log;
mod object;
mod pins;
mod publish;
mod shared;
mod sys;
mod verify;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use ipnet::IpNet;
use probe_common::{
    FOREVER, StateWord, Verdict,
    limits::NO_SLOT,
    map_name::{self, program},
};
use serde::Serialize;

use self::{counters::Totals, generation::Generation, object::Loaders, pins::Pins, shared::SharedMaps};
use crate::{
    compile::{Heading, Image},
    host::{EgressHook, ModeChoice, TableSizes},
    instant::Instant,
};

pub use detach::detach_all;
pub use error::DataplaneError;
pub use object::PEERS;
pub use publish::Staged;
pub use sys::{boot_ns, interface_index, unix_ns};

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
            sizes: TableSizes::default(),
            vlan_filter: false,
        }
    }
}

/// XDP mode of a link. `skb` is slower: the packet is judged after the kernel has built its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack, after the driver.
    Skb,
}

/// An interface that packets are judged on.
#[derive(Clone, Debug, Serialize)]
pub struct Attached {
    /// Name at the time of attaching.
    pub ifname: String,
    /// Index; 0 if the interface is gone.
    pub ifindex: u32,
    /// Mode obtained.
    pub mode: Mode,
}

/// What a publish did.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// Generation number.
    pub number: u32,
    /// Slot it lives in.
    pub slot: u8,
    /// Whether the location tables of an earlier generation were shared.
    pub shared_location: bool,
    /// Samples judged by the kernel and compared with the oracle.
    pub n_samples: usize,
    /// Time for loading the programs, filling the tables, comparing the samples and storing the word.
    pub load: Duration,
    /// See `load`.
    pub fill: Duration,
    /// See `load`.
    pub verify: Duration,
    /// Boot-time deadline after which the kernel reverts, if the publish must be confirmed; Unix time.
    pub confirm_until: Option<Instant>,
}

/// A program in the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramSize {
    /// Name of its function.
    pub name: &'static str,
    /// Instructions that the verifier went through (Linux 5.16 and later say so).
    pub verified_instructions: Option<u32>,
    /// Time of BPF_PROG_LOAD: verifier and compiler; `None` for a program that an earlier process loaded.
    pub load: Option<Duration>,
}

/// A generation in the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationInfo {
    /// Number.
    pub number: u32,
    /// Slot.
    pub slot: u8,
    /// When it was published.
    pub published: Instant,
    /// Image digest, lower-case hexadecimal.
    pub image_digest: String,
    /// Location digest, lower-case hexadecimal.
    pub location_digest: String,
}

/// The state word and its neighbours, decoded.
#[derive(Clone, Debug, Serialize)]
pub struct StateInfo {
    /// The generation that judges packets now; `None`: none can be called.
    pub active: Option<GenerationInfo>,
    /// The generation the kernel reverts to, or that a rollback would take.
    pub previous: Option<GenerationInfo>,
    /// Seconds until the kernel reverts; `None` if confirmed.
    pub confirm_left_s: Option<u64>,
    /// The deadline passed unconfirmed: `active` above is the earlier generation again.
    pub reverted: bool,
    /// Nothing was ever published: the state word names no slot.
    pub is_empty: bool,
    /// Halted until; `Some(None)`: until resumed.
    pub halted: Option<Option<Instant>>,
}

/// A counter with its labels.
#[derive(Clone, Debug, Serialize)]
pub struct CounterRow {
    /// Name of the reason.
    pub reason: &'static str,
    /// Name of the class, if the reason has one.
    pub class: Option<String>,
    /// Packets.
    pub packets: u64,
    /// Bytes (L2).
    pub bytes: u64,
}

/// What [`detach_all`] removed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Detached {
    /// Interfaces whose link was removed.
    pub interfaces: Vec<String>,
    /// Pins removed.
    pub n_pins: usize,
}

/// The kernel side.
///
/// Fields drop in order: the pins' lock and private bpffs go last.
pub struct Dataplane {
    entry: Xdp,
    entry_load: Duration,
    no_generation_pass: bool,
    shared: SharedMaps,
    loaders: Loaders,
    generations: Vec<(u8, Generation)>,
    /// The highest number given so far.
    last_number: u32,
    totals: Totals,
    pins: Pins,
}

impl Dataplane {
    /// Opens the dataplane: adopts what is pinned (links, shared maps, generations), makes what is missing, and
    /// deletes what the state word does not name. Takes a file lock, so that two daemons never share a pin
    /// directory. An entry program of another version is replaced by this binary's own, link by link, without a gap.
    pub fn open(settings: &Settings) -> Result<Self, DataplaneError> {
        let pins = Pins::open(settings.pin_dir.as_deref())?;
        shared::check_pinned(&pins)?;
        let mut loaders = Loaders::new(&pins);
        let (entry, entry_load) = load_entry(&mut loaders, &pins, settings.no_generation_pass)?;
        let shared = SharedMaps::open(&pins)?;
        let totals = Totals::open(&pins)?;
        let mut dataplane = Self {
            entry,
            entry_load,
            no_generation_pass: settings.no_generation_pass,
            shared,
            loaders,
            generations: Vec::new(),
            last_number: 0,
            totals,
            pins,
        };
        dataplane.adopt()?;
        dataplane.sync_clock()?;
        attach::sweep_links(&dataplane.pins)?;
        dataplane.update_links()?;
        Ok(dataplane)
    }

    /// Makes these the failsafe prefixes, by adding and removing single entries.
    pub fn set_failsafe(&mut self, prefixes: &[IpNet]) -> Result<(), DataplaneError> {
        self.shared.set_failsafe(prefixes)
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
        attach::attach(&self.pins, &mut self.entry, ifname, mode)
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
        attach::remove_link(&self.pins.link(attached.ifindex, attached.mode))
    }

    /// The interfaces attached to.
    pub fn interfaces(&self) -> Result<Vec<Attached>, DataplaneError> {
        attach::interfaces(&self.pins)
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

    /// Stores the difference between the system's clock and boot time. Called at start and when the clock steps.
    pub fn sync_clock(&mut self) -> Result<(), DataplaneError> {
        self.shared
            .store_wall_offset(sys::unix_ns().wrapping_sub(sys::boot_ns()));
        Ok(())
    }

    /// Runs a packet from an address through the active generation's sample program: uncounted, nothing sent.
    /// State (halt) and failsafe prefixes are taken into account as in production.
    pub fn judge(&self, address: IpAddr, now: Instant) -> Result<Verdict, DataplaneError> {
        let generation = self.effective().ok_or(DataplaneError::NothingPublished)?;
        let halted_until_s = self.shared.state().halted_until_s as u32;
        verify::run(
            &generation.sample,
            address,
            verify::SampleState {
                now,
                halted_until_s,
                with_shared: true,
            },
        )
    }

    /// As [`Self::judge`] for a packet that says where it goes; with the tier.
    pub fn judge_packet(
        &self,
        address: IpAddr,
        heading: &Heading,
        now: Instant,
    ) -> Result<(Verdict, u8), DataplaneError> {
        if *heading == Heading::default() {
            return Ok((self.judge(address, now)?, 0));
        }
        Err(DataplaneError::Kernel {
            what: "running a sample".to_owned(),
            reason: "samples that say where they go are not built yet".to_owned(),
        })
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

    /// Another handle on the entry program, for BPF_PROG_TEST_RUN by tests and benches: what an interface runs.
    pub fn open_entry_program(&self) -> Result<Xdp, DataplaneError> {
        Xdp::from_pin(self.pins.entry(self.no_generation_pass), XdpAttachType::Interface)
            .map_err(|error| DataplaneError::kernel("opening the entry program", &error))
    }

    /// What the verifier made of the entry program and of the active generation's programs.
    pub fn programs(&self) -> Result<Vec<ProgramSize>, DataplaneError> {
        let failed = |error| DataplaneError::kernel("asking for the size of a program", &error);
        let size = |name, program: &Xdp, load| {
            let verified_instructions = program.info().map_err(failed)?.verified_instruction_count();
            Ok(ProgramSize {
                name,
                verified_instructions,
                load,
            })
        };
        let mut sizes = vec![size(program::ENTRY, &self.entry, Some(self.entry_load))?];
        if let Some(generation) = self.effective() {
            let [judge, sample] = generation.loads.map_or([None; 2], |loads| loads.map(Some));
            sizes.push(size(program::GENERATION, &generation.program()?, judge)?);
            sizes.push(size(program::SAMPLE, &generation.sample, sample)?);
        }
        Ok(sizes)
    }

    /// Whether the slot in force holds a program, known or not.
    fn is_callable(&self) -> Result<bool, DataplaneError> {
        match self.effective_slot() {
            NO_SLOT => Ok(false),
            slot => Ok(self.shared.slot(slot)?.is_some()),
        }
    }

    /// Gives every link this binary's entry program. Not while nothing can be called: a link whose shared maps
    /// were removed by somebody still enforces what it did, and goes on until there is something to take over.
    fn update_links(&mut self) -> Result<(), DataplaneError> {
        if self.is_callable()? {
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

    /// Finds the pinned generations that the state word names, and deletes what it does not name: leftovers of a
    /// process that died while it was publishing.
    fn adopt(&mut self) -> Result<(), DataplaneError> {
        let word = self.shared.word();
        let named = |slot: u8| slot != NO_SLOT && (slot == word.active || slot == word.previous);
        let mut in_force = Vec::new();
        for slot in 0..probe_common::limits::N_SLOTS as u8 {
            match self.shared.slot(slot)? {
                Some(program_id) if named(slot) => in_force.push((slot, program_id)),
                Some(_) => self.shared.clear_slot(slot)?,
                None => {}
            }
        }
        for (number, dir) in self.pins.generations() {
            self.last_number = self.last_number.max(number);
            let opened = Generation::open(&dir);
            let its_slot = opened.as_ref().ok().and_then(|generation| {
                let is_its = |(_, program_id): &&(u8, u32)| *program_id == generation.program_id;
                in_force.iter().find(is_its).map(|(slot, _)| *slot)
            });
            match (opened, its_slot) {
                (Ok(generation), Some(slot)) => self.generations.push((slot, generation)),
                // It may be the one that a slot in force runs: better a leftover than a generation nobody can reach.
                (Err(error), _) if !in_force.is_empty() => tracing::warn!("left as it is: {error}"),
                _ => {
                    let removed = pins::remove_dir(&dir);
                    removed.map_err(|error| {
                        DataplaneError::kernel(format!("removing {}", dir.display()), &error)
                    })?;
                }
            }
        }
        for (slot, _) in &in_force {
            if self.generation(*slot).is_none() {
                tracing::warn!(
                    slot,
                    "a slot in force has no pinned generation; it stays until the next publish"
                );
            }
        }
        // A new map reads as "slot 0"; say "no slot" instead.
        if in_force.is_empty() {
            self.shared.store_word(StateWord::EMPTY);
        }
        Ok(())
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
        }
    }
}

/// Loads the entry program and pins it, unless the pinned one is the same already. Also the time of the load.
fn load_entry(
    loaders: &mut Loaders,
    pins: &Pins,
    no_generation_pass: bool,
) -> Result<(Xdp, Duration), DataplaneError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        DataplaneError::kernel("loading the entry program", error)
    };
    // A pinned entry program whose maps are gone reads others than those that this process will write: the tag
    // does not tell, because it leaves out which maps a program uses.
    let had_maps = [map_name::STATE, map_name::SLOTS]
        .iter()
        .all(|name| pins.map(name).exists());
    let mut ebpf = loaders.entry(pins, no_generation_pass)?;
    let entry: &mut Xdp = match ebpf.program_mut(program::ENTRY) {
        Some(entry) => entry
            .try_into()
            .map_err(|error: aya::programs::ProgramError| failed(&error))?,
        None => {
            return Err(DataplaneError::Kernel {
                what: "loading the entry program".to_owned(),
                reason: "the eBPF object built into this binary lacks it".to_owned(),
            });
        }
    };
    let started = std::time::Instant::now();
    entry.load().map_err(|error| failed(&error))?;
    let load = started.elapsed();

    let path = pins.entry(no_generation_pass);
    let open = || Xdp::from_pin(&path, XdpAttachType::Interface);
    let tag = entry.info().map_err(|error| failed(&error))?.tag();
    if had_maps
        && let Ok(pinned) = open()
        && pinned.info().is_ok_and(|info| info.tag() == tag)
    {
        return Ok((pinned, load));
    }
    // Pinned under another name first: a reader of the pin always finds a program.
    let fresh = pins.map("cordon_entry_new");
    let _ = std::fs::remove_file(&fresh);
    entry.pin(&fresh).map_err(|error| failed(&error))?;
    std::fs::rename(&fresh, &path).map_err(|error| failed(&error))?;
    let _ = std::fs::remove_file(pins.entry(!no_generation_pass));
    Ok((open().map_err(|error| failed(&error))?, load))
}
