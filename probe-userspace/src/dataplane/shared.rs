//! The maps that all generations share and that decide which of them judges: state, slots, failsafe prefixes.

use std::{
    cell::Cell,
    collections::BTreeSet,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::Ordering,
};

use aya::{
    maps::{
        Map, MapData, ProgramArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::ProgramFd,
};
use ipnet::IpNet;
use probe_common::{State, StateWord, limits::MAX_FAILSAFE, map_name};

use super::{
    DataplaneError,
    pins::Pins,
    spec::SHARED_MAPS,
    sys::{self, StatePage},
};
use crate::host::TableSizes;

const PRESENT: u32 = 1;

/// An array of programs, one for each slot.
struct Slots {
    name: &'static str,
    programs: ProgramArray<MapData>,
    /// The same map, for what aya does not offer.
    fd: OwnedFd,
}

/// Handles to the shared maps.
pub struct SharedMaps {
    page: StatePage,
    /// What this process stored last, or found.
    left: Cell<State>,
    slots: Slots,
    egress_slots: Slots,
    failsafe_v4: LpmTrie<MapData, [u8; 4], u32>,
    failsafe_v6: LpmTrie<MapData, [u8; 16], u32>,
}

/// Refuses pins that are not the maps they should be. A table whose size the host chooses may have another one:
/// it keeps that, and what is in it.
pub fn check_pinned(pins: &Pins, sizes: &TableSizes) -> Result<(), DataplaneError> {
    for spec in &SHARED_MAPS {
        let path = pins.map(spec.name);
        if !path.exists() {
            continue;
        }
        let foreign = |detail: String| DataplaneError::ForeignPin {
            path: path.clone(),
            detail,
        };
        let info = MapData::from_pin(&path)
            .and_then(|map| map.info())
            .map_err(|error| foreign(error.to_string()))?;
        let map_type = info.map_type().map_err(|error| foreign(error.to_string()))?;
        let wanted_size = spec.max_entries(sizes);
        let size = if spec.is_size_chosen() {
            info.max_entries()
        } else {
            wanted_size
        };
        let expected = (spec.map_type, spec.key_size, spec.value_size, size, spec.flags);
        let found = (
            map_type,
            info.key_size(),
            info.value_size(),
            info.max_entries(),
            info.map_flags(),
        );
        if expected != found {
            return Err(foreign(format!(
                "type, key size, value size, entries, flags should be {expected:?} and are {found:?}"
            )));
        }
        if size != wanted_size {
            tracing::warn!(
                "{} keeps its size of {size}, not {wanted_size}: run `cordon detach`, then start again, to change it",
                spec.name
            );
        }
    }
    Ok(())
}

impl Slots {
    fn open(pins: &Pins, name: &'static str) -> Result<Self, DataplaneError> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            DataplaneError::kernel(format!("opening {name}"), error)
        };
        let map = MapData::from_pin(pins.map(name)).map_err(|error| failed(&error))?;
        Ok(Self {
            name,
            programs: Map::ProgramArray(map)
                .try_into()
                .map_err(|error: aya::maps::MapError| failed(&error))?,
            fd: sys::open_pin(&pins.map(name)).map_err(|error| failed(&error))?,
        })
    }

    fn get(&self, slot: u8) -> Result<Option<u32>, DataplaneError> {
        sys::lookup_u32(self.fd.as_fd(), u32::from(slot))
            .map_err(|error| DataplaneError::kernel(format!("reading {} {slot}", self.name), &error))
    }

    fn fill(&mut self, slot: u8, program: &ProgramFd) -> Result<(), DataplaneError> {
        self.programs
            .set(u32::from(slot), program, 0)
            .map_err(|error| DataplaneError::kernel(format!("filling {} {slot}", self.name), &error))
    }

    fn clear(&self, slot: u8) -> Result<(), DataplaneError> {
        sys::delete_u32(self.fd.as_fd(), u32::from(slot))
            .map_err(|error| DataplaneError::kernel(format!("emptying {} {slot}", self.name), &error))
    }
}

