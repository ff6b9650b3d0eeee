//! Verdicts: what happens to a packet, and why.

/// Classes with a fixed meaning. Countries and other places follow from [`class::FIRST_PLACE`].
pub mod class {
    /// The address is not in the data, or the data name no place for it.
    pub const UNKNOWN: u16 = 0;
    /// The address belongs to no place by design: private (RFC 1918), shared (RFC 6598), unique local (RFC 4193).
    pub const LAN: u16 = 1;
    /// First class that stands for a place.
    pub const FIRST_PLACE: u16 = 2;
}

/// Declares a `u8` enum with its codes, names and the way back from a code.
macro_rules! codes {
    ($(#[$attr:meta])* pub enum $name:ident {
        $($(#[$variant_attr:meta])* $variant:ident = $code:literal $text:literal,)+
    }) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_attr])* $variant = $code,)+
        }

        impl $name {
            /// Every value, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value of a code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The name in output and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

codes! {
    /// What a verdict does with a packet. The codes ascend with strictness, so that the strictest of several
    /// is their maximum; codes 1-5 are kept for count, mark, limit, redirect and drain.
    pub enum Action {
        /// Hand the packet to the network stack.
        Pass = 0 "pass",
        /// Drop it silently.
        Drop = 7 "drop",
    }
}

codes! {
    /// Why a packet got its verdict. Codes below [`Reason::N_WITH_CLASS`] are counted by class.
    pub enum Reason {
        /// The matrix lets the class pass.
        PolicyPass = 0 "policy_pass",
        /// The matrix drops the class.
        PolicyDrop = 1 "policy_drop",
        /// The matrix drops the class, but the source is a failsafe prefix.
        Failsafe = 2 "failsafe",
        /// The matrix drops the class, but an exemption lets the source pass.
        Exempt = 3 "exempt",
        /// An explicit deny covers the source.
        Deny = 4 "deny",

        /// Neither IP nor ARP: not for this program to judge. Passes.
        NotIp = 16 "not_ip",
        /// ARP or RARP. Passes: without it the host is cut off.
        Arp = 17 "arp",
        /// Link-local source (169.254/16, fe80::/10, :: for duplicate address detection). Passes: no geography.
        LinkLocal = 18 "link_local",
        /// Neighbour discovery with hop limit 255, so from this link (RFC 4861). Passes.
        NeighbourDiscovery = 19 "neighbour_discovery",
        /// DHCP from an unnumbered client, or to one. Passes.
        Dhcp = 20 "dhcp",
        /// More VLAN tags than [`crate::limits::VLAN_MAX_DEPTH`]. Drops.
        DeepVlan = 21 "deep_vlan",
        /// Says it is IP, but ends before its header does. Drops.
        Truncated = 22 "truncated",
        /// Says it is IP, but the header contradicts itself. Drops.
        Malformed = 23 "malformed",
        /// The host is halted. Drops.
        Halted = 24 "halted",
        /// The host is halted, but the source is a failsafe prefix. Passes.
        HaltedFailsafe = 25 "halted_failsafe",
        /// No generation could be called; the host's setting decided.
        NoGeneration = 26 "no_generation",
        /// No generation could be called, but the source is a failsafe prefix. Passes.
        NoGenerationFailsafe = 27 "no_generation_failsafe",
    }
}

impl Reason {
    /// Codes below this one belong to packets whose class was looked up.
    pub const N_WITH_CLASS: u32 = 16;
    /// Room for reasons without a class.
    pub const N_WITHOUT_CLASS: u32 = 48;

    /// Whether packets of this reason are counted by class.
    pub const fn has_class(self) -> bool {
        (self as u32) < Self::N_WITH_CLASS
    }
}

/// The answer for one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What happens to it.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Where its source is; [`class::UNKNOWN`] if the reason has no class.
    pub class: u16,
}

impl Verdict {
    /// A verdict that was reached before a class was looked up.
    pub const fn without_class(action: Action, reason: Reason) -> Self {
        Self {
            action,
            reason,
            class: class::UNKNOWN,
        }
    }
}
