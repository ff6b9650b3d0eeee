//! Whether a genuine bundle is one that a host takes now. Pure: what the host has seen, the bundle and a clock in, the
//! answer out.

use serde::{Deserialize, Serialize};

use super::{
    digest::{Digest, Version},
    limits::MAX_JUMP,
    manifest::Manifest,
    rejected::{Reason, Rejected},
    target::HostIdentity,
};
use crate::{diagnostic::Place, instant::Instant};

/// Clocks of two hosts may differ by so many seconds.
const MAX_SKEW_S: u32 = 300;

/// The highest revision that a host has taken, of one kind of bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Name of the bundle.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// Digest of its payload.
    pub digest: Digest,
}

/// What the answer depends on besides the bundle.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// What the host has; `None`: nothing yet.
    pub mark: Option<&'a Mark>,
    /// The time that the host goes by ([`Instant::now`]): a clock that is set back does not bring back what had ended.
    pub clock: Instant,
    /// The least that the time can be, by what was signed and taken before. Not by a clock, or one jump forward would end
    /// everything for good.
    pub seen: Instant,
    /// What the host is called; `None`: not known here, so the target is not looked at.
    pub host: Option<&'a HostIdentity>,
    /// The version of this cordon.
    pub cordon: Version,
}

/// A bundle that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Freshness {
    /// It is newer than what the host has.
    Accept {
        /// The least that the time can be from now on.
        seen: Instant,
    },
    /// It is what the host has.
    Idle {
        /// It has ended in the meantime. It stays in force.
        is_expired: bool,
    },
}

impl Situation<'_> {
    /// The time: never earlier than what was seen before.
    pub fn now(&self) -> Instant {
        self.clock.max(self.seen)
    }
}

impl Manifest {
    /// Whether it has ended. What is in force stays in force, but the host says so.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.validity().is_some_and(|validity| validity.expires <= now)
    }
}

/// Judges a genuine bundle; `digest` is that of its payload.
pub fn judge(
    file: &str,
    manifest: &Manifest,
    digest: Digest,
    situation: &Situation<'_>,
) -> Result<Freshness, Rejected> {
    let now = situation.now();
    let rejected = |reason, value: String, message: String, fix: &str| {
        Err(Rejected::new(reason, Place::file(file), value, message, fix))
    };
    let revision = manifest.revision;
    if let Some(mark) = situation.mark
        && (mark.revision, mark.digest) == (revision, digest)
    {
        return Ok(Freshness::Idle {
            is_expired: manifest.is_expired(now),
        });
    }
    if manifest.min_cordon > situation.cordon {
        let message = format!(
            "the bundle needs a newer cordon: this one is {}",
            situation.cordon
        );
        let fix = "install a newer cordon on this host";
        return rejected(
            Reason::CordonTooOld,
            manifest.min_cordon.to_string(),
            message,
            fix,
        );
    }
    if let (Some(validity), Some(host)) = (manifest.validity(), situation.host)
        && let Some(why) = validity.target.excludes(host)
    {
        let message = format!("the bundle is for other hosts: {why}");
        let fix = "send it to the hosts it is for, or correct `[target]`";
        return rejected(Reason::NotForThisHost, String::new(), message, fix);
    }
    if let Some(mark) = situation.mark {
        if mark.name != manifest.name {
            let message = format!(
                "the host follows the bundle `{}`, and revisions of two cannot be compared",
                mark.name
            );
            let fix = "keep the name";
            return rejected(Reason::OtherName, manifest.name.clone(), message, fix);
        }
        if revision < mark.revision {
            let message = format!("the host has a later revision, {}", mark.revision);
            let fix = "to go back, issue the older content under a higher revision";
            return rejected(Reason::OlderRevision, revision.to_string(), message, fix);
        }
        if revision == mark.revision {
            let message = "the host has this revision with other content".to_owned();
            let fix = "raise the revision with every issue; if you did, someone else signs for you";
            return rejected(
                Reason::SameRevisionOtherContent,
                revision.to_string(),
                message,
                fix,
            );
        }
        if revision - mark.revision > MAX_JUMP {
            let message = format!(
                "the revision is more than {MAX_JUMP} above the host's, {}",
                mark.revision
            );
            let fix = "raise the revision in small steps: a jump would use up the numbers";
            return rejected(Reason::RevisionJump, revision.to_string(), message, fix);
        }
    }
    if manifest.issued.0 > now.0.saturating_add(MAX_SKEW_S) {
        let message = format!("the bundle is from the future: now it is {now}");
        let fix = "correct the clock of this host, or of the one that built the bundle";
        return rejected(Reason::NotYetValid, manifest.issued.to_string(), message, fix);
    }
    if let Some(validity) = manifest.validity() {
        if let Some(not_before) = validity.not_before.filter(|not_before| now < *not_before) {
            let message = format!("the bundle is not valid yet: now it is {now}");
            let fix = "send it again then, or correct the clock of this host";
            return rejected(Reason::NotYetValid, not_before.to_string(), message, fix);
        }
        if validity.expires <= now {
            let message = format!("the bundle has ended: now it is {now}");
            let fix = "issue a new revision";
            return rejected(Reason::Expired, validity.expires.to_string(), message, fix);
        }
    }
    Ok(Freshness::Accept {
        seen: situation.seen.max(manifest.issued),
    })
}

#[cfg(test)]
mod tests;