impl SharedMaps {
    /// Opens the maps, which exist: the entry object was loaded.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        let open = |name: &str| {
            MapData::from_pin(pins.map(name))
                .map_err(|error| DataplaneError::kernel(format!("opening {name}"), &error))
        };
        let state = open(map_name::STATE)?;
        let page = StatePage::map(state.fd().as_fd())
            .map_err(|error| DataplaneError::kernel(format!("mapping {}", map_name::STATE), &error))?;
        let wrong = |error| DataplaneError::kernel("opening the shared maps", &error);
        Ok(Self {
            left: Cell::new(page.read()),
            page,
            slots: Slots::open(pins, map_name::SLOTS)?,
            egress_slots: Slots::open(pins, map_name::EGRESS_SLOTS)?,
            failsafe_v4: Map::LpmTrie(open(map_name::FAILSAFE_V4)?)
                .try_into()
                .map_err(wrong)?,
            failsafe_v6: Map::LpmTrie(open(map_name::FAILSAFE_V6)?)
                .try_into()
                .map_err(wrong)?,
        })
    }

    /// The state word.
    pub fn word(&self) -> StateWord {
        StateWord::unpack(self.page.word().load(Ordering::Acquire))
    }

    /// Stores the state word: this is what publishing is.
    pub fn store_word(&self, word: StateWord) {
        let word = word.pack();
        self.page.word().store(word, Ordering::Release);
        self.leave(|state| state.word = word);
    }

    /// All state words.
    pub fn state(&self) -> State {
        self.page.read()
    }

    /// Stores until when the host is halted, Unix time in seconds; 0: not halted.
    pub fn store_halt(&self, until_s: u32) {
        self.page
            .halted_until_s()
            .store(u64::from(until_s), Ordering::Release);
        self.leave(|state| state.halted_until_s = u64::from(until_s));
    }

    /// Stores what turns boot time into Unix time.
    pub fn store_wall_offset(&self, offset_ns: u64) {
        self.page.wall_offset_ns().store(offset_ns, Ordering::Release);
        self.leave(|state| state.wall_offset_ns = offset_ns);
    }

    /// See [`State::n_runtime`].
    pub fn store_n_runtime(&self, n_runtime: u64) {
        self.page.n_runtime().store(n_runtime, Ordering::Release);
        self.leave(|state| state.n_runtime = n_runtime);
    }

    /// Stores which last bytes this host's own addresses have.
    pub fn store_own_filter(&self, filter: [u64; 4]) {
        for (idx, word) in filter.into_iter().enumerate() {
            self.page.own_filter(idx).store(word, Ordering::Release);
        }
        self.leave(|state| state.own_filter = filter);
    }

    fn leave(&self, change: impl FnOnce(&mut State)) {
        let mut left = self.left.get();
        change(&mut left);
        self.left.set(left);
    }

    /// The fields of the state page that are not as this process left them.
    pub fn changed_fields(&self) -> Vec<&'static str> {
        let (left, found) = (self.left.get(), self.page.read());
        let fields = [
            ("the state word", left.word != found.word),
            ("the clock's offset", left.wall_offset_ns != found.wall_offset_ns),
            ("the halt", left.halted_until_s != found.halted_until_s),
            (
                "the number of run-time overrides",
                left.n_runtime != found.n_runtime,
            ),
            ("the filter of own addresses", left.own_filter != found.own_filter),
        ];
        let changed = fields.into_iter().filter(|(_, is_changed)| *is_changed);
        changed.map(|(field, _)| field).collect()
    }

    /// Stores the fields again as this process left them.
    pub fn restore_fields(&self) {
        let left = self.left.get();
        self.store_word(StateWord::unpack(left.word));
        self.store_wall_offset(left.wall_offset_ns);
        self.page
            .halted_until_s()
            .store(left.halted_until_s, Ordering::Release);
        self.store_n_runtime(left.n_runtime);
        self.store_own_filter(left.own_filter);
    }

    /// Whether a slot holds these programs.
    pub fn slots_hold(&self, slot: u8, program: u32, egress: Option<u32>) -> Result<bool, DataplaneError> {
        Ok(self.slots.get(slot)? == Some(program) && self.egress_slots.get(slot)? == egress)
    }

    /// Id of the program in a slot.
    pub fn slot(&self, slot: u8) -> Result<Option<u32>, DataplaneError> {
        self.slots.get(slot)
    }

    /// Puts a generation's programs into a slot: the one for leaving packets first, since the other one makes the
    /// slot callable.
    pub fn fill_slot(
        &mut self,
        slot: u8,
        program: &ProgramFd,
        egress: Option<&ProgramFd>,
    ) -> Result<(), DataplaneError> {
        match egress {
            Some(egress) => self.egress_slots.fill(slot, egress)?,
            None => self.egress_slots.clear(slot)?,
        }
        self.slots.fill(slot, program)
    }

    /// Empties a slot.
    pub fn clear_slot(&self, slot: u8) -> Result<(), DataplaneError> {
        self.slots.clear(slot)?;
        self.egress_slots.clear(slot)
    }

    /// Makes these the failsafe prefixes. New ones are added before old ones are removed, one entry at a time:
    /// an address that is failsafe before and after is failsafe throughout.
    pub fn set_failsafe(&mut self, prefixes: &[IpNet]) -> Result<(), DataplaneError> {
        let mut wanted_v4 = BTreeSet::new();
        let mut wanted_v6 = BTreeSet::new();
        for prefix in prefixes {
            match prefix {
                IpNet::V4(prefix) => {
                    wanted_v4.insert((u32::from(prefix.prefix_len()), prefix.network().octets()))
                }
                IpNet::V6(prefix) => {
                    wanted_v6.insert((u32::from(prefix.prefix_len()), prefix.network().octets()))
                }
            };
        }
        set_entries(&mut self.failsafe_v4, &wanted_v4)?;
        set_entries(&mut self.failsafe_v6, &wanted_v6)
    }
}

fn set_entries<A>(
    trie: &mut LpmTrie<MapData, A, u32>,
    wanted: &BTreeSet<(u32, A)>,
) -> Result<(), DataplaneError>
where
    A: aya::Pod + Ord,
{
    if wanted.len() > MAX_FAILSAFE as usize {
        return Err(DataplaneError::TooMany {
            what: "the failsafe list",
            n: wanted.len(),
            limit: MAX_FAILSAFE,
        });
    }
    let failed = |error| DataplaneError::kernel("writing the failsafe prefixes", &error);
    let present: BTreeSet<(u32, A)> = trie
        .keys()
        .map(|key| key.map(|key| (key.prefix_len(), key.data())))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    for (prefix_len, addr) in wanted.difference(&present) {
        trie.insert(&Key::new(*prefix_len, *addr), PRESENT, 0)
            .map_err(failed)?;
    }
    for (prefix_len, addr) in present.difference(wanted) {
        trie.remove(&Key::new(*prefix_len, *addr)).map_err(failed)?;
    }
    Ok(())
}
