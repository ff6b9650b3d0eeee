//! What the numbers in an event stand for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::geo::Location;

/// Generations whose names are kept: an event may have been written before the last publish.
const MAX_GENERATIONS: usize = 4;

/// Names, as the engine knows them now.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The generations that events may come from, the newest last.
    generations: Vec<(u32, Arc<GenerationNames>)>,
    /// Interfaces by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Name of the policy in force.
    pub policy: Option<String>,
    /// Whether it reports any verdicts: `[events]`.
    pub is_reporting: bool,
}

/// Names of a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationNames {
    /// Classes, by number.
    pub classes: Vec<String>,
}

impl GenerationNames {
    /// The class names of a location.
    pub fn new(location: &Location) -> Self {
        let n = u16::try_from(location.classes.len()).unwrap_or(u16::MAX);
        Self {
            classes: (0..n)
                .map(|class| location.classes.name(class).to_owned())
                .collect(),
        }
    }
}

impl Naming {
    /// Notes a generation; an early one is forgotten.
    pub fn add(&mut self, number: u32, names: Arc<GenerationNames>) {
        self.generations.retain(|(other, _)| *other != number);
        self.generations.push((number, names));
        if self.generations.len() > MAX_GENERATIONS {
            self.generations.remove(0);
        }
    }

    /// Whether a generation is known.
    pub fn knows(&self, number: u32) -> bool {
        self.generations.iter().any(|(other, _)| *other == number)
    }

    /// Name of a generation's class.
    pub fn class(&self, generation: u32, class: u16) -> String {
        self.generations
            .iter()
            .find(|(number, _)| *number == generation)
            .and_then(|(_, names)| names.classes.get(usize::from(class)).cloned())
            .unwrap_or_else(|| format!("class-{class}"))
    }

    /// The classes of all generations that events may come from.
    pub fn classes(&self) -> BTreeSet<&str> {
        let generations = self.generations.iter();
        generations
            .flat_map(|(_, names)| names.classes.iter().map(String::as_str))
            .collect()
    }

    /// Name of an interface.
    pub fn interface(&self, ifindex: u32) -> String {
        let name = self.interfaces.get(&ifindex).cloned();
        name.unwrap_or_else(|| format!("if{ifindex}"))
    }
}
