//! How a host stands.

use serde::{Deserialize, Serialize};

use super::Status;

/// How the host stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// A policy is enforced on every configured interface.
    Ok,
    /// A policy is enforced, but not all is well.
    Degraded,
    /// No policy is enforced.
    NotEnforcing,
    /// The kernel's state cannot be read.
    Unknown,
}

impl Status {
    /// The state for whoever asks whether the policy holds as it was written: in a halt, and while an order is lifted or
    /// nobody signed the policy, it does not, though nothing be wrong.
    pub fn checked(&self) -> Health {
        let is_amended = self.halted.is_some()
            || !self.halted_services.is_empty()
            || !self.lifts.is_empty()
            || self.break_glass.is_some();
        match self.state {
            Health::Ok if is_amended => Health::Degraded,
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::{Halted, Lifted};

    #[test]
    fn a_halt_and_a_lift_are_never_ok() {
        let mut status = Status::starting();
        status.state = Health::Ok;
        assert_eq!(status.checked(), Health::Ok);
        let lifted = Lifted {
            order: "embargo".to_owned(),
            until: None,
            reason: "drill".to_owned(),
        };
        status.lifts.push(lifted);
        assert_eq!(status.checked(), Health::Degraded);
        status.lifts.clear();
        status.halted = Some(Halted {
            until: None,
            reason: "drill".to_owned(),
        });
        assert_eq!(status.checked(), Health::Degraded);
        status.state = Health::NotEnforcing;
        assert_eq!(status.checked(), Health::NotEnforcing, "the worse counts");
    }
}
