//! What the kernel side must know of this host's network: interfaces, own addresses, targets of redirects, DHCP
//! servers. Told again whenever netlink says that something changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use ipnet::IpNet;
use probe_common::{Target, limits::MAX_INTERFACES, name_key};

use super::{Engine, InForce};
use crate::{
    compile::Image,
    daemon::{problems::Topic, surroundings},
    dataplane::DataplaneError,
    link::{self, Kind, Link, Obstacle, Placement},
};

/// Ethernet header without VLAN tags.
const ETHERNET_HEADER_LEN: u32 = 14;
/// One tag may be longer than the MTU says, here as in the kernel (`is_skb_forwardable` in net/core/dev.c).
const VLAN_TAG_LEN: u32 = 4;
/// Most leases taken note of: failsafe prefixes are for people first.
const MAX_LEASES: usize = 64;

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// All interfaces of this network namespace.
    pub links: Vec<Link>,
    /// Where the configured ones are judged.
    pub placement: Placement,
    /// Whether the entry program tells VLANs apart; decided when the dataplane is opened.
    pub has_vlan_filter: bool,
    /// Interfaces of which only some VLANs are judged. An entry stays while the interface does: without it, all of
    /// the interface would be judged.
    vlans: BTreeSet<(u32, u16)>,
    /// Redirects whose targets were told.
    targets: BTreeSet<String>,
    /// DHCP servers of current leases.
    leases: Vec<IpAddr>,
}

impl Network {
    /// The first look, before the dataplane is opened. An error is told by the next one.
    pub fn new<'a>(configured: impl IntoIterator<Item = &'a str>) -> Self {
        let links = link::snapshot().unwrap_or_default();
        let placement = link::place(configured, &links);
        Self {
            // One that is absent may turn out to be a VLAN device.
            has_vlan_filter: !placement.vlans().is_empty() || has_absent(&placement),
            vlans: BTreeSet::new(),
            targets: BTreeSet::new(),
            placement,
            links,
            leases: current_leases(),
        }
    }
}

impl Engine {
    /// Takes a new look at the network and tells the kernel what it needs to know of it.
    pub(super) fn look_at_network(&mut self) {
        match link::snapshot() {
            Ok(links) => self.network.links = links,
            Err(error) => {
                let text = format!("cannot read the interfaces: {error}; tried again every second");
                return self.problems.set(Topic::Network, text);
            }
        }
        let configured: Vec<&str> = self.configured().collect();
        let placement = link::place(configured, &self.network.links);
        self.network.placement = placement;
        let told = self.tell_network();
        self.problems.note(
            Topic::Network,
            "cannot tell the kernel about interfaces and addresses",
            told,
        );
        self.set_targets(None);
        self.look_at_mpls();
    }

    fn tell_network(&mut self) -> Result<(), DataplaneError> {
        let links = &self.network.links;
        let mut names: Vec<(u32, String)> = links
            .iter()
            .map(|link| (link.ifindex, link.name.clone()))
            .collect();
        // A host of many containers has more than the table holds. Packets are judged on those of the host file.
        let places = &self.network.placement.places;
        names.sort_by_key(|(ifindex, _)| !places.iter().any(|place| place.ifindex == *ifindex));
        names.truncate(MAX_INTERFACES as usize);
        let own: BTreeSet<IpAddr> = links.iter().flat_map(|link| link.addresses.clone()).collect();
        let own: Vec<IpAddr> = own.into_iter().collect();
        // Each by itself: one that fails must not leave the others as they were.
        let interfaces = self.dataplane.set_interfaces(&names);
        let addresses = self.dataplane.set_own_addresses(&own);
        let vlans = if self.network.has_vlan_filter {
            self.tell_vlans()
        } else {
            Ok(())
        };
        interfaces.and(addresses).and(vlans)
    }

