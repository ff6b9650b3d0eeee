//! Taking up what an earlier process left in the kernel.

use std::path::Path;

use probe_common::{
    StateWord,
    limits::{N_SLOTS, NO_SLOT},
};

use super::{Dataplane, DataplaneError, generation::Generation, pins};

impl Dataplane {
    /// Finds the pinned generations that the state word names, and deletes what it does not name: leftovers of a
    /// process that died while it was publishing.
    pub(super) fn adopt(&mut self) -> Result<(), DataplaneError> {
        let word = self.shared.word();
        let named = |slot: u8| slot != NO_SLOT && (slot == word.active || slot == word.previous);
        let mut in_force = Vec::new();
        for slot in 0..N_SLOTS as u8 {
            match self.shared.slot(slot)? {
                Some(program_id) if named(slot) => in_force.push((slot, program_id)),
                Some(_) => self.shared.clear_slot(slot)?,
                None => {}
            }
        }
        let mut unreadable = Vec::new();
        for (number, dir) in self.pins.generations() {
            self.last_number = self.last_number.max(number);
            let opened = Generation::open(&dir);
            let its_slot = opened.as_ref().ok().and_then(|generation| {
                let is_its = |(_, program_id): &&(u8, u32)| *program_id == generation.program_id;
                in_force.iter().find(is_its).map(|(slot, _)| *slot)
            });
            match (opened, its_slot) {
                (Ok(generation), Some(slot)) => self.generations.push((slot, generation)),
                (Err(error), _) => unreadable.push((dir, error)),
                (Ok(_), None) => remove(&dir)?,
            }
        }
        let mut is_complete = true;
        for (slot, _) in &in_force {
            if self.generation(*slot).is_none() {
                is_complete = false;
                tracing::warn!(
                    slot,
                    "a slot in force has no pinned generation; it stays until the next publish"
                );
            }
        }
        for (dir, error) in unreadable {
            match is_complete {
                // Of a process that died while it pinned them.
                true => remove(&dir)?,
                // It may be the one that a slot in force runs: better a leftover than a generation nobody can reach.
                false => tracing::warn!("left as it is: {error}"),
            }
        }
        // A new map reads as "slot 0"; say "no slot" instead.
        if in_force.is_empty() {
            self.shared.store_word(StateWord::EMPTY);
        }
        Ok(())
    }
}

fn remove(dir: &Path) -> Result<(), DataplaneError> {
    let removed = pins::remove_dir(dir);
    removed.map_err(|error| DataplaneError::kernel(format!("removing {}", dir.display()), &error))?;
    Ok(())
}
