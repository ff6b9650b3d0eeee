//! What can go wrong in the kernel, with the fix.

use std::path::PathBuf;

use crate::geo::TooLarge;

/// Why the dataplane refused or failed. Nothing that is already enforced changes with any of them.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// No bpffs where the pins should go.
    #[error(
        "{path} is not on a BPF filesystem, so enforcement would end with this process: mount one with \
         `mount -t bpf bpf /sys/fs/bpf`, or set `pin_dir` in the host file to a directory on one"
    )]
    NoBpffs {
        /// The directory asked for.
        path: PathBuf,
    },
    /// Another process works on the same pins.
    #[error("{path} is in use by another cordon daemon: stop that one, or set another `pin_dir`")]
    InUse {
        /// The pin directory.
        path: PathBuf,
    },
    /// The pins were made by something else.
    #[error(
        "{path} is not what this version of cordon pins ({detail}): run `cordon detach`, then start again"
    )]
    ForeignPin {
        /// The pin.
        path: PathBuf,
        /// Expected and found.
        detail: String,
    },
    /// Attaching before the first publish would cut the host off.
    #[error("no policy is published, so there is nothing to attach")]
    NothingPublished,
    /// A publish to be confirmed needs a generation to fall back to.
    #[error("there is no earlier generation to revert to")]
    NothingToRevertTo,
    /// All slots hold generations that are in force or could not be freed.
    #[error("no slot is free for another generation: restart the daemon; what is enforced stays")]
    NoFreeSlot,
    /// Confirming without anything unconfirmed.
    #[error("no policy is waiting for confirmation")]
    NothingToConfirm,
    /// The deadline was over.
    #[error("the confirmation came too late: the kernel has already reverted to the policy before")]
    ConfirmedTooLate,
    /// No such interface.
    #[error("there is no interface {ifname} in this network namespace")]
    NoInterface {
        /// The interface.
        ifname: String,
    },
    /// Somebody else's program is there.
    #[error(
        "{ifname} already runs an XDP program that is not cordon's, and cordon never replaces one: see \
         `ip link show {ifname}`, and remove it with the tool that put it there"
    )]
    ForeignProgram {
        /// The interface.
        ifname: String,
    },
    /// The driver has no native XDP.
    #[error(
        "the driver of {ifname} has no native XDP ({error}): set `xdp_mode = \"allow-skb\"` in the host file to \
         accept the slower skb mode"
    )]
    NoNative {
        /// The interface.
        ifname: String,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// aya fell back to the netlink way of attaching, which any `ip link` call replaces.
    #[error(
        "the kernel refused a BPF link on {ifname}: cordon needs Linux 5.9 or later with BPF links for XDP"
    )]
    NoLink {
        /// The interface.
        ifname: String,
    },
    /// The kernel's verdicts are not the oracle's.
    #[error(
        "the loaded tables do not judge as the policy says ({n_wrong} of {n_samples} samples differ), so they \
         were not published; first difference: {first}"
    )]
    Unverified {
        /// Samples that differ.
        n_wrong: usize,
        /// Samples run.
        n_samples: usize,
        /// Address, expected and got.
        first: String,
    },
    /// Too much for the maps.
    #[error("{what} has {n} entries, more than the {limit} that cordon loads")]
    TooMany {
        /// Which table.
        what: &'static str,
        /// Entries.
        n: usize,
        /// Limit.
        limit: u32,
    },
    /// The host wants an index, and there can be none.
    #[error(
        "the {family} location table cannot be an index: {reason}; set `engine = \"auto\"` in the host file, or take \
         a database with fewer networks"
    )]
    NoIndex {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Why.
        reason: TooLarge,
    },
    /// The process may not.
    #[error(
        "the kernel refused {what} for lack of privilege: cordon needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
    },
    /// The kernel has no memory for it.
    #[error(
        "the kernel has no memory for {what} ({error}): free some, or choose smaller tables in the host file \
         (`flow_entries`, `limiter_entries`, `event_ring_kib`)"
    )]
    NoMemory {
        /// What was tried.
        what: String,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// The kernel has no hook for leaving packets that this host file allows.
    #[error(
        "cannot see packets leave {ifname} by {hook} ({reason}): answers to this host's own connections would be \
         dropped; set `egress` in the host file to another hook, or `replies = false` in the policy"
    )]
    NoEgress {
        /// The interface.
        ifname: String,
        /// `tcx` or `clsact`.
        hook: &'static str,
        /// What came back.
        reason: String,
    },
    /// Anything else that the kernel refused.
    #[error("{what}: {reason}")]
    Kernel {
        /// What was tried.
        what: String,
        /// What came back.
        reason: String,
    },
}

/// Lines of a verifier log that an error shows; the log itself has thousands.
const VERIFIER_LINES: usize = 12;

impl DataplaneError {
    /// The eBPF object lacks a map or a program: it and this binary were not built together.
    pub(super) fn missing(name: &str) -> Self {
        Self::Kernel {
            what: format!("opening {name}"),
            reason: "the eBPF object built into this binary lacks it".to_owned(),
        }
    }

    /// Wraps what came back from the kernel or from aya.
    pub(super) fn kernel(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let what = what.into();
        let mut source = Some(error);
        let mut text = String::new();
        while let Some(error) = source {
            if let Some(io_error) = error.downcast_ref::<std::io::Error>()
                && matches!(io_error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
                && !text.contains("Verifier output")
            {
                return Self::NotPermitted { what };
            }
            if let Some(io_error) = error.downcast_ref::<std::io::Error>()
                && let Some(errno @ libc::ENOMEM) = io_error.raw_os_error()
            {
                let error = std::io::Error::from_raw_os_error(errno);
                return Self::NoMemory { what, error };
            }
            let message = error.to_string();
            if !text.contains(&message) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&message);
            }
            source = error.source();
        }
        let lines: Vec<&str> = text.lines().collect();
        let reason = match lines.len().checked_sub(VERIFIER_LINES) {
            Some(cut @ 1..) => format!("{}\n[{cut} lines cut]\n{}", lines[0], lines[cut..].join("\n")),
            _ => text,
        };
        Self::Kernel { what, reason }
    }
}
