//! Attaching. An absent interface is a problem, never fatal; one that appears later is attached when it does.

use std::collections::BTreeMap;

use probe_common::scope::dimension;

use super::Engine;
use crate::{
    daemon::problems::Topic,
    dataplane::{Attached, Change, DataplaneError, Mode},
    host::{ModeChoice, Tampering},
    link::{self, Features, Link, Obstacle, Place},
};

/// Interfaces that this process found or made attached.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    /// Name and index.
    known: BTreeMap<String, u32>,
    /// Index of those that run in skb mode although native was allowed, and why.
    slow: BTreeMap<u32, String>,
}

impl Attachments {
    /// Makes every configured interface one to attach to again.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

impl Engine {
    /// Attaches to configured interfaces that are not attached to, if there is a policy to enforce and the failsafe
    /// prefixes are in the kernel. What `cordon detach --even-if-running` took away stays away: somebody wanted it so.
    /// One that lost its link otherwise is attached again, unless the host file says `tampering = "report"`.
    pub(super) fn attach_missing(&mut self) {
        self.attach_wanted();
        self.note_interfaces();
    }

    fn attach_wanted(&mut self) {
        if !self.is_attaching_wanted() {
            return self.end_gaps();
        }
        let attached = match self.dataplane.interfaces() {
            Ok(attached) => attached,
            Err(error) => {
                let text = format!("cannot list the interfaces attached to: {error}");
                return self.problems.set(Topic::Interfaces, text);
            }
        };
        self.problems.clear(&Topic::Interfaces);
        for (ifname, obstacle) in self.network.placement.obstacles.clone() {
            let text = match obstacle {
                Obstacle::Absent { .. } | Obstacle::NoMatch { .. } => obstacle.to_string(),
                _ => format!("cannot attach to {ifname}: {obstacle}"),
            };
            self.problems.set(Topic::Interface(ifname), text);
        }
        let places = self.network.placement.places.clone();
        self.open_gaps(&places, &attached);
        for place in places.clone() {
            let topic = Topic::Interface(place.configured.clone());
            let result = self.attach_one(&place, &attached);
            match result.and_then(|()| self.sees_vlans(&place)) {
                Ok(()) => self.problems.clear(&topic),
                Err(text) => self.problems.set(topic, text),
            }
        }
        self.close_gaps(&places);
    }

    /// Whether there is anything to enforce.
    pub(super) fn is_attaching_wanted(&self) -> bool {
        let has_baseline = self
            .in_force
            .as_ref()
            .is_some_and(|in_force| in_force.is_baseline);
        let has_halts = self.has_halted_services();
        self.dataplane
            .state()
            .is_ok_and(|state| !state.is_empty && (!has_baseline || state.halted.is_some() || has_halts))
    }

    fn attach_one(&mut self, place: &Place, attached: &[Attached]) -> Result<(), String> {
        let (ifname, ifindex) = (&place.ifname, place.ifindex);
        if place.vlan.is_some() && !self.network.has_vlan_filter {
            let is_whole = |other: &Place| other.ifindex == ifindex && other.vlan.is_none();
            if !self.network.placement.places.iter().any(is_whole) {
                let ifname = place.configured.clone();
                return Err(Obstacle::LateVlan { ifname }.to_string());
            }
        }
        if let Some(entry) = attached.iter().find(|entry| entry.ifindex == ifindex) {
            self.attachments.known.insert(ifname.clone(), ifindex);
            return self.is_as_wanted(entry);
        }
        let was_attached = self.attachments.known.get(ifname) == Some(&ifindex);
        let is_left = self.settings.host.tampering == Tampering::Report;
        if was_attached && (is_left || self.dataplane.is_taken_away()) {
            return Err(format!(
                "interface {ifname} was detached by somebody: restart the daemon to attach again"
            ));
        }
        if self.problems.has(&Topic::Failsafe) {
            return Err(format!(
                "not attached to {ifname}: the failsafe prefixes could not be set; tried again every second"
            ));
        }
        if self.network.has_vlan_filter && self.problems.has(&Topic::Network) {
            return Err(format!(
                "not attached to {ifname}: the VLANs to judge could not be set; tried again every second"
            ));
        }
        let entry = self
            .attach(ifname, ifindex)
            .map_err(|text| format!("cannot attach to {ifname}: {text}"))?;
        tracing::info!(ifname, ifindex, mode = ?entry.mode, "attached");
        if was_attached {
            self.note_change(&Change {
                what: format!("the link on {ifname} was detached"),
                is_repaired: true,
            });
        }
        self.attachments.known.insert(ifname.clone(), ifindex);
        self.is_as_wanted(&entry)
    }

    /// Native first, where that is allowed, so that the reason is known if it has to be skb.
    fn attach(&mut self, ifname: &str, ifindex: u32) -> Result<Attached, String> {
        let choice = self.settings.host.mode;
        let features = features(ifname);
        let has_vlans = self
            .network
            .placement
            .vlans()
            .iter()
            .any(|(it, _)| *it == ifindex);
        let link = self.link(ifindex);
        if let Some(obstacle) = link::check(&link, &features, has_vlans) {
            return Err(obstacle.to_string());
        }
        let first = match choice {
            ModeChoice::AllowSkb => ModeChoice::RequireNative,
            choice => choice,
        };
        let error = match self.dataplane.attach(ifname, first) {
            Ok(entry) => return Ok(entry),
            Err(error) => error,
        };
        let obstacle = self.advise(ifindex, &features, &error);
        if choice != ModeChoice::AllowSkb || !matches!(error, DataplaneError::NoNative { .. }) {
            return Err(obstacle.text(choice));
        }
        let entry = self
            .dataplane
            .attach(ifname, ModeChoice::Skb)
            .map_err(|error| self.advise(ifindex, &features, &error).text(choice))?;
        self.attachments.slow.insert(ifindex, obstacle.text(choice));
        Ok(entry)
    }

