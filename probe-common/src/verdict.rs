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
    /// is their maximum.
    pub enum Action {
        /// Hand the packet to the network stack.
        Pass = 0 "pass",
        /// As pass, but counted as a packet that a stricter policy would stop.
        Count = 1 "count",
        /// Rewrite the DSCP, then hand it to the stack: what stands behind serves the reduced tier.
        Mark = 2 "mark",
        /// Pass up to a rate, drop what exceeds it.
        Limit = 3 "limit",
        /// Send it out of another interface.
        Redirect = 4 "redirect",
        /// Drop what opens a connection, pass the rest.
        Drain = 5 "drain",
        /// Drop it and tell the sender.
        Reject = 6 "reject",
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
        /// The matrix does not let the class pass, but the source is a failsafe prefix. Passes.
        Failsafe = 2 "failsafe",
        /// The matrix does not let the class pass, but an exemption lets the source pass.
        Exempt = 3 "exempt",
        /// An explicit deny covers the source. Drops.
        Deny = 4 "deny",
        /// `count`: passes, and would be stopped by the policy that is being tried.
        PolicyCount = 5 "policy_count",
        /// `mark`: passes with another DSCP.
        PolicyMark = 6 "policy_mark",
        /// `limit`: within the rate. Passes.
        WithinLimit = 7 "within_limit",
        /// `limit`: above the rate. Drops.
        OverLimit = 8 "over_limit",
        /// `redirect`: sent out of another interface.
        PolicyRedirect = 9 "policy_redirect",
        /// `redirect`: the target is gone or down. Drops.
        RedirectGone = 10 "redirect_gone",
        /// `redirect`: longer than the target's MTU allows. Drops.
        RedirectTooLong = 11 "redirect_too_long",
        /// `redirect`: back out of the interface it came from, with unchanged addresses. Drops.
        RedirectLoop = 12 "redirect_loop",
        /// `drain`: belongs to what is already open. Passes.
        DrainPass = 13 "drain_pass",
        /// `drain`: opens a connection. Drops.
        PolicyDrain = 14 "policy_drain",
        /// `reject`: dropped, and the sender was told.
        PolicyReject = 15 "policy_reject",
        /// `reject`: dropped without an answer: none is allowed to such a packet, or the rate cap is reached.
        RejectSilent = 16 "reject_silent",
        /// The matrix does not let the class pass, but the packet answers a connection of this host. Passes.
        Reply = 17 "reply",
        /// The matrix does not let the class pass, but the network needs this ICMP error. Passes.
        IcmpError = 18 "icmp_error",
        /// Such an ICMP error above the rate cap. Drops.
        IcmpErrorCapped = 19 "icmp_error_capped",
        /// A tunnel whose outer source passes; nobody looked inside. Passes.
        TunnelUninspected = 20 "tunnel_uninspected",
        /// A tunnel whose outer source passes and whose inner source does not (`inspect_inner`). Drops.
        TunnelInner = 21 "tunnel_inner",
        /// Leaving packets to a place with `direction = "both"`. Drops; not part of the packets received.
        EgressDrop = 22 "egress_drop",

        /// Neither IP nor ARP: not for this program to judge. Passes; counted by ethertype too.
        NotIp = 32 "not_ip",
        /// ARP or RARP. Passes: without it the host is cut off.
        Arp = 33 "arp",
        /// Link-local source (169.254/16, fe80::/10, :: for duplicate address detection). Passes: no geography.
        LinkLocal = 34 "link_local",
        /// Neighbour discovery with hop limit 255, so from this link (RFC 4861). Passes.
        NeighbourDiscovery = 35 "neighbour_discovery",
        /// DHCP from an unnumbered client, or to one. Passes.
        Dhcp = 36 "dhcp",
        /// More VLAN tags than [`crate::limits::VLAN_MAX_DEPTH`]. Drops.
        DeepVlan = 37 "deep_vlan",
        /// Says it is IP, but ends before its header does. Drops.
        Truncated = 38 "truncated",
        /// Says it is IP, but the header contradicts itself. Drops.
        Malformed = 39 "malformed",
        /// The host is halted. Drops.
        Halted = 40 "halted",
        /// The host is halted, but the source is a failsafe prefix. Passes.
        HaltedFailsafe = 41 "halted_failsafe",
        /// No generation could be called; the host's setting decided.
        NoGeneration = 42 "no_generation",
        /// No generation could be called, but the source is a failsafe prefix. Passes.
        NoGenerationFailsafe = 43 "no_generation_failsafe",
        /// Says it comes from this host (loopback, an address of its own), but came by the wire. Drops.
        Martian = 44 "martian",
        /// MPLS. Passes: Linux ignores it unless told otherwise.
        Mpls = 45 "mpls",
        /// An 802.3 frame with a length for a type (spanning tree). Passes.
        Llc = 46 "llc",
        /// IP behind a SNAP header. Passes: Linux does not take it on Ethernet.
        Snap = 47 "snap",
        /// Only some VLANs of the interface are judged, and this is another one. Passes.
        VlanNotJudged = 48 "vlan_not_judged",
        /// The host is halted, but the network needs this ICMP error. Passes within the cap.
        HaltedIcmpError = 49 "halted_icmp_error",
        /// The host is halted, but the packet answers it from one of its endpoints: a server that it needs to get out
        /// of the halt. Passes.
        HaltedReply = 50 "halted_reply",
    }
}

