//! Whom a halt cuts off: everybody whose address no failsafe prefix covers, private addresses too. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::daemon::surroundings::{Role, Surroundings};

/// Somebody whom a halt cuts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub role: Role,
}

impl CutOff {
    /// What happens to whom.
    pub fn message(&self) -> String {
        format!(
            "a halt cuts off the {}: no failsafe prefix covers it",
            self.role.text()
        )
    }

    /// What to change.
    pub fn fix(&self) -> String {
        format!(
            "add a [[failsafe]] with a prefix that covers {} to the host file and restart the daemon",
            self.address
        )
    }
}

/// Addresses that the host depends on and that no failsafe prefix covers, SSH peers first. Resolvers are none of them:
/// their answers pass.
pub fn cut_off_by_halt(failsafe: &[IpNet], surroundings: &Surroundings) -> Vec<CutOff> {
    let mut found: Vec<CutOff> = surroundings
        .addresses
        .iter()
        .filter(|(_, role)| *role != Role::Resolver)
        .filter(|(address, _)| !failsafe.iter().any(|prefix| prefix.contains(address)))
        .map(|(address, role)| CutOff {
            address: *address,
            role: *role,
        })
        .collect();
    found.sort_by_key(|cut_off| (cut_off.role, cut_off.address));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_cut_off_too_and_failsafe_ones_are_not() {
        let mut surroundings = Surroundings::default();
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        surroundings.add(Role::Gateway, [address("192.168.1.1"), address("fe80::1")]);
        surroundings.add(Role::Resolver, [address("192.0.2.53")]);
        surroundings.add(
            Role::SshPeer,
            [address("203.0.113.9"), address("::ffff:198.51.100.7")],
        );
        let failsafe = ["198.51.100.0/24".parse().unwrap()];
        let found = cut_off_by_halt(&failsafe, &surroundings);
        let found: Vec<(String, Role)> = found
            .iter()
            .map(|cut_off| (cut_off.address.to_string(), cut_off.role))
            .collect();
        assert_eq!(
            found,
            [
                ("203.0.113.9".to_owned(), Role::SshPeer),
                ("192.168.1.1".to_owned(), Role::Gateway)
            ]
        );
    }
}
