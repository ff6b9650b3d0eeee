//! Where the interfaces of the host file are judged: mostly on themselves, a VLAN device on the interface below it.
//! Pure.

use super::{Kind, Link, Obstacle, by_index, by_name, select};

/// Where one interface of the host file is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The interface that the host file means, by its name or otherwise.
    pub configured: String,
    /// The interface to attach to.
    pub ifname: String,
    /// Its index.
    pub ifindex: u32,
    /// The only VLAN to be judged there on behalf of this entry.
    pub vlan: Option<u16>,
}

/// Where all of them are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Those that can be attached to, in the order of the host file.
    pub places: Vec<Place>,
    /// Those that cannot: the name in the host file and what stands in the way.
    pub obstacles: Vec<(String, Obstacle)>,
}

impl Placement {
    fn add(&mut self, name: &str, links: &[Link]) {
        let is_known = |place: &Place| place.configured == name;
        if self.places.iter().any(is_known) || self.obstacles.iter().any(|(known, _)| known == name) {
            return;
        }
        match place_one(name, links) {
            Ok(place) => self.places.push(place),
            Err(obstacle) => self.obstacles.push((name.to_owned(), obstacle)),
        }
    }

    /// Interfaces of which only some VLANs are judged, once for each VLAN. One that is named itself is judged
    /// whole.
    pub fn vlans(&self) -> Vec<(u32, u16)> {
        let is_whole = |ifindex| {
            self.places
                .iter()
                .any(|place| place.ifindex == ifindex && place.vlan.is_none())
        };
        self.places
            .iter()
            .filter(|place| !is_whole(place.ifindex))
            .filter_map(|place| Some((place.ifindex, place.vlan?)))
            .collect()
    }
}

/// Finds the place of each interface. One that several entries mean has one place.
pub fn place<'a>(configured: impl IntoIterator<Item = &'a str>, links: &[Link]) -> Placement {
    let mut placement = Placement::default();
    for name in configured {
        if !select::is_wide(name) {
            placement.add(name, links);
            continue;
        }
        let chosen = select::chosen(name, links);
        if chosen.is_empty() {
            let entry = name.to_owned();
            placement
                .obstacles
                .push((name.to_owned(), Obstacle::NoMatch { entry }));
        }
        for link in chosen {
            placement.add(&link.name, links);
        }
    }
    placement
}

fn place_one(name: &str, links: &[Link]) -> Result<Place, Obstacle> {
    let ifname = name.to_owned();
    let Some(link) = by_name(links, name) else {
        return Err(Obstacle::Absent { ifname });
    };
    if !link.is_ethernet && link.kind != Kind::Loopback {
        return Err(Obstacle::NotEthernet { ifname });
    }
    if let Some(bond) = link.master.and_then(|master| by_index(links, master))
        && matches!(bond.kind, Kind::Bond(_))
    {
        let bond = bond.name.clone();
        return Err(Obstacle::BondMember { ifname, bond });
    }
    if link.kind != Kind::Vlan {
        return Ok(Place {
            configured: ifname.clone(),
            ifname,
            ifindex: link.ifindex,
            vlan: None,
        });
    }
    let Some((parent, vlan)) = link
        .parent
        .and_then(|parent| by_index(links, parent))
        .zip(link.vlan_id)
    else {
        return Err(Obstacle::VlanElsewhere { ifname });
    };
    if parent.kind == Kind::Vlan {
        let below = parent.name.clone();
        return Err(Obstacle::StackedVlan { ifname, below });
    }
    Ok(Place {
        configured: ifname,
        ifname: parent.name.clone(),
        ifindex: parent.ifindex,
        vlan: Some(vlan),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, kind: Kind) -> Link {
        Link {
            ifindex,
            name: name.to_owned(),
            mtu: 1500,
            kind,
            is_ethernet: true,
            ..Link::default()
        }
    }

    fn vlan(ifindex: u32, name: &str, parent: Option<u32>, vlan_id: u16) -> Link {
        Link {
            parent,
            vlan_id: Some(vlan_id),
            ..link(ifindex, name, Kind::Vlan)
        }
    }

    #[test]
    fn a_vlan_device_is_judged_on_its_parent_and_only_that_vlan() {
        let links = [
            link(2, "eth0", Kind::Hardware),
            vlan(3, "eth0.5", Some(2), 5),
            vlan(4, "eth0.6", Some(2), 6),
        ];
        let placement = place(["eth0.5", "eth0.6"], &links);
        assert_eq!(placement.obstacles, []);
        let places: Vec<(&str, Option<u16>)> = placement
            .places
            .iter()
            .map(|place| (place.ifname.as_str(), place.vlan))
            .collect();
        assert_eq!(places, [("eth0", Some(5)), ("eth0", Some(6))]);
        assert_eq!(placement.vlans(), [(2, 5), (2, 6)]);
        let whole = place(["eth0", "eth0.5"], &links);
        assert_eq!(whole.vlans(), [], "the parent is judged whole");
    }

    #[test]
    fn what_cannot_be_judged_says_what_to_name_instead() {
        let member = Link {
            master: Some(4),
            ..link(2, "eth0", Kind::Hardware)
        };
        let port = Link {
            master: Some(5),
            ..link(3, "eth1", Kind::Hardware)
        };
        let tunnel = Link {
            is_ethernet: false,
            ..link(8, "wg0", Kind::Other("wireguard".to_owned()))
        };
        let links = [
            member,
            port,
            link(4, "bond0", Kind::Bond(1)),
            link(5, "br0", Kind::Bridge),
            vlan(6, "eth1.5", Some(3), 5),
            vlan(7, "eth1.5.6", Some(6), 6),
            tunnel,
            vlan(9, "far.5", None, 5),
        ];
        let names = [
            "eth0", "eth1", "bond0", "br0", "eth1.5.6", "wg0", "far.5", "absent0",
        ];
        let placement = place(names, &links);
        let places: Vec<&str> = placement
            .places
            .iter()
            .map(|place| place.ifname.as_str())
            .collect();
        assert_eq!(
            places,
            ["eth1", "bond0", "br0"],
            "a port of a bridge is judged by itself"
        );
        let text = |name: &str| {
            let obstacle = placement.obstacles.iter().find(|(other, _)| other == name);
            obstacle.unwrap().1.to_string()
        };
        assert!(text("eth0").contains("name bond0"), "{}", text("eth0"));
        assert!(text("eth1.5.6").contains("name eth1.5"), "{}", text("eth1.5.6"));
        assert!(text("wg0").contains("Ethernet"), "{}", text("wg0"));
        assert!(text("far.5").contains("namespace"), "{}", text("far.5"));
        assert!(text("absent0").contains("does not exist"), "{}", text("absent0"));
    }
}
