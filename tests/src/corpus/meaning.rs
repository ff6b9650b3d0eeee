//! What the policies of the corpus mean, in the words of the reference.

use anyhow::bail;

use super::{Settings, Target, places::OWN};
use crate::reference::{Decision, Options, Policy, Reference, Service, TargetState};

/// Longest frame that the target of redirects takes: MTU 1500.
pub const TARGET_MAX_LEN: usize = 1514;

impl Settings {
    /// The reference for these settings.
    pub fn reference(&self) -> anyhow::Result<Reference> {
        let options = Options {
            icmp_error_pass: self.icmp_error_pass,
            inspect_inner: self.inspect_inner,
            martians_drop: self.martians_drop,
            nat64_prefixes: self.nat64_prefixes.clone(),
            failsafe: self.failsafe.clone(),
            own: OWN.to_vec(),
            vlans: self.vlans.clone(),
        };
        Ok(Reference::new(self.meaning()?, options))
    }

    fn meaning(&self) -> anyhow::Result<Policy> {
        let target = |is_unchanged| match self.target {
            Target::Absent => TargetState::Gone,
            Target::Other | Target::Ingress => TargetState::There {
                max_len: TARGET_MAX_LEN,
                is_loop: is_unchanged && self.target == Target::Ingress,
            },
        };
        let blocking = |blocked, services| Policy {
            blocked,
            allowed: Decision::Pass,
            unknown: Decision::Pass,
            lan: Decision::Pass,
            services,
            exempt: Vec::new(),
        };
        let allowing = |lan| Policy {
            blocked: Decision::Drop,
            allowed: Decision::Pass,
            unknown: Decision::Drop,
            lan,
            services: Vec::new(),
            exempt: Vec::new(),
        };
        Ok(match self.policy.as_str() {
            "block-list" => blocking(Decision::Drop, Vec::new()),
            "overrides" => Policy {
                exempt: vec!["198.51.100.8/29".parse()?, "2001:db8:b:8::/64".parse()?],
                ..blocking(Decision::Drop, Vec::new())
            },
            "drain" => blocking(Decision::Drain, Vec::new()),
            "limit" => blocking(Decision::Limit, Vec::new()),
            "services" => blocking(Decision::Drop, services()?),
            "redirect" => blocking(Decision::Redirect(target(true)), Vec::new()),
            "redirect-next-hop" => blocking(Decision::Redirect(target(false)), Vec::new()),
            "allow-list" => allowing(Decision::Pass),
            "allow-list-no-lan" => allowing(Decision::Drop),
            name => bail!(
                "the reference does not know the policy {name:?}: add it to tests/src/corpus/meaning.rs"
            ),
        })
    }
}

/// As `policies/services.toml` has them.
fn services() -> anyhow::Result<Vec<Service>> {
    Ok(vec![
        Service {
            protocols: vec![6],
            ports: vec![443..=443, 8000..=8010],
            ..Service::default()
        },
        Service {
            protocols: vec![17],
            ports: vec![53..=53],
            destinations: vec!["198.18.0.0/24".parse()?, "2001:2::/64".parse()?],
            ..Service::default()
        },
        Service {
            vlans: vec![42],
            ..Service::default()
        },
    ])
}