impl Reason {
    /// Codes below this one belong to packets whose class was looked up.
    pub const N_WITH_CLASS: u32 = 32;
    /// Room for reasons without a class.
    pub const N_WITHOUT_CLASS: u32 = 48;

    /// Whether the reason counts packets that were received. The sum over these is the number of packets seen.
    pub const fn is_ingress(self) -> bool {
        !matches!(self, Self::EgressDrop)
    }

    /// Whether packets of this reason are counted by class.
    pub const fn has_class(self) -> bool {
        (self as u32) < Self::N_WITH_CLASS
    }
}

/// What becomes of a packet, whoever decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Handed to the stack.
    Passed,
    /// Gone.
    Dropped,
    /// Sent back as an answer.
    Answered,
    /// Sent out of another interface.
    Redirected,
}

/// The answer for one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was decided about it; what became of it is [`Verdict::fate`].
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Where its source is; [`class::UNKNOWN`] if the reason has no class.
    pub class: u16,
}

impl Verdict {
    /// What becomes of the packet: the reason says it, except where the host's setting decided.
    #[inline(always)]
    pub const fn fate(self) -> Fate {
        match self.reason {
            Reason::PolicyReject => Fate::Answered,
            Reason::PolicyRedirect => Fate::Redirected,
            Reason::NoGeneration => match self.action {
                Action::Pass => Fate::Passed,
                _ => Fate::Dropped,
            },
            Reason::PolicyDrop
            | Reason::Deny
            | Reason::OverLimit
            | Reason::RedirectGone
            | Reason::RedirectTooLong
            | Reason::RedirectLoop
            | Reason::PolicyDrain
            | Reason::RejectSilent
            | Reason::IcmpErrorCapped
            | Reason::TunnelInner
            | Reason::EgressDrop
            | Reason::DeepVlan
            | Reason::Truncated
            | Reason::Malformed
            | Reason::Halted
            | Reason::Martian => Fate::Dropped,
            Reason::PolicyPass
            | Reason::Failsafe
            | Reason::Exempt
            | Reason::PolicyCount
            | Reason::PolicyMark
            | Reason::WithinLimit
            | Reason::DrainPass
            | Reason::Reply
            | Reason::IcmpError
            | Reason::TunnelUninspected
            | Reason::NotIp
            | Reason::Arp
            | Reason::LinkLocal
            | Reason::NeighbourDiscovery
            | Reason::Dhcp
            | Reason::HaltedFailsafe
            | Reason::NoGenerationFailsafe
            | Reason::Mpls
            | Reason::Llc
            | Reason::Snap
            | Reason::VlanNotJudged
            | Reason::HaltedIcmpError
            | Reason::HaltedReply => Fate::Passed,
        }
    }

    /// A verdict that was reached before a class was looked up.
    pub const fn without_class(action: Action, reason: Reason) -> Self {
        Self {
            action,
            reason,
            class: class::UNKNOWN,
        }
    }
}
