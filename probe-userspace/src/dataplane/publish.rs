//! Publishing: stage, verify, commit. Nothing before the commit touches the running generation, and the commit
//! is one store.

use std::{
    sync::Arc,
    time::{Duration, Instant as Stopwatch},
};

use probe_common::{
    StateWord,
    limits::{N_SLOTS, NO_SLOT},
};

use super::{
    Dataplane, DataplaneError, Published,
    generation::{Generation, Timings},
    pins, sys, verify,
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
    n_samples: usize,
    verify: Duration,
}

impl Staged {
    /// Directory of its pins. Tests tamper with the maps there before the verification.
    pub fn dir(&self) -> &std::path::Path {
        &self.generation.dir
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
        if confirm.is_some() && self.effective().is_none() {
            return Err(DataplaneError::NothingToRevertTo);
        }
        let staged = self.stage(image)?;
        let staged = self.verify(staged)?;
        self.commit(staged, confirm)
    }

    /// The first step: load, fill, pin.
    pub fn stage(&mut self, image: &Arc<Image>) -> Result<Staged, DataplaneError> {
        let known = self.generations.iter().map(|(_, generation)| generation);
        let share = known
            .clone()
            .find(|generation| generation.meta.location_digest == image.location.digest);
        let share = share.map(|generation| generation.dir.clone());
        let number = known.map(|generation| generation.meta.number).max().unwrap_or(0) + 1;
        let dir = self.pins.generation(number);
        let (generation, timings) =
            Generation::make(&mut self.loaders, &dir, number, image, share.as_deref())?;
        Ok(Staged {
            generation,
            image: Arc::clone(image),
            timings,
            shared_location: share.is_some(),
            n_samples: 0,
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
        let verified =
            verify::verify(&staged.generation.sample, &staged.image, &samples, now).and_then(|n_samples| {
                staged
                    .generation
                    .freeze(!staged.shared_location)
                    .map(|()| n_samples)
            });
        match verified {
            Ok(n_samples) => {
                staged.n_samples = n_samples;
                staged.verify = started.elapsed();
                Ok(staged)
            }
            Err(error) => {
                // Best effort: what stays is swept when the dataplane is opened next.
                let _ = pins::remove_dir(&staged.generation.dir);
                Err(error)
            }
        }
    }

    /// The last step: fill the slot, store the word. From the store on, every packet is judged by it.
    pub fn commit(&mut self, staged: Staged, confirm: Option<Duration>) -> Result<Published, DataplaneError> {
        self.normalise();
        self.tidy()?;
        let word = self.shared.word();
        let slot = (0..N_SLOTS as u8)
            .find(|slot| *slot != word.active && *slot != word.previous)
            .ok_or(DataplaneError::NothingToRevertTo)?;
        self.shared.fill_slot(
            slot,
            staged
                .generation
                .program()?
                .fd()
                .map_err(|error| DataplaneError::kernel("opening the generation's program", &error))?,
        )?;

        // The last confirmed generation is what the kernel reverts to: the active one if it is confirmed.
        let last_confirmed = if word.deadline_s == 0 {
            word.active
        } else {
            word.previous
        };
        let deadline_s = confirm.map(|confirm| deadline_s(sys::boot_ns(), confirm));
        let number = staged.generation.meta.number;
        self.generations.push((slot, staged.generation));
        self.shared.store_word(StateWord {
            active: slot,
            previous: last_confirmed,
            deadline_s: deadline_s.unwrap_or(0),
        });
        Ok(Published {
            number,
            slot,
            shared_location: staged.shared_location,
            n_samples: staged.n_samples,
            load: staged.timings.load,
            fill: staged.timings.fill,
            verify: staged.verify,
            confirm_until: confirm
                .map(|confirm| Instant(Instant::now().0.saturating_add(confirm.as_secs() as u32))),
        })
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

    /// Frees generations that the state word no longer names, once no program runs them any more, and adds
    /// their counters to the totals. The daemon calls it every second.
    pub fn tidy(&mut self) -> Result<(), DataplaneError> {
        let word = self.shared.word();
        let is_named = |slot: u8| slot == word.active || slot == word.previous;
        if self.generations.iter().all(|(slot, _)| is_named(*slot)) {
            return Ok(());
        }
        sys::wait_for_readers()
            .map_err(|error| DataplaneError::kernel("waiting for running programs", &error))?;
        let (named, retired) = std::mem::take(&mut self.generations)
            .into_iter()
            .partition(|(slot, _)| is_named(*slot));
        self.generations = named;
        for (slot, generation) in retired {
            self.totals.add_retired(&generation)?;
            self.shared.clear_slot(slot)?;
            pins::remove_dir(&generation.dir).map_err(|error| {
                DataplaneError::kernel(format!("removing {}", generation.dir.display()), &error)
            })?;
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
