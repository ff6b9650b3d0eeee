//! What stands in the way of attaching, each with the command that takes it away. The kernel answers most refusals
//! with one of three error numbers: what is meant follows from the interface. Pure.

use super::{Features, Kind, Link, by_index};
use crate::{dataplane::DataplaneError, host::ModeChoice};

/// MTU up to which a frame fits into one page with what XDP needs around it: 4,096 bytes without 256 of headroom,
/// 320 for `skb_shared_info`, the Ethernet header and two VLAN tags. Most drivers set the limit there.
const ONE_PAGE_MTU: u32 = 3_498;

/// Bond modes without native XDP (`bond_xdp_check` in drivers/net/bonding): broadcast, balance-tlb, balance-alb.
const BOND_MODES_WITHOUT_XDP: [(u8, &str); 3] = [(3, "broadcast"), (5, "balance-tlb"), (6, "balance-alb")];

/// What stands in the way. No final full stop; begins so that it can follow "cannot attach: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// There is none of this name.
    #[error("interface {ifname} does not exist: attached as soon as it does")]
    Absent {
        /// The interface.
        ifname: String,
    },
    /// A pattern means none.
    #[error("no interface that could be judged matches {entry:?}: attached as soon as one does")]
    NoMatch {
        /// The entry of the host file.
        entry: String,
    },
    /// A bond's member: the bond would go on with its other members unjudged.
    #[error("{ifname} is a member of the bond {bond}: name {bond} in `interfaces` instead of its members")]
    BondMember {
        /// The interface.
        ifname: String,
        /// Its bond.
        bond: String,
    },
    /// The bond's mode.
    #[error(
        "the bond {ifname} is in mode {mode}, which has no native XDP: change it to active-backup, 802.3ad, \
         balance-rr or balance-xor, as in `ip link set dev {ifname} type bond mode 802.3ad`"
    )]
    BondMode {
        /// The bond.
        ifname: String,
        /// Its mode.
        mode: &'static str,
    },
    /// A VLAN in a VLAN.
    #[error(
        "{ifname} is a VLAN within the VLAN of {below}, and only outer tags are told apart: name {below} instead"
    )]
    StackedVlan {
        /// The interface.
        ifname: String,
        /// The VLAN device below it.
        below: String,
    },
    /// The interface below a VLAN device cannot be seen.
    #[error(
        "{ifname} is a VLAN of an interface in another network namespace: run cordon there, with that interface"
    )]
    VlanElsewhere {
        /// The interface.
        ifname: String,
    },
    /// Tags are gone before XDP sees the frame.
    #[error(
        "only some VLANs of {ifname} are to be judged, but it takes VLAN tags off before XDP sees them: \
         `ethtool -K {ifname} rxvlan off`"
    )]
    VlanOffload {
        /// The interface below the VLAN device.
        ifname: String,
    },
    /// The interface is judged, but not by VLAN.
    #[error(
        "services of the policy are told apart by VLAN, but {ifname} takes VLAN tags off before XDP sees them, so its \
         packets are judged as untagged ones: `ethtool -K {ifname} rxvlan off`"
    )]
    VlanScope {
        /// The interface.
        ifname: String,
    },
    /// VLAN devices are resolved when the dataplane is opened.
    #[error("{ifname} is a VLAN device that was not there when the daemon started: restart the daemon")]
    LateVlan {
        /// The VLAN device.
        ifname: String,
    },
    /// Frames without an Ethernet header would be read as something else.
    #[error(
        "{ifname} carries packets without an Ethernet header, which cordon cannot judge: name the interface that \
         they come by"
    )]
    NotEthernet {
        /// The interface.
        ifname: String,
    },
    /// Large receive offload.
    #[error(
        "{ifname} merges frames on receipt (LRO), which native XDP excludes: `ethtool -K {ifname} lro off`"
    )]
    Lro {
        /// The interface.
        ifname: String,
    },
    /// The MTU.
    #[error(
        "the MTU of {ifname} is {mtu}, and its driver has no native XDP at that: `ip link set dev {ifname} mtu {limit}` \
         (frames up to there fit into a page), or less if its driver wants less"
    )]
    Mtu {
        /// The interface.
        ifname: String,
        /// Its MTU.
        mtu: u32,
        /// What most drivers accept.
        limit: u32,
    },
    /// Native XDP needs queues of its own.
    #[error("{ifname} has too few free channels for native XDP{in_use}: `{fix}`")]
    Channels {
        /// The interface.
        ifname: String,
        /// How many are in use, if the driver says.
        in_use: String,
        /// What to run.
        fix: String,
    },
    /// A bridge.
    #[error(
        "the bridge {ifname} has no native XDP: name its ports instead, or the one that leads to the network"
    )]
    Bridge {
        /// The bridge.
        ifname: String,
    },
    /// Loopback and other interfaces made of software.
    #[error(
        "{ifname} is an interface of kind {kind}, which has no native XDP: name the one that the packets come by"
    )]
    Software {
        /// The interface.
        ifname: String,
        /// Its kind.
        kind: String,
    },
    /// The driver.
    #[error("the driver of {ifname} has no native XDP")]
    NoNative {
        /// The interface.
        ifname: String,
    },
    /// Somebody else's program.
    #[error(
        "{ifname} already runs an XDP program that is not cordon's{program}, and cordon never replaces one: see \
         `ip link show {ifname}` and `bpftool net show dev {ifname}`, and remove it with the tool that put it there"
    )]
    Foreign {
        /// The interface.
        ifname: String,
        /// Its id, if the kernel says.
        program: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Obstacle {
    /// Whether the slower skb mode would work.
    pub fn is_about_native(&self) -> bool {
        matches!(
            self,
            Self::BondMode { .. }
                | Self::Lro { .. }
                | Self::Mtu { .. }
                | Self::Channels { .. }
                | Self::Bridge { .. }
                | Self::Software { .. }
                | Self::NoNative { .. }
        )
    }

    /// The sentence for the operator: with what else there is to do in this mode.
    pub fn text(&self, mode: ModeChoice) -> String {
        match mode {
            ModeChoice::RequireNative if self.is_about_native() => {
                format!("{self}; or accept the slower skb mode: `xdp_mode = \"allow-skb\"` in the host file")
            }
            _ => self.to_string(),
        }
    }
}

/// What must be settled before attaching: a program could be attached, but would not judge what it should.
pub fn check(link: &Link, features: &Features, has_vlans: bool) -> Option<Obstacle> {
    (has_vlans && features.rx_vlan).then(|| Obstacle::VlanOffload {
        ifname: link.name.clone(),
    })
}

/// What a refusal to attach to an interface means.
pub fn advise(link: &Link, links: &[Link], features: &Features, error: &DataplaneError) -> Obstacle {
    let ifname = link.name.clone();
    match error {
        DataplaneError::ForeignProgram { .. } => Obstacle::Foreign {
            ifname,
            program: link.xdp.map_or_else(String::new, |id| format!(" (id {id})")),
        },
        DataplaneError::NoNative { error, .. } => {
            let is_short = matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::ENOMEM));
            match native_obstacle(link, links, features, is_short) {
                // The one case in which the number tells more than the interface.
                Obstacle::NoNative { ifname } => {
                    Obstacle::Other(format!("{} ({error})", Obstacle::NoNative { ifname }))
                }
                obstacle => obstacle,
            }
        }
        error => Obstacle::Other(error.to_string()),
    }
}

