//! All exemptions of a host.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::Exemption;
use crate::instant::Instant;

/// Prefix and reference: what names an exemption.
type Name = (IpNet, Arc<str>);

/// Exemptions, sorted by prefix and reference. Several references may hold one prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    by_name: BTreeMap<Name, Arc<Exemption>>,
}

/// How many exemptions differ between two lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Only in the later one.
    pub added: usize,
    /// In both, with different contents.
    pub changed: usize,
    /// Only in the earlier one.
    pub removed: usize,
}

impl List {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Exemption>> {
        self.by_name.values()
    }

    /// The exemption of a prefix with a reference.
    pub fn get(&self, prefix: &IpNet, reference: &str) -> Option<&Arc<Exemption>> {
        self.by_name.get(&(*prefix, Arc::from(reference)))
    }

    /// Adds one, or puts it in the place of the one with its prefix and reference; gives that one.
    pub fn insert(&mut self, exemption: Exemption) -> Option<Arc<Exemption>> {
        let name = (exemption.prefix, Arc::from(exemption.reference.as_str()));
        self.by_name.insert(name, Arc::new(exemption))
    }

    /// Removes those that a predicate holds for.
    pub fn remove_if(&mut self, is_out: impl Fn(&Exemption) -> bool) -> Vec<Arc<Exemption>> {
        let mut removed = Vec::new();
        self.by_name.retain(|_, exemption| {
            let is_kept = !is_out(exemption);
            if !is_kept {
                removed.push(Arc::clone(exemption));
            }
            is_kept
        });
        removed
    }

    /// Those that cover an address, whether they are over or not.
    pub fn covering(&self, address: IpAddr) -> impl Iterator<Item = &Exemption> {
        let covering = self
            .iter()
            .filter(move |exemption| exemption.prefix.contains(&address));
        covering.map(Arc::as_ref)
    }

    /// The first end of all.
    pub fn first_end(&self) -> Option<Instant> {
        self.iter().map(|exemption| exemption.until).min()
    }

    /// How a later list differs from this one.
    pub fn changes_to(&self, later: &Self) -> Changes {
        let mut changes = Changes::default();
        for (name, exemption) in &later.by_name {
            match self.by_name.get(name) {
                None => changes.added += 1,
                Some(known) if known.says_the_same_as(exemption) => {}
                Some(_) => changes.changed += 1,
            }
        }
        let is_gone = |name: &&Name| !later.by_name.contains_key(*name);
        changes.removed = self.by_name.keys().filter(is_gone).count();
        changes
    }

    /// Keeps of an earlier list when and by whom was granted what says the same.
    pub fn keep_grants_of(&mut self, earlier: &Self) {
        for (name, exemption) in &mut self.by_name {
            if let Some(known) = earlier.by_name.get(name)
                && known.says_the_same_as(exemption)
            {
                *exemption = Arc::clone(known);
            }
        }
    }
}
