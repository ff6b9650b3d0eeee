use std::{collections::BTreeMap, sync::Arc};

use cordon::{
    compile::{FrameSettings, Heading, Image, compile_with_lifts},
    dataplane::{Dataplane, Settings},
    exemption::{Exemption, Keys, KnownLifts, List, Plan, Written},
    instant::Instant,
    policy,
};
use integration_tests::images;
use ipnet::IpNet;
use probe_common::{Action, Reason, RuntimeValue};

use super::{KP, NL, POLICY, RU, countries, in_seconds, wait_until};

/// A dataplane, and the exemptions that it is told of.
struct Kernel {
    dataplane: Dataplane,
    list: List,
    keys: Keys,
}

impl Kernel {
    fn new() -> Self {
        Self {
            dataplane: Dataplane::open(&Settings::default()).unwrap(),
            list: List::default(),
            keys: Keys::default(),
        }
    }

    fn exempt(&mut self, prefix: &str, reference: &str, until: Instant, orders: &[&str], services: &[&str]) {
        let names = |names: &[&str]| -> Option<Vec<String>> {
            (!names.is_empty()).then(|| names.iter().map(|name| (*name).to_owned()).collect())
        };
        let written = Written {
            prefix: prefix.to_owned(),
            reference: reference.to_owned(),
            reason: "contract".to_owned(),
            approver: "J. Doe".to_owned(),
            until: Some(until.to_string()),
            orders: names(orders),
            services: names(services),
            wide: true,
            ..Written::default()
        };
        self.list
            .insert(Exemption::new(written, Instant::now(), "test").unwrap());
    }

    fn values(&mut self) -> BTreeMap<IpNet, RuntimeValue> {
        let plan = Plan::new(&self.list, Instant::now());
        plan.values(|lift| self.keys.meet(lift).unwrap())
    }

    /// Publishes a policy that knows every lift, and tells the tries.
    fn publish(&mut self, text: &str) {
        let values = self.values();
        let image = self.image(text);
        self.dataplane.publish(&image, None).unwrap();
        self.dataplane.set_runtime(&values).unwrap();
    }

    fn image(&self, text: &str) -> Arc<Image> {
        let lifts = KnownLifts {
            keys: self.keys.clone(),
            needed: self.keys.iter().map(|(key, _)| key).collect(),
        };
        let (policy, remarks) = policy::parse("test.toml", text);
        let policy = policy.unwrap_or_else(|| panic!("{remarks:?}"));
        let location = images::location(&countries()).unwrap();
        let frame = FrameSettings::default();
        let (image, remarks) = compile_with_lifts(&policy, text, &location, Instant::now(), &frame, &lifts);
        Arc::new(image.unwrap_or_else(|| panic!("{remarks:?}")))
    }

    fn passes(&self, address: &str) -> bool {
        let verdict = self
            .dataplane
            .judge(address.parse().unwrap(), Instant::now())
            .unwrap();
        verdict.action == Action::Pass
    }
}

#[test]
fn what_is_lifted_is_lifted_and_nothing_else() {
    let mut kernel = Kernel::new();
    let until = in_seconds(3600);
    kernel.exempt("81.0.7.0/24", "C-1", until, &["embargo"], &[]);
    kernel.exempt("82.0.7.0/24", "C-1", until, &["embargo"], &[]);
    kernel.exempt("82.0.8.0/24", "C-1", until, &["embargo"], &[]);
    kernel.exempt("82.0.8.0/24", "C-2", until, &["court"], &[]);
    kernel.exempt("82.0.9.0/24", "C-3", until, &[], &[]);
    kernel.exempt("83.0.0.0/16", "C-4", until, &[], &[]);
    kernel.exempt("2a00:81::/48", "C-5", until, &["embargo", "no such order"], &[]);
    kernel.publish(POLICY);
    for (address, passes, why) in [
        (RU, true, "its one order is lifted"),
        ("81.0.8.1", false, "beside the prefix"),
        (NL, false, "the other order holds"),
        ("82.0.8.1", true, "two references lift one order each"),
        ("82.0.9.1", true, "all are lifted"),
        (KP, false, "no_exemptions"),
        ("2a00:81::1", true, "IPv6"),
        ("2a00:81:0:1::1", true, "IPv6"),
        ("2a00:81:1::1", false, "IPv6, beside it"),
    ] {
        assert_eq!(kernel.passes(address), passes, "{address}: {why}");
    }
    let verdict = kernel
        .dataplane
        .judge(RU.parse().unwrap(), Instant::now())
        .unwrap();
    assert_eq!(verdict.reason, Reason::Exempt);
}