    fn tell_vlans(&mut self) -> Result<(), DataplaneError> {
        let network = &mut self.network;
        network.vlans.extend(network.placement.vlans());
        let links = &network.links;
        network
            .vlans
            .retain(|(ifindex, _)| link::by_index(links, *ifindex).is_some());
        // Until an absent VLAN device comes, what an earlier process told holds.
        if network.vlans.is_empty() && has_absent(&network.placement) {
            return Ok(());
        }
        let vlans: Vec<(u32, u16)> = network.vlans.iter().copied().collect();
        self.dataplane.set_vlans(&vlans)
    }

    /// Tells where redirects go: those of the policies in force and of one that is about to be.
    pub(super) fn set_targets(&mut self, next: Option<&Image>) {
        let known = [&self.in_force, &self.fallback];
        let images = known.into_iter().flatten().map(|InForce { image, .. }| &**image);
        let names: BTreeSet<String> = images
            .chain(next)
            .flat_map(|image| image.redirects.clone())
            .collect();
        let targets = targets(&names, &self.network.targets, &self.network.links);
        let result = self.dataplane.set_targets(&targets);
        if result.is_ok() {
            self.network.targets = names;
        }
        self.problems
            .note(Topic::Targets, "cannot set the targets of redirects", result);
        self.note_redirects();
    }

    /// Which redirects of the policy in force have nowhere to go now.
    pub(super) fn note_redirects(&mut self) {
        let image = self.in_force.as_ref().map(|in_force| &in_force.image);
        let found = image.map_or_else(BTreeMap::new, |image| gone(image, &self.network.links));
        self.problems
            .replace(|topic| matches!(topic, Topic::Redirect(_)), found);
    }

    /// MPLS frames are nothing to judge by: where Linux unpacks them, what is in them passes.
    fn look_at_mpls(&mut self) {
        let found = judged(&self.network.links, &self.network.placement)
            .into_iter()
            .filter(|ifname| surroundings::takes_mpls(Path::new("/"), ifname))
            .map(|ifname| {
                let sysctl = surroundings::mpls_sysctl(ifname);
                let text = format!(
                    "{ifname} takes MPLS frames, and what is in them passes uninspected: set {sysctl} to 0, as in \
                     `sysctl -w {sysctl}=0`"
                );
                (Topic::Mpls(ifname.to_owned()), text)
            })
            .collect();
        self.problems
            .replace(|topic| matches!(topic, Topic::Mpls(_)), found);
    }

    /// Takes note of leases that came or went.
    pub(super) fn look_at_leases(&mut self) {
        let leases = current_leases();
        if leases != self.network.leases {
            tracing::info!(servers = ?leases, "the DHCP servers of this host's leases are failsafe");
            self.network.leases = leases;
            self.set_failsafe();
        }
    }

    /// The host file's failsafe prefixes and the DHCP servers of current leases.
    pub(super) fn failsafe_prefixes(&self) -> Vec<IpNet> {
        let mut prefixes = self.settings.failsafe_prefixes();
        for server in &self.network.leases {
            if !prefixes.iter().any(|prefix| prefix.contains(server)) {
                prefixes.push(IpNet::from(*server));
            }
        }
        prefixes
    }
}

fn has_absent(placement: &Placement) -> bool {
    let mut obstacles = placement.obstacles.iter();
    obstacles.any(|(_, obstacle)| matches!(obstacle, Obstacle::Absent { .. } | Obstacle::NoMatch { .. }))
}

fn current_leases() -> Vec<IpAddr> {
    let mut leases = surroundings::dhcp_servers(Path::new("/"));
    leases.truncate(MAX_LEASES);
    leases
}

/// Each redirect, with its target if that can take frames now; and those that are no longer any.
fn targets(
    names: &BTreeSet<String>,
    told: &BTreeSet<String>,
    links: &[Link],
) -> Vec<(String, Option<Target>)> {
    let find = |name: &String| link::by_name(links, name).and_then(|link| target(link).ok());
    let wanted = names.iter().map(|name| (name.clone(), find(name)));
    let gone = told.difference(names).map(|name| (name.clone(), None));
    wanted.chain(gone).collect()
}

