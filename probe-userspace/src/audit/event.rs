//! What a record says.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// Who made something happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Actor {
    /// A user of this host, over the control socket.
    Local {
        /// Its user id.
        uid: u32,
    },
    /// Those who signed a bundle.
    Signed {
        /// Ids of the keys, upper-case hexadecimal.
        keys: Vec<String>,
        /// SHA-256 of the bundle's payload.
        bundle: String,
    },
    /// The daemon, or the kernel, by itself.
    Daemon,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "user {uid}"),
            Self::Signed { keys, .. } => write!(f, "signed by {}", keys.join(", ")),
            Self::Daemon => f.write_str("cordon"),
        }
    }
}

/// What happened. Instants are RFC 3339 text, digests lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A segment of the log begins. The first one of all is the genesis: it says whose log this is.
    Segment {
        /// Of the log: [`super::FORMAT`].
        format: u32,
        /// Name of the host.
        host: String,
        /// Id of the host key, upper-case hexadecimal.
        key: String,
        /// The host key, as in a `.pub` file of minisign.
        public_key: String,
    },
    /// The records up to the one before this are signed.
    Checkpoint {
        /// Id of the host key.
        key: String,
        /// Line 2 of the signature, as in a `.minisig` file.
        signature: String,
        /// Line 4 of it.
        global: String,
    },
    /// The last line of the log was incomplete, after a power loss for example, and was cut off.
    Torn {
        /// Name of the segment.
        file: String,
        /// Length of what was cut off.
        n_bytes: usize,
        /// Its digest.
        sha256: String,
    },
    /// The log was not as it was written. It goes on in a new segment.
    Damaged {
        /// Name of the segment.
        file: String,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Memory was short while the log could not be written: records are missing here.
    Lost {
        /// How many.
        n: u64,
        /// When the first of them happened.
        first: String,
        /// When the last of them happened.
        last: String,
    },
    /// A segment is about to be deleted, because the host file says so.
    Dropped {
        /// Its name.
        file: String,
        /// Its first record.
        first: u64,
        /// Its last record.
        last: u64,
        /// Hash of its last record.
        hash: String,
    },
    /// The daemon started.
    Start {
        /// Its version.
        version: String,
    },
    /// The daemon stops; enforcement stays on.
    Stop {},
    /// A policy was taken that differs from the one in force in nothing that the kernel sees.
    Accept {
        /// Its name.
        policy: String,
        /// SHA-256 of its text.
        sha256: String,
        /// Number of the generation in force.
        generation: u32,
    },
    /// A policy is in force.
    Publish {
        /// Its name.
        policy: String,
        /// SHA-256 of its text.
        sha256: String,
        /// Number of the generation.
        generation: u32,
        /// Revision of the bundle that brought it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
        /// Seconds until the kernel reverts unless it is confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_s: Option<u64>,
        /// Who is cut off, if a refusal was overridden.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lockouts: Vec<String>,
        /// Why root put it in force without a signature, on a host that takes signed policies only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        break_glass: Option<String>,
    },
    /// The policy in force is judged by another geo database.
    Database {
        /// Path, or `embedded`.
        origin: String,
        /// SHA-256 of the database.
        sha256: String,
        /// When it was built.
        built: String,
        /// Revision of the bundle that brought it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// Something was not taken.
    Reject {
        /// What was asked for.
        verb: String,
        /// The file, or where it came from.
        source: String,
        /// Why, in one word if there is one.
        reason: String,
        /// Why, in a sentence.
        message: String,
        /// How often, from `first` to `last`.
        #[serde(default = "once", skip_serializing_if = "is_once")]
        count: u64,
        /// When for the first time; absent: once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<String>,
        /// When for the last time; absent: once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<String>,
    },
    /// The policy that waited stays.
    Confirm {
        /// Its name.
        policy: String,
    },
    /// The policy that waited was not confirmed in time.
    Revert {
        /// Its name.
        policy: String,
    },
    /// The host drops the world, or a service does.
    Halt {
        /// The service; absent: the whole host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// When it ends by itself.
        until: Option<String>,
        /// Why.
        reason: String,
    },
    /// A halt is over.
    Resume {
        /// The service; absent: the whole host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// It ended by itself.
        ended: bool,
    },
    /// An order's rules do not hold.
    Lift {
        /// The order; absent: all of them.
        order: Option<String>,
        /// When they hold again.
        until: Option<String>,
        /// Why.
        reason: String,
    },
    /// An order that was lifted holds again.
    Unlift {
        /// The order; absent: all of them.
        order: Option<String>,
        /// The lift ended by itself.
        ended: bool,
    },
    /// An exemption was made, renewed or taken away.
    Exempt {
        /// `add`, `renew`, `remove`, `expire`, `sync`.
        change: String,
        /// Reference of the customer or case; for a sync a digest of the list.
        reference: String,
        /// The prefix; absent: several.
        prefix: Option<String>,
        /// How many entries.
        n: usize,
        /// When it ends.
        until: Option<String>,
        /// Why.
        reason: String,
        /// Who approved it.
        approver: String,
    },
    /// An interface is judged from now on.
    Attach {
        /// Its name.
        ifname: String,
        /// `native` or `skb`.
        mode: String,
    },
    /// An interface is not judged any more.
    Detach {
        /// Its name.
        ifname: String,
        /// Why.
        reason: String,
    },
    /// Enforcement was not as it should have been.
    Gap {
        /// What it concerns.
        what: String,
        /// From when.
        from: String,
        /// Until when.
        to: String,
        /// The interface; absent: all of them, or none by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
        /// At most so many packets came by it unjudged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        packets: Option<u64>,
    },
    /// Somebody else changed what cordon has in the kernel.
    Tampered {
        /// What.
        what: String,
        /// It was put back.
        repaired: bool,
    },
    /// A trusted key was added, restricted or revoked.
    Key {
        /// `trust`, `revoke`, `restrict`, `threshold`; `manage`, `unmanage` when signatures begin or cease to be asked for.
        change: String,
        /// Its id; for a threshold how many keys must sign.
        key: String,
        /// What it may do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        verbs: Vec<String>,
    },
    /// What was counted since the generation began: sums, so that no earlier record is needed to read one.
    Counters {
        /// Number of the generation, as in `publish`; 0: the entry program, since the maps were made.
        generation: u32,
        /// Packets and bytes (L2) by reason and class; a class is absent where the reason has none. Rows that find no
        /// room are summed up by reason, with the class `(others)`.
        rows: Vec<(String, Option<String>, u64, u64)>,
    },
    /// A watched peer, for example, a resolver, did not answer, so nothing was confirmed.
    ProbeFailed {
        /// What was tried.
        probe: String,
        /// Where.
        target: Option<IpAddr>,
        /// Why.
        message: String,
    },
}

fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_once(count: &u64) -> bool {
    *count == 1
}