/// Why an interface runs in skb mode although native was allowed: as far as it can be told afterwards.
pub fn why_skb(link: &Link, links: &[Link], features: &Features) -> Obstacle {
    native_obstacle(link, links, features, false)
}

fn native_obstacle(link: &Link, links: &[Link], features: &Features, is_short: bool) -> Obstacle {
    let ifname = link.name.clone();
    if features.lro {
        return Obstacle::Lro { ifname };
    }
    if is_short {
        return channels(link, features);
    }
    match &link.kind {
        Kind::Bond(mode) => {
            if let Some((_, mode)) = BOND_MODES_WITHOUT_XDP.iter().find(|(other, _)| other == mode) {
                return Obstacle::BondMode { ifname, mode };
            }
            // A bond takes native XDP if all of its members do.
            let members: Vec<&str> = links
                .iter()
                .filter(|member| member.master.and_then(|it| by_index(links, it)) == Some(link))
                .map(|member| member.name.as_str())
                .collect();
            return Obstacle::Other(format!(
                "a member of the bond {ifname} has no native XDP ({}): see `ip -details link show master {ifname}`",
                members.join(", ")
            ));
        }
        Kind::Bridge => return Obstacle::Bridge { ifname },
        Kind::Loopback => {
            let kind = "loopback".to_owned();
            return Obstacle::Software { ifname, kind };
        }
        Kind::Hardware | Kind::Veth | Kind::Vlan | Kind::Other(_) => {}
    }
    if link.mtu > ONE_PAGE_MTU {
        return Obstacle::Mtu {
            ifname,
            mtu: link.mtu,
            limit: ONE_PAGE_MTU,
        };
    }
    match &link.kind {
        Kind::Other(kind) => Obstacle::Software {
            ifname,
            kind: kind.clone(),
        },
        _ => Obstacle::NoNative { ifname },
    }
}