/// The target that a link is, or what keeps it from being one and what to do.
fn target(link: &Link) -> Result<Target, [&'static str; 2]> {
    let other = "name another interface in the policy";
    if link.kind == Kind::Loopback {
        // Nothing comes out of it but at this host.
        return Err(["is the loopback interface", other]);
    }
    if !link.is_ethernet {
        return Err(["does not carry Ethernet frames", other]);
    }
    if !link.is_up {
        return Err(["is down or has no carrier", "set it up"]);
    }
    Ok(Target {
        ifindex: link.ifindex,
        max_len: link.mtu.saturating_add(ETHERNET_HEADER_LEN + VLAN_TAG_LEN),
        mac: link.mac,
        reserved: [0; 2],
    })
}

/// The redirects that have nowhere to go, each with what that means.
fn gone(image: &Image, links: &[Link]) -> BTreeMap<Topic, String> {
    let mut found = BTreeMap::new();
    for ifname in &image.redirects {
        let [what, fix] = match link::by_name(links, ifname).map(target) {
            Some(Ok(_)) => continue,
            Some(Err(obstacle)) => obstacle,
            None => ["does not exist", "make it, or name another one in the policy"],
        };
        let key = name_key(ifname);
        let tiers = image.tiers.iter().zip(&image.tier_names);
        let names: Vec<&str> = tiers
            .filter(|(tier, _)| tier.target == key)
            .map(|(_, name)| name.as_str())
            .collect();
        let text = format!(
            "interface {ifname} {what}: packets that tier {} redirects there drop (redirect_gone); {fix}",
            names.join(", ")
        );
        found.insert(Topic::Redirect(ifname.clone()), text);
    }
    found
}

/// The configured interfaces, and those that frames get to through them: VLAN devices on them, the bridge that they
/// are ports of.
fn judged<'a>(links: &'a [Link], placement: &Placement) -> Vec<&'a str> {
    let configured = placement.places.iter().map(|place| &place.configured);
    let mut found: BTreeSet<u32> = configured
        .filter_map(|name| Some(link::by_name(links, name)?.ifindex))
        .collect();
    loop {
        let n_found = found.len();
        for link in links {
            if link.parent.is_some_and(|parent| found.contains(&parent)) {
                found.insert(link.ifindex);
            }
            if found.contains(&link.ifindex) {
                found.extend(link.master);
            }
        }
        if found.len() == n_found {
            break;
        }
    }
    let links = links.iter().filter(|link| found.contains(&link.ifindex));
    links.map(|link| link.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_goes_where_frames_are_taken() {
        let link = |name: &str, is_up| Link {
            ifindex: 4,
            name: name.to_owned(),
            mtu: 1500,
            mac: [2, 0, 0, 0, 0, 7],
            is_ethernet: true,
            is_up,
            ..Link::default()
        };
        let links = [link("up0", true), link("down0", false)];
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let found = targets(&set(&["absent0", "down0", "up0"]), &set(&["up0", "was0"]), &links);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["absent0", "down0", "up0", "was0"]);
        assert!(found[3].1.is_none(), "no policy redirects there any more");
        assert!(found[0].1.is_none() && found[1].1.is_none());
        let target = found[2].1.unwrap();
        assert_eq!((target.ifindex, target.max_len), (4, 1518));
        assert_eq!(target.mac, [2, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn frames_get_from_a_judged_interface_to_those_above_it() {
        let link = |ifindex, name: &str, parent, master| Link {
            ifindex,
            name: name.to_owned(),
            is_ethernet: true,
            parent,
            master,
            ..Link::default()
        };
        // An index says nothing about the order in which they were made.
        let links = [
            link(1, "eth0.5.6", Some(2), None),
            link(2, "eth0.5", Some(3), None),
            link(3, "eth0", None, Some(7)),
            link(4, "eth1", None, Some(7)),
            link(5, "eth1.5", Some(4), None),
            link(7, "br0", None, None),
        ];
        let names = |configured: &str| judged(&links, &link::place([configured], &links));
        assert_eq!(names("eth0"), ["eth0.5.6", "eth0.5", "eth0", "br0"]);
        assert_eq!(names("eth1.5"), ["eth1.5"]);
        assert_eq!(names("absent0"), [""; 0]);
    }
}
