//! A case: a frame, what it is judged by, and what must become of it.

use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv6Net};
use probe_common::{Fate, Reason};

/// One line of the specification: frames that differ in length only, and their verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Row of the table of the specification.
    pub row: u8,
    /// What it is; unique, and the same on every rung.
    pub name: String,
    /// From the destination address on, without the frame check sequence.
    pub frame: Vec<u8>,
    /// Lengths to cut the frame to, or to fill it up to with zeros; none: as it is.
    pub lengths: Option<RangeInclusive<usize>>,
    /// Lengths of the linear part of the buffer, the rest being fragments; none: as the kernel likes it.
    pub linear: Option<RangeInclusive<usize>>,
    /// What judges it.
    pub settings: Settings,
    /// Whether the frame can be sent over a veth pair as it is.
    pub on_wire: bool,
    /// What must become of it.
    pub fate: Fate,
    /// The counter that must count it, and no other.
    pub reason: Reason,
}

/// What a case is judged by: policy and host settings. The same settings share a generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Settings {
    /// Name of the policy's file.
    pub policy: String,
    /// `icmp_error = "pass"`.
    pub icmp_error_pass: bool,
    /// `inspect_inner`.
    pub inspect_inner: bool,
    /// `martians = "drop"`.
    pub martians_drop: bool,
    /// `nat64_prefixes`.
    pub nat64_prefixes: Vec<Ipv6Net>,
    /// Failsafe prefixes; servers of DHCP leases are among them.
    pub failsafe: Vec<IpNet>,
    /// State of the interface that redirects go to.
    pub target: Target,
    /// VLANs that are judged, of those on the interface that frames come by; none: every frame is.
    pub vlans: Vec<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: "block-list".to_owned(),
            icmp_error_pass: true,
            inspect_inner: false,
            martians_drop: true,
            nat64_prefixes: Vec::new(),
            failsafe: Vec::new(),
            target: Target::Absent,
            vlans: Vec::new(),
        }
    }
}

/// The interface that the redirect policies name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// There is none.
    #[default]
    Absent,
    /// Another one than frames come by, of MTU 1500.
    Other,
    /// The one that frames come by.
    Ingress,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Absent, Self::Other, Self::Ingress];

    /// The name in the data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Other => "other",
            Self::Ingress => "ingress",
        }
    }
}

/// One frame of a case, as it is offered.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The case.
    pub case: &'a Case,
    /// The frame at this length.
    pub frame: Vec<u8>,
    /// Length of the linear part.
    pub linear: Option<usize>,
}

impl Run<'_> {
    /// The case, and which of its lengths this is.
    pub fn name(&self) -> String {
        let linear = self
            .linear
            .map_or_else(String::new, |n| format!(", {n} bytes linear"));
        format!("{} [{} bytes{linear}]", self.case.full_name(), self.frame.len())
    }
}

impl Case {
    /// Row and name.
    pub fn full_name(&self) -> String {
        format!("{:02} {}", self.row, self.name)
    }

    /// Every frame that the case stands for.
    pub fn runs(&self) -> Vec<Run<'_>> {
        let as_it_is = self.frame.len()..=self.frame.len();
        let mut runs = Vec::new();
        for len in self.lengths.clone().unwrap_or(as_it_is) {
            let mut frame = self.frame.clone();
            frame.resize(len, 0);
            let linears = match &self.linear {
                None => vec![None],
                Some(lens) => lens.clone().map(Some).collect(),
            };
            for linear in linears {
                runs.push(Run {
                    case: self,
                    frame: frame.clone(),
                    linear,
                });
            }
        }
        runs
    }
}
