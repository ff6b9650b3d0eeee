//! Whether what is to be enforced is enforced: what systemd is told at the start, and what `cordon restore` ends with.

use super::{Engine, InForce};
use crate::{
    daemon::problems::Topic,
    link::{self, Obstacle},
};

/// How often the line that systemd shows is written anew; besides after what was asked for.
const SENTENCE_INTERVAL_S: u64 = 10;

impl Engine {
    /// Says to systemd how the host stands. The start is over once nothing is [`Self::unverified`].
    pub(super) fn notify(&mut self) {
        if !self.notifier.is_ready() {
            match self.unverified().as_slice() {
                [] => {
                    self.notifier.ready();
                    self.notifier.status(&self.status().sentence);
                }
                why => self.notifier.starting(&why.join("; ")),
            }
        } else if self.n_ticks.is_multiple_of(SENTENCE_INTERVAL_S) {
            self.notifier.status(&self.status().sentence);
        }
        self.notifier.alive();
    }

    /// What is not as the stored policy and the host file want it: content that is not verified, interfaces that are
    /// there and not judged. One that is absent holds nothing up, and a host without policy or interfaces has nothing
    /// to verify.
    pub(super) fn unverified(&self) -> Vec<String> {
        let state = match self.dataplane.state() {
            Ok(state) => state,
            Err(error) => return vec![format!("cannot read the kernel's state: {error}")],
        };
        if !self.store.has_policy() && state.active.is_none() {
            return Vec::new();
        }
        let mut found = Vec::new();
        // Set only for what was recognised by its digest, or verified sample by sample when it was published.
        let is_verified = |in_force: &InForce| !(in_force.is_baseline && self.store.has_policy());
        if ![&self.in_force, &self.fallback]
            .into_iter()
            .flatten()
            .any(is_verified)
        {
            let why = [Topic::Policy, Topic::StoredPolicy, Topic::StoredPending];
            let why = why.iter().find_map(|topic| self.problems.text(topic));
            found.push(why.unwrap_or("no stored policy is in force").to_owned());
        }
        found.extend(self.unattached());
        found
    }

    /// The interfaces that are there and should be judged, but are not, and why.
    fn unattached(&self) -> Vec<String> {
        if !self.is_attaching_wanted() {
            return Vec::new();
        }
        let attached = match self.dataplane.interfaces() {
            Ok(attached) => attached,
            Err(error) => return vec![format!("cannot list the interfaces attached to: {error}")],
        };
        let placement = &self.network.placement;
        let open = placement.places.iter().filter(|place| {
            let mut attached = attached.iter();
            !attached.any(|attached| attached.ifindex == place.ifindex)
        });
        let open = open.map(|place| place.configured.clone());
        let hindered = placement
            .obstacles
            .iter()
            .filter(|(_, obstacle)| !matches!(obstacle, Obstacle::Absent { .. }));
        let hindered = hindered.map(|(ifname, _)| ifname.clone());
        open.chain(hindered)
            // It may have gone since the last look.
            .filter(|ifname| link::by_name(&self.network.links, ifname).is_some())
            .map(|ifname| {
                let why = self.problems.text(&Topic::Interface(ifname.clone()));
                why.map_or_else(|| format!("not attached to {ifname}"), str::to_owned)
            })
            .collect()
    }
}
