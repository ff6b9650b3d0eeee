//! The status in one sentence. Pure.

use super::{
    api::{Health, Interface, Status},
    settings::count,
};

/// The sentence.
pub fn sentence(status: &Status) -> String {
    let what = match (&status.policy, &status.generation) {
        (Some(policy), Some(generation)) => {
            let revision = status
                .bundle
                .as_ref()
                .map_or_else(String::new, |bundle| format!("revision {}, ", bundle.revision));
            format!(
                "policy {} ({revision}generation {})",
                policy.name, generation.number
            )
        }
        (Some(policy), None) => format!("policy {}", policy.name),
        (None, Some(generation)) => format!("a policy that is not stored (generation {})", generation.number),
        (None, None) => "no policy".to_owned(),
    };
    let problems = match status.problems.len() {
        0 => "no problems".to_owned(),
        n => count(n, "problem"),
    };
    let database = status.database.as_ref().map_or_else(
        || "no database read".to_owned(),
        |database| {
            format!(
                "database {} old",
                count(usize::try_from(database.age_days).unwrap_or(usize::MAX), "day")
            )
        },
    );
    let mut sentence = match status.state {
        Health::Unknown => format!("unknown: the kernel's state cannot be read, {problems}"),
        Health::NotEnforcing if status.policy.is_none() && status.is_stored => {
            let why = status.problems.first().map_or("see the log", String::as_str);
            format!("not enforcing: a policy is stored but it is not enforced: {why} ({problems})")
        }
        Health::NotEnforcing if status.policy.is_none() => {
            format!("not enforcing: no policy was applied, {problems}")
        }
        Health::NotEnforcing => {
            format!("not enforcing: {what} is loaded but attached to no interface, {problems}")
        }
        Health::Ok | Health::Degraded => {
            let on = interfaces(&status.interfaces);
            let verb = if status.halted.is_some() {
                "halted over"
            } else {
                "enforcing"
            };
            format!("{verb} {what} on {on}, {database}, {problems}")
        }
    };
    if let Some(halted) = &status.halted {
        let until = end(halted.until.as_ref(), "until resumed");
        sentence.push_str(&format!(
            "; halted {until}: only failsafe prefixes, control traffic and answers from endpoints pass"
        ));
    }
    for halt in &status.halted_services {
        let until = end(halt.until.as_ref(), "until resumed");
        sentence.push_str(&format!("; service {} halted {until}", halt.service));
    }
    for lift in &status.lifts {
        let until = end(lift.until.as_ref(), "until it is ended");
        sentence.push_str(&format!("; order {} lifted {until}", lift.order));
    }
    if let Some(break_glass) = &status.break_glass {
        sentence.push_str(&format!(
            "; BREAK-GLASS until {} by {}: {}",
            break_glass.until, break_glass.actor, break_glass.reason
        ));
    } else if let Some(left_s) = status.confirm_left_s {
        sentence.push_str(&format!("; reverts in {left_s} s unless confirmed"));
    }
    sentence
}

fn end(until: Option<&String>, otherwise: &str) -> String {
    until.map_or_else(|| otherwise.to_owned(), |until| format!("until {until}"))
}

fn interfaces(interfaces: &[Interface]) -> String {
    let mut modes: Vec<&str> = interfaces
        .iter()
        .map(|interface| interface.mode.as_str())
        .collect();
    modes.sort_unstable();
    modes.dedup();
    format!(
        "{}, {}",
        count(interfaces.len(), "interface"),
        modes.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::Actor,
        bundle::Digest,
        daemon::api::{BreakGlassState, BundleRef, Database, Generation, Halted, PolicyRef},
        instant::Instant,
    };

    fn status() -> Status {
        let interface = |ifname: &str, mode: &str| Interface {
            ifname: ifname.to_owned(),
            ifindex: 2,
            mode: mode.to_owned(),
            egress: None,
        };
        Status {
            state: Health::Ok,
            policy: Some(PolicyRef {
                name: "block-list".to_owned(),
                sha256: String::new(),
            }),
            generation: Some(Generation {
                number: 42,
                slot: 1,
                published: String::new(),
                image_digest: String::new(),
                location_digest: String::new(),
                engine_v4: "index".to_owned(),
                engine_v6: "index".to_owned(),
                lpm_prefixes: 0,
            }),
            database: Some(Database {
                origin: "embedded".to_owned(),
                database_type: String::new(),
                built: String::new(),
                age_days: 12,
                sha256: String::new(),
                attribution: None,
                n_networks_v4: 0,
                n_networks_v6: 0,
            }),
            interfaces: vec![
                interface("eth0", "native"),
                interface("eth1", "native"),
                interface("eth2", "native"),
            ],
            ..Status::starting()
        }
    }

    #[test]
    fn all_is_well() {
        assert_eq!(
            sentence(&status()),
            "enforcing policy block-list (generation 42) on 3 interfaces, native, database 12 days old, no problems"
        );
    }

    #[test]
    fn modes_and_problems_are_told() {
        let mut status = status();
        status.state = Health::Degraded;
        status.interfaces[1].mode = "skb".to_owned();
        status.problems.push("disk full".to_owned());
        let sentence = sentence(&status);
        assert!(
            sentence.contains("native and skb") && sentence.ends_with("1 problem"),
            "{sentence}"
        );
    }

    #[test]
    fn a_halt_and_a_deadline_are_told() {
        let mut status = status();
        status.halted = Some(Halted {
            until: Some("2026-12-01T00:00:00Z".to_owned()),
            reason: "drill".to_owned(),
        });
        status.confirm_left_s = Some(77);
        let sentence = sentence(&status);
        assert!(
            sentence.starts_with("halted over policy block-list"),
            "{sentence}"
        );
        assert!(
            sentence.contains("halted until 2026-12-01T00:00:00Z"),
            "{sentence}"
        );
        assert!(
            sentence.ends_with("reverts in 77 s unless confirmed"),
            "{sentence}"
        );
    }

    #[test]
    fn a_policy_that_nobody_signed_is_told_with_its_reason() {
        let mut status = status();
        status.confirm_left_s = Some(77);
        status.break_glass = Some(BreakGlassState {
            reason: "signers on a plane".to_owned(),
            actor: Actor::Local { uid: 0 },
            until: Instant(1_800_000_000),
        });
        let sentence = sentence(&status);
        assert!(
            sentence.ends_with("; BREAK-GLASS until 2027-01-15T08:00:00Z by user 0: signers on a plane"),
            "{sentence}"
        );
    }

    #[test]
    fn the_revision_of_a_signed_policy_is_told() {
        let mut status = status();
        status.bundle = Some(BundleRef {
            name: "edge".to_owned(),
            revision: 7,
            digest: Digest::of(b""),
            issued: Instant(0),
            expires: Instant(1),
        });
        let sentence = sentence(&status);
        assert!(
            sentence.contains("block-list (revision 7, generation 42)"),
            "{sentence}"
        );
    }

    #[test]
    fn nothing_enforced_says_why() {
        let mut status = status();
        status.state = Health::NotEnforcing;
        assert!(sentence(&status).contains("attached to no interface"));
        status.policy = None;
        assert_eq!(
            sentence(&status),
            "not enforcing: no policy was applied, no problems"
        );
        status.is_stored = true;
        status.problems.push("the database is gone".to_owned());
        assert_eq!(
            sentence(&status),
            "not enforcing: a policy is stored but it is not enforced: the database is gone (1 problem)"
        );
    }
}
