//! Publishing: stage, verify, commit. Nothing before the commit touches the running generation, and the commit
//! is one store.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant as Stopwatch},
};

use probe_common::{
    StateWord,
    limits::{N_SLOTS, NO_SLOT},
};

use super::{
    Dataplane, DataplaneError, Published, cost,
    generation::{Generation, Timings},
    pins,
    shape::Shape,
    sys, verify,
};
use crate::{
    compile::{Image, samples},
    instant::Instant,
};

const NS_PER_S: u64 = 1_000_000_000;

/// A generation that is loaded, filled and pinned, but not in force.
pub struct Staged {
    generation: Generation,
    image: Arc<Image>,
    timings: Timings,
    shared_location: bool,
    compared: verify::Compared,
    verify: Duration,
}

/// What [`Dataplane::exchange`] makes of the generation that the kernel may revert to.
pub enum Previous {
    /// It stays.
    Keep,
    /// There is none any more.
    None,
    /// Another one takes its place.
    Other(Box<Staged>),
}

impl Staged {
    /// Directory of its pins. Tests tamper with the maps there before the verification.
    pub fn dir(&self) -> &Path {
        &self.generation.dir
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.generation.meta.number
    }
}

impl Dataplane {
    /// Loads the image into a free slot, fills its tables (or shares the location tables), compares samples with
    /// the oracle, and stores the state word. Anything that fails leaves the running generation untouched.
    /// With `confirm`, the kernel itself reverts after that time unless [`Self::confirm`] is called.
    pub fn publish(
        &mut self,
        image: &Arc<Image>,
        confirm: Option<Duration>,
    ) -> Result<Published, DataplaneError> {
        if confirm.is_some() && !self.is_callable()? {
            return Err(DataplaneError::NothingToRevertTo);
        }
        let staged = self.stage(image)?;
        let staged = self.verify(staged)?;
        self.commit(staged, confirm)
    }

    /// Bytes of the kernel's memory that a generation of the image takes beside those that are there, at most.
    pub fn bytes_needed(&mut self, image: &Image) -> Result<u64, DataplaneError> {
        let n_cpus = aya::util::nr_cpus()
            .map_err(|(path, error)| DataplaneError::kernel(format!("reading {path}"), &error))?;
        let tables = self.location_tables(&image.location)?;
        let shares_location = tables.shared_dir().is_some();
        Ok(cost::bytes_of(
            &Shape::of(image, &tables)?.sizes,
            shares_location,
            n_cpus,
        ))
    }

    /// The first step: load, fill, pin.
    pub fn stage(&mut self, image: &Arc<Image>) -> Result<Staged, DataplaneError> {
        let started = Stopwatch::now();
        let tables = self.location_tables(&image.location)?;
        let build = started.elapsed();
        self.last_number += 1;
        let number = self.last_number;
        let dir = self.pins.generation(number);
        let (generation, timings) = Generation::make(&mut self.loaders, &dir, number, image, &tables)?;
        self.forget_tables();
        Ok(Staged {
            generation,
            image: Arc::clone(image),
            timings: Timings { build, ..timings },
            shared_location: tables.shared_dir().is_some(),
            compared: verify::Compared::default(),
            verify: Duration::ZERO,
        })
    }

    /// The second step: kernel = oracle on the samples, then no more writes. A generation that fails is removed.
    pub fn verify(&self, mut staged: Staged) -> Result<Staged, DataplaneError> {
        let started = Stopwatch::now();
        let now = Instant::now();
        let previous = self
            .effective()
            .and_then(|generation| generation.image.as_deref());
        let samples = samples(&staged.image, previous, now);
        let interface = |name: &str| self.host.interface(name);
        let sample = &staged.generation.sample;
        let verified = verify::verify(sample, &staged.image, &samples, now, interface).and_then(|compared| {
            staged
                .generation
                .freeze(!staged.shared_location)
                .map(|()| compared)
        });
        match verified {
            Ok(compared) => {
                staged.compared = compared;
                staged.verify = started.elapsed();
                Ok(staged)
            }
            Err(error) => Err(self.abandon(&staged, error)),
        }
    }

