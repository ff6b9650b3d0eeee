//! Small images for unit tests.

use std::sync::Arc;

use crate::{
    compile::{FrameSettings, Image, Matrix, Scopes, compile},
    geo::{ClassTable, GeoSource, Location, Ranges},
    instant::Instant,
    policy,
};

/// A location of two made-up places in documentation prefixes: 198.51.100.128/25 is XA, 203.0.113.0/24 is XB.
pub fn location() -> Arc<Location> {
    let mut ranges_v4 = Ranges::default();
    for (start, class) in [
        ("0.0.0.0", 0),
        ("192.168.0.0", 1),
        ("192.169.0.0", 0),
        ("198.51.100.128", 2),
        ("198.51.101.0", 0),
        ("203.0.113.0", 3),
        ("203.0.114.0", 0),
    ] {
        let start: std::net::Ipv4Addr = start.parse().unwrap();
        ranges_v4.push(u32::from(start), class);
    }
    Arc::new(Location {
        classes: ClassTable::new(["XA".to_owned(), "XB".to_owned()]),
        prefixes_v4: Vec::new(),
        prefixes_v6: Vec::new(),
        ranges_v4,
        ranges_v6: Ranges::default(),
        source: GeoSource {
            origin: "made-up".to_owned(),
            database_type: "Test".to_owned(),
            built_s: 1_780_000_000,
            sha256: String::new(),
            n_networks_v4: 2,
            n_networks_v6: 0,
            attribution: None,
        },
        digest: [7; 32],
    })
}

/// An image with that location and nothing else.
pub fn bare_image() -> Image {
    Image {
        policy_name: "bare".to_owned(),
        policy_sha256: String::new(),
        location: location(),
        matrix: Matrix {
            n_classes: 4,
            n_profiles: 3,
            cells: Vec::new(),
        },
        scopes: Scopes::default(),
        tiers: Vec::new(),
        tier_names: Vec::new(),
        redirects: Vec::new(),
        replies: true,
        events: None,
        frame: FrameSettings::default(),
        stages: Vec::new(),
        overrides: Vec::new(),
        runtime_profiles: [0; probe_common::lift_key::N],
        runtime_known: std::collections::BTreeSet::new(),
        profiles: Vec::new(),
        orders: Vec::new(),
        digest: [1; 32],
    }
}

/// Compiles a policy with that location.
pub fn image(text: &str, now: Instant) -> Image {
    let (policy, diagnostics) = policy::parse("test.toml", text);
    let policy = policy.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let (image, diagnostics) = compile(&policy, text, &location(), now, &FrameSettings::default());
    image.unwrap_or_else(|| panic!("{diagnostics:?}"))
}
