//! A policy that uses everything: it loads, and the verifier is far from its limits.

use cordon::compile::FrameSettings;
use integration_tests::images;

use super::{ephemeral, location};

#[test]
fn programs_stay_below_their_size() {
    const LIMIT: u32 = 250_000;
    let mut dataplane = ephemeral();
    let frame = FrameSettings {
        inspect_inner: true,
        nat64_prefixes: vec![
            "2001:db8:64::/96".parse().unwrap(),
            "2001:db8:6464::/48".parse().unwrap(),
        ],
        ..FrameSettings::default()
    };
    let image = images::image_with(EVERYTHING, &location(), &frame).unwrap();
    dataplane.publish(&image, None).unwrap();
    let programs = dataplane.programs().unwrap();
    let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
    // Without an interface there is no egress program yet.
    assert_eq!(
        names,
        ["cordon_entry", "cordon_gen", "cordon_sample", "cordon_out"]
    );
    for program in programs {
        println!("{program:?}");
        let size = program.verified_instructions.expect("this kernel counts them");
        assert!(
            size < LIMIT,
            "{} takes the verifier {size} instructions",
            program.name
        );
    }
}

/// A policy that uses every feature, so that no constant removes code.
const EVERYTHING: &str = r#"
version = 1
default = "pass"
unknown = "pass"

[events]
drops = 10
passes = 1000

[[tier]]
name = "dim"
action = "mark"
dscp = "cs1"

[[tier]]
name = "slow"
action = "limit"
packets_per_s = 100
bytes_per_s = 100000

[[tier]]
name = "aside"
action = "redirect"
interface = "nowhere0"
next_hop = "02:00:00:00:00:01"

[[service]]
name = "web"
interfaces = ["nowhere1"]
vlans = [5]
destinations = ["192.0.2.1/32", "2001:db8::1/128"]
protocols = ["tcp", "udp"]
ports = [443]

[[order]]
id = "all"
authority = "Test"

[[order.rule]]
action = "reject"
direction = "both"
services = ["web"]
countries = ["RU"]

[[order.rule]]
action = "slow"
services = ["web"]
everywhere = true

[[order.rule]]
action = "drop"
countries = ["RU"]
phases = [
    { until = 2090-01-01T00:00:00Z, action = "count" },
    { until = 2091-01-01T00:00:00Z, action = "dim" },
    { until = 2092-01-01T00:00:00Z, action = "aside" },
    { until = 2093-01-01T00:00:00Z, action = "drain" },
]

[[deny]]
prefixes = ["12.0.7.0/24"]
reason = "abuse"

[[exemption]]
prefixes = ["12.0.8.0/24"]
reference = "CASE-1"
reason = "test"
until = 2099-01-01T00:00:00Z
"#;

/// An exemption's phase with the action of the order, but a milder tier, takes the milder one.
#[test]
fn a_milder_tier_of_the_same_action_is_taken() {
    let policy = r#"
version = 1
default = "pass"
unknown = "pass"

[[tier]]
name = "strict"
action = "limit"
packets_per_s = 10

[[tier]]
name = "mild"
action = "limit"
packets_per_s = 1000

[[order]]
id = "all"
authority = "Test"

[[order.rule]]
action = "strict"
countries = ["RU"]

[[exemption]]
prefixes = ["12.0.8.0/24"]
reference = "CASE-1"
reason = "test"
phases = [{ until = 2099-01-01T00:00:00Z, action = "mild" }]
"#;
    // The verification compares the tier of every sample with the oracle's.
    let image = images::image(policy, &location()).unwrap();
    ephemeral().publish(&image, None).unwrap();
}