    /// The last step: make what the generation needs, fill the slot, store the word. From the store on, every packet
    /// is judged by it.
    pub fn commit(&mut self, staged: Staged, confirm: Option<Duration>) -> Result<Published, DataplaneError> {
        self.normalise();
        let tidied = self.tidy();
        let published = self.enter(staged, tidied)?;

        // The last confirmed generation is what the kernel reverts to: the active one if it is confirmed.
        let word = self.shared.word();
        let last_confirmed = if word.deadline_s == 0 {
            word.active
        } else {
            word.previous
        };
        let deadline_s = confirm.map(|confirm| deadline_s(sys::boot_ns(), confirm));
        self.store_word(StateWord {
            active: published.slot,
            previous: last_confirmed,
            deadline_s: deadline_s.unwrap_or(0),
        });
        Ok(Published {
            confirm_until: confirm
                .map(|confirm| Instant(Instant::now().0.saturating_add(confirm.as_secs() as u32))),
            ..published
        })
    }

    /// Takes other images of the policies in force, by one store: of the active one, and of the one that the kernel may
    /// revert to. The confirm deadline stays as it is.
    pub fn exchange(&mut self, active: Staged, previous: Previous) -> Result<Published, DataplaneError> {
        let tidied = self.tidy();
        let earlier = self.shared.word();
        // What fails from here on leaves a generation that no word names: the next `tidy` frees it.
        let previous = match previous {
            Previous::Keep => earlier.previous,
            Previous::None => NO_SLOT,
            Previous::Other(staged) => self.enter(*staged, Ok(()))?.slot,
        };
        let published = self.enter(active, tidied)?;
        self.store_word(StateWord {
            active: published.slot,
            previous,
            deadline_s: earlier.deadline_s,
        });
        Ok(published)
    }

    /// Removes a generation that is not wanted after all.
    pub fn discard(&self, staged: &Staged) {
        remove_pins(staged);
    }

    /// Puts a generation into a free slot; nothing calls it yet. `tidied`: what cannot be freed now is tried again
    /// later, it matters here only if no slot is left.
    fn enter(
        &mut self,
        staged: Staged,
        tidied: Result<(), DataplaneError>,
    ) -> Result<Published, DataplaneError> {
        let slot = match (self.free_slot(), tidied) {
            (Some(slot), _) => slot,
            (None, Ok(())) => return Err(self.abandon(&staged, DataplaneError::NoFreeSlot)),
            (None, Err(error)) => return Err(self.abandon(&staged, error)),
        };
        let filled = self
            .prepare(staged.generation.meta.needs)
            .and_then(|()| self.fill_slot(slot, &staged.generation));
        if let Err(error) = filled {
            self.release();
            return Err(self.abandon(&staged, error));
        }
        let published = Published {
            number: staged.generation.meta.number,
            slot,
            shared_location: staged.shared_location,
            n_samples: staged.compared.n_samples,
            n_skipped: staged.compared.n_skipped,
            build: staged.timings.build,
            load: staged.timings.load,
            fill: staged.timings.fill,
            verify: staged.verify,
            confirm_until: None,
        };
        self.generations.push((slot, staged.generation));
        Ok(published)
    }

    fn store_word(&mut self, word: StateWord) {
        self.shared.store_word(word);
        if let Err(error) = self.update_links() {
            tracing::warn!("an interface still runs an earlier entry program: {error}");
        }
    }

    pub(super) fn fill_slot(&mut self, slot: u8, generation: &Generation) -> Result<(), DataplaneError> {
        let failed = |error| DataplaneError::kernel("opening the generation's program", &error);
        let program = generation.program()?;
        let egress = generation.egress_program()?;
        let egress = egress
            .as_ref()
            .map(|egress| egress.fd())
            .transpose()
            .map_err(failed)?;
        self.shared.fill_slot(slot, program.fd().map_err(failed)?, egress)
    }

    /// A slot that the state word does not name and that no generation waits in to be freed.
    fn free_slot(&self) -> Option<u8> {
        let word = self.shared.word();
        let is_taken =
            |slot: u8| slot == word.active || slot == word.previous || self.generation(slot).is_some();
        (0..N_SLOTS as u8).find(|slot| !is_taken(*slot))
    }

    /// Removes a generation that did not get into force; the error goes through.
    fn abandon(&self, staged: &Staged, error: DataplaneError) -> DataplaneError {
        remove_pins(staged);
        error
    }