fn channels(link: &Link, features: &Features) -> Obstacle {
    let ifname = &link.name;
    let fix = match (&link.kind, features.channels) {
        // Native XDP of a veth needs a receive queue for each send queue of its peer.
        (Kind::Veth, _) => format!(
            "ethtool -L {ifname} rx N` with the peer's number of send queues for N, or `ethtool -L PEER tx 1"
        ),
        (_, Some((_, most @ 2..))) => format!("ethtool -L {ifname} combined {}", most / 2),
        _ => format!("ethtool -L {ifname} combined 1"),
    };
    let in_use = match features.channels {
        Some((in_use, most)) if most > 0 => format!(" ({in_use} of {most} are in use)"),
        _ => String::new(),
    };
    Obstacle::Channels {
        ifname: ifname.clone(),
        in_use,
        fix,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn link(kind: Kind, mtu: u32) -> Link {
        Link {
            ifindex: 2,
            name: "eth0".to_owned(),
            mtu,
            kind,
            is_ethernet: true,
            ..Link::default()
        }
    }

    fn refused(errno: i32) -> DataplaneError {
        DataplaneError::NoNative {
            ifname: "eth0".to_owned(),
            error: io::Error::from_raw_os_error(errno),
        }
    }

    fn advice(link: &Link, features: Features, errno: i32) -> String {
        advise(link, std::slice::from_ref(link), &features, &refused(errno)).text(ModeChoice::RequireNative)
    }

    #[test]
    fn each_refusal_names_its_own_fix() {
        let none = Features::default();
        let lro = Features { lro: true, ..none };
        let full = Features {
            channels: Some((8, 8)),
            ..none
        };
        let other = || Kind::Other("dummy".to_owned());
        let cases = [
            (
                link(Kind::Hardware, 1500),
                lro,
                libc::EOPNOTSUPP,
                "`ethtool -K eth0 lro off`",
            ),
            (
                link(Kind::Hardware, 9000),
                none,
                libc::EINVAL,
                "`ip link set dev eth0 mtu 3498`",
            ),
            (
                link(Kind::Veth, 9000),
                none,
                libc::ERANGE,
                "`ip link set dev eth0 mtu 3498`",
            ),
            (
                link(Kind::Hardware, 1500),
                full,
                libc::ENOMEM,
                "(8 of 8 are in use): `ethtool -L eth0 combined 4`",
            ),
            (
                link(Kind::Veth, 1500),
                none,
                libc::ENOSPC,
                "`ethtool -L eth0 rx N`",
            ),
            (
                link(Kind::Bond(6), 1500),
                none,
                libc::EOPNOTSUPP,
                "mode balance-alb",
            ),
            (link(Kind::Bridge, 1500), none, libc::EOPNOTSUPP, "name its ports"),
            (
                link(other(), 1500),
                none,
                libc::EOPNOTSUPP,
                "an interface of kind dummy",
            ),
            (
                link(Kind::Loopback, 65_536),
                none,
                libc::EOPNOTSUPP,
                "an interface of kind loopback",
            ),
            (
                link(Kind::Hardware, 1500),
                none,
                libc::EOPNOTSUPP,
                "the driver of eth0",
            ),
        ];
        let mut texts = Vec::new();
        for (link, features, errno, wanted) in cases {
            let text = advice(&link, features, errno);
            assert!(text.contains(wanted), "{text}");
            texts.push(text);
        }
        let n = texts.len();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), n - 1, "an MTU is an MTU; all others differ");
    }

    #[test]
    fn a_way_out_by_skb_is_named_where_it_is_one() {
        let dummy = link(Kind::Other("dummy".to_owned()), 1500);
        assert!(advice(&dummy, Features::default(), libc::EOPNOTSUPP).contains("allow-skb"));
        let allowed = why_skb(&dummy, &[], &Features::default()).text(ModeChoice::AllowSkb);
        assert!(!allowed.contains("allow-skb"), "{allowed}");
        let foreign = DataplaneError::ForeignProgram {
            ifname: "eth0".to_owned(),
        };
        let taken = Link {
            xdp: Some(77),
            ..link(Kind::Hardware, 1500)
        };
        let text = advise(&taken, &[], &Features::default(), &foreign).text(ModeChoice::RequireNative);
        assert!(text.contains("(id 77)") && text.contains("bpftool"), "{text}");
        assert!(!text.contains("allow-skb"), "{text}");
    }

    #[test]
    fn a_bond_names_its_members() {
        let member = Link {
            ifindex: 3,
            name: "eth1".to_owned(),
            master: Some(2),
            ..link(Kind::Hardware, 1500)
        };
        let links = [link(Kind::Bond(1), 1500), member];
        let text = advise(
            &links[0],
            &links,
            &Features::default(),
            &refused(libc::EOPNOTSUPP),
        )
        .to_string();
        assert!(text.contains("(eth1)"), "{text}");
    }

    #[test]
    fn tags_taken_off_matter_only_where_vlans_are_told_apart() {
        let features = Features {
            rx_vlan: true,
            ..Features::default()
        };
        let eth0 = link(Kind::Hardware, 1500);
        assert_eq!(check(&eth0, &features, false), None);
        assert_eq!(check(&eth0, &Features::default(), true), None);
        let text = check(&eth0, &features, true).unwrap().to_string();
        assert!(text.contains("`ethtool -K eth0 rxvlan off`"), "{text}");
    }
}