#[test]
fn a_service_is_exempt_and_the_rest_of_the_host_is_not() {
    let mut kernel = Kernel::new();
    let until = in_seconds(3600);
    kernel.exempt("81.0.7.0/24", "C-1", until, &["embargo"], &["web"]);
    kernel.exempt("82.0.0.0/16", "C-2", until, &["embargo"], &[]);
    kernel.exempt("82.0.7.0/24", "C-3", until, &["court"], &["web"]);
    kernel.publish(POLICY);
    let passes = |address: &str, port: Option<u16>| {
        let heading = Heading {
            protocol: Some(6),
            port,
            ..Heading::default()
        };
        let judged = kernel
            .dataplane
            .judge_packet(address.parse().unwrap(), &heading, Instant::now());
        judged.unwrap().0.action == Action::Pass
    };
    assert!(passes(RU, Some(443)) && !passes(RU, Some(22)));
    assert!(!passes(RU, None), "a fragment may be for either");
    assert!(
        passes(NL, Some(443)),
        "one order everywhere by the /16, the other for web by the /24"
    );
    assert!(!passes(NL, Some(22)) && !passes("82.0.8.1", Some(443)));
}

/// Every second is asked: with nobody who renews anything, each exemption holds up to its own end and not beyond.
#[test]
fn each_ends_by_itself_when_it_should_and_hides_no_other() {
    let mut kernel = Kernel::new();
    let start = in_seconds(1);
    let at = |seconds: u32| Instant(start.0 + seconds);
    // Two references on a prefix: the prefix is exempt until the last one ends.
    kernel.exempt("81.0.1.0/24", "C-1", at(2), &[], &[]);
    kernel.exempt("81.0.1.0/24", "C-2", at(4), &["embargo"], &[]);
    // A short one inside a long one, and a long one inside a short one.
    kernel.exempt("81.0.2.0/24", "C-1", at(4), &["embargo"], &[]);
    kernel.exempt("81.0.2.1/32", "C-2", at(2), &["court"], &[]);
    kernel.exempt("81.0.3.0/24", "C-1", at(2), &["court"], &[]);
    kernel.exempt("81.0.3.1/32", "C-2", at(4), &["embargo"], &[]);
    // Both orders must be lifted: until the first of the two ends.
    kernel.exempt("82.0.1.0/24", "C-1", at(2), &["court"], &[]);
    kernel.exempt("82.0.1.1/32", "C-2", at(4), &["embargo"], &[]);
    kernel.publish(POLICY);
    let expected = [
        ("81.0.1.1", 4),
        ("81.0.2.1", 4),
        ("81.0.2.2", 4),
        ("81.0.3.1", 4),
        ("81.0.3.2", 0),
        ("82.0.1.1", 2),
        ("82.0.1.2", 0),
    ];
    for second in 0..6 {
        wait_until(at(second));
        for (address, lasts) in expected {
            let before = Instant::now();
            let passes = kernel.passes(address);
            if before == Instant::now() {
                assert_eq!(
                    passes,
                    before < at(lasts),
                    "{address} {} s after",
                    before.0 - start.0
                );
            }
        }
    }
}

#[test]
fn publishes_and_reverts_leave_the_tries_alone_and_each_generation_reads_keys_its_own_way() {
    let mut kernel = Kernel::new();
    kernel.exempt("81.0.7.0/24", "C-1", in_seconds(3600), &["embargo"], &[]);
    kernel.publish(POLICY);
    assert!(kernel.passes(RU));
    let tries = kernel.dataplane.runtime().clone();

    // Profiles have other numbers here, because the policy has exemptions of its own.
    let until = in_seconds(3600);
    let other = format!(
        "{POLICY}\n[[exemption]]\nprefixes = [\"82.0.9.0/24\"]\nreference = \"P\"\nreason = \"policy\"\nuntil = {until}\n\
         orders = [\"court\"]\n"
    );
    let image = kernel.image(&other);
    kernel.dataplane.publish(&image, None).unwrap();
    assert!(kernel.passes(RU) && !kernel.passes(NL) && !kernel.passes("82.0.9.1"));
    // One that does not know the key lifts nothing.
    let ignorant = images::image(POLICY, &images::location(&countries()).unwrap()).unwrap();
    kernel.dataplane.publish(&ignorant, None).unwrap();
    assert!(!kernel.passes(RU));
    kernel.dataplane.revert().unwrap();
    assert!(kernel.passes(RU), "the one before knows it");
    assert_eq!(*kernel.dataplane.runtime(), tries);

    kernel.dataplane.set_runtime(&BTreeMap::new()).unwrap();
    assert!(!kernel.passes(RU), "taken away at once");
}

/// The policy's own exemptions and those made at run time: each alone, whichever is milder.
#[test]
fn an_exemption_at_run_time_takes_nothing_from_one_of_the_policy() {
    let mut kernel = Kernel::new();
    let until = in_seconds(3600);
    let policy = format!(
        "{POLICY}\n[[exemption]]\nprefixes = [\"82.0.7.0/24\"]\nreference = \"P\"\nreason = \"policy\"\nuntil = {until}\n\
         [[deny]]\nprefixes = [\"81.0.7.0/24\"]\nreason = \"abuse\"\n"
    );
    kernel.exempt("82.0.7.0/24", "C-1", until, &["embargo"], &[]);
    kernel.exempt("82.0.8.0/24", "C-1", until, &[], &[]);
    kernel.exempt("81.0.7.0/24", "C-1", until, &[], &[]);
    kernel.publish(&policy);
    assert!(kernel.passes(NL), "the policy lifts more");
    assert!(kernel.passes("82.0.8.1"));
    assert!(!kernel.passes(RU), "a deny is final");
}