    /// Makes the active generation the confirmed one.
    pub fn confirm(&mut self) -> Result<(), DataplaneError> {
        let word = self.shared.word();
        if word.deadline_s == 0 {
            return Err(DataplaneError::NothingToConfirm);
        }
        if word.is_reverted(sys::boot_ns()) {
            return Err(DataplaneError::ConfirmedTooLate);
        }
        self.shared.store_word(StateWord {
            deadline_s: 0,
            ..word
        });
        Ok(())
    }

    /// Takes the previous generation back at once: an unconfirmed publish is dropped, a confirmed one becomes
    /// the previous one in its turn.
    pub fn revert(&mut self) -> Result<(), DataplaneError> {
        let word = self.shared.word();
        if self.generation(word.previous).is_none() {
            return Err(DataplaneError::NothingToRevertTo);
        }
        let previous = if word.deadline_s == 0 {
            word.active
        } else {
            NO_SLOT
        };
        self.shared.store_word(StateWord {
            active: word.previous,
            previous,
            deadline_s: 0,
        });
        Ok(())
    }

    /// Makes the previous generation the one in force, and the one in force the previous one: nothing is loaded. With
    /// `confirm`, the kernel itself takes it back after that time unless [`Self::confirm`] is called. Not while a
    /// generation waits to be confirmed.
    pub fn flip(&mut self, confirm: Option<Duration>) -> Result<(), DataplaneError> {
        let word = self.shared.word();
        let Some(previous) = self.generation(word.previous).filter(|_| word.deadline_s == 0) else {
            return Err(DataplaneError::NothingToRevertTo);
        };
        self.prepare(previous.meta.needs)?;
        let deadline_s = confirm.map(|confirm| deadline_s(sys::boot_ns(), confirm));
        self.shared.store_word(StateWord {
            active: word.previous,
            previous: word.active,
            deadline_s: deadline_s.unwrap_or(0),
        });
        if let Err(error) = self.update_links() {
            tracing::warn!("an interface still runs an earlier entry program: {error}");
        }
        Ok(())
    }

    /// Frees generations that the state word no longer names, once no program runs them any more, and adds
    /// their counters to the totals. The daemon calls it every second.
    pub fn tidy(&mut self) -> Result<(), DataplaneError> {
        let word = self.shared.word();
        let is_named = |slot: u8| slot == word.active || slot == word.previous;
        self.release();
        if self.generations.iter().all(|(slot, _)| is_named(*slot)) {
            return Ok(());
        }
        sys::wait_for_readers();
        // One at a time, and each step may be repeated: what fails is tried again at the next call.
        while let Some(idx) = self.generations.iter().position(|(slot, _)| !is_named(*slot)) {
            let (slot, generation) = &self.generations[idx];
            self.shared.clear_slot(*slot)?;
            pins::remove_dir(&generation.dir).map_err(|error| {
                DataplaneError::kernel(format!("removing {}", generation.dir.display()), &error)
            })?;
            self.totals.add_retired(generation)?;
            self.generations.swap_remove(idx);
        }
        Ok(())
    }

    /// Writes into the word what the kernel has already done at the confirm deadline.
    fn normalise(&mut self) {
        let word = self.shared.word();
        if word.is_reverted(sys::boot_ns()) {
            self.shared.store_word(StateWord {
                active: word.previous,
                previous: NO_SLOT,
                deadline_s: 0,
            });
        }
    }
}

fn remove_pins(staged: &Staged) {
    if let Err(left) = pins::remove_dir(&staged.generation.dir) {
        // Swept when the dataplane is opened next.
        tracing::warn!("{} could not be removed: {left}", staged.generation.dir.display());
    }
}

/// Boot time in whole seconds at which `confirm` is over, rounded up: never earlier than promised.
fn deadline_s(boot_ns: u64, confirm: Duration) -> u32 {
    let deadline_ns = u128::from(boot_ns) + confirm.as_nanos();
    u32::try_from(deadline_ns.div_ceil(u128::from(NS_PER_S))).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_is_never_early_and_at_most_a_second_late() {
        assert_eq!(deadline_s(1, Duration::from_secs(120)), 121);
        assert_eq!(deadline_s(5 * NS_PER_S, Duration::from_secs(120)), 125);
        assert_eq!(deadline_s(5 * NS_PER_S, Duration::MAX), u32::MAX);
    }
}