    /// A card takes VLAN tags off unless it is told not to, and anybody can tell it so at any time.
    fn sees_vlans(&self, place: &Place) -> Result<(), String> {
        let (ifname, vlans) = (place.ifname.clone(), self.network.placement.vlans());
        let is_filtered = vlans.iter().any(|(ifindex, _)| *ifindex == place.ifindex);
        let mut images = [&self.in_force, &self.fallback].into_iter().flatten();
        let is_scoped = images.any(|in_force| in_force.image.scopes.dimensions & dimension::VLAN != 0);
        if !(is_filtered || is_scoped) || !features(&ifname).rx_vlan {
            return Ok(());
        }
        Err(match is_filtered {
            true => Obstacle::VlanOffload { ifname }.to_string(),
            false => Obstacle::VlanScope { ifname }.to_string(),
        })
    }

    /// An interface in skb mode is judged, but not as the host file would have it.
    fn is_as_wanted(&mut self, entry: &Attached) -> Result<(), String> {
        let ifname = &entry.ifname;
        match (entry.mode, self.settings.host.mode) {
            (Mode::Native, ModeChoice::Skb) => Err(format!(
                "{ifname} is attached in native mode, as before: for `xdp_mode = \"skb\"`, `cordon detach` and restart the \
                 daemon"
            )),
            (Mode::Skb, ModeChoice::RequireNative) => Err(format!(
                "{ifname} is attached in the slower skb mode, as before: for `xdp_mode = \"require-native\"`, \
                 `cordon detach` and restart the daemon"
            )),
            (Mode::Skb, ModeChoice::AllowSkb) => {
                if !self.attachments.slow.contains_key(&entry.ifindex) {
                    // It was attached by an earlier process.
                    let link = self.link(entry.ifindex);
                    let why = link::why_skb(&link, &self.network.links, &features(ifname));
                    self.attachments.slow.insert(entry.ifindex, why.to_string());
                }
                let why = &self.attachments.slow[&entry.ifindex];
                Err(format!("{ifname} runs in the slower skb mode: {why}"))
            }
            (Mode::Native, _) | (Mode::Skb, ModeChoice::Skb) => {
                self.attachments.slow.remove(&entry.ifindex);
                Ok(())
            }
        }
    }

    /// A fresh look, for an answer: a program or an MTU may have changed since the last one.
    fn advise(&self, ifindex: u32, features: &Features, error: &DataplaneError) -> Obstacle {
        let links = link::snapshot().unwrap_or_default();
        match link::by_index(&links, ifindex) {
            Some(link) => link::advise(link, &links, features, error),
            None => Obstacle::Other(error.to_string()),
        }
    }

    fn link(&self, ifindex: u32) -> Link {
        link::by_index(&self.network.links, ifindex)
            .cloned()
            .unwrap_or_default()
    }

    /// Detaches from interfaces that the host file does not name any more. Only at start, when the file was read.
    pub(super) fn detach_unlisted(&mut self) {
        let Ok(attached) = self.dataplane.interfaces() else {
            return;
        };
        // It may be the absent one by another name: a renamed interface must not be left open.
        let obstacles = &self.network.placement.obstacles;
        let absent = obstacles
            .iter()
            .find(|(_, obstacle)| matches!(obstacle, Obstacle::Absent { .. } | Obstacle::NoMatch { .. }));
        if let Some((absent, _)) = absent {
            tracing::warn!("{absent} is absent: what the host file does not name stays attached");
            return;
        }
        let places = &self.network.placement.places;
        let listed: Vec<u32> = places.iter().map(|place| place.ifindex).collect();
        for entry in attached {
            // An interface may have been renamed in the system and in the host file: its index counts.
            if entry.ifindex == 0 || listed.contains(&entry.ifindex) || self.may_be_configured(&entry.ifname)
            {
                continue;
            }
            tracing::warn!(ifname = entry.ifname, "not in the host file any more: detaching");
            let result = self.dataplane.detach(&entry.ifname);
            self.problems.note(
                Topic::Interface(entry.ifname.clone()),
                "cannot detach from an interface that the host file does not name",
                result,
            );
        }
    }

    /// Whether the host file names it, or means it by a pattern. What has a device behind it is known by its place.
    pub(super) fn may_be_configured(&self, ifname: &str) -> bool {
        let mut entries = self.configured().filter(|entry| *entry != link::ALL_PHYSICAL);
        entries.any(|entry| link::may_mean(entry, ifname))
    }

    pub(super) fn configured(&self) -> impl Iterator<Item = &str> {
        self.settings
            .host
            .interfaces
            .iter()
            .map(|name| name.value.as_str())
    }
}

/// What the driver says; nothing, if it cannot be asked.
fn features(ifname: &str) -> Features {
    link::features(ifname).unwrap_or_default()
}
