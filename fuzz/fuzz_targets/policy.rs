//! Policies, read and compiled against a small location: whatever is taken is judged alike by the tables that the
//! kernel gets and by the orders as they are written.
#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
};

use cordon::{
    bundle::{Bundle, Kind, Manifest, SectionName, Source, Stage, build, read_manifest},
    compile::{FrameSettings, Heading, Query, compile},
    diagnostic::has_errors,
    geo::{ClassTable, GeoSource, Location, Prefix, Ranges},
    instant::Instant,
    policy::{self, Amendments, OrderLift, amend},
};
use libfuzzer_sys::fuzz_target;

/// 81.0.0.0/16 is RU, 82.0.0.0/16 is NL, 2001:db8:81::/48 is RU.
static LOCATION: LazyLock<Arc<Location>> = LazyLock::new(|| {
    let mut ranges_v4 = Ranges::default();
    for (start, class) in [
        ([0, 0, 0, 0], 0),
        ([81, 0, 0, 0], 3),
        ([81, 1, 0, 0], 0),
        ([82, 0, 0, 0], 2),
        ([82, 1, 0, 0], 0),
    ] {
        ranges_v4.push(u32::from(Ipv4Addr::from(start)), class);
    }
    let mut ranges_v6 = Ranges::default();
    let v6 = 0x2001_0db8_0081_u128 << 80;
    for (start, class) in [(0, 0), (v6, 3), (v6 + (1 << 80), 0)] {
        ranges_v6.push(start, class);
    }
    Arc::new(Location {
        classes: ClassTable::new(["NL".to_owned(), "RU".to_owned()]),
        prefixes_v4: Vec::<Prefix<u32>>::new(),
        prefixes_v6: Vec::new(),
        ranges_v4,
        ranges_v6,
        source: GeoSource {
            origin: "made-up".to_owned(),
            database_type: "Test".to_owned(),
            built_s: 1_780_000_000,
            sha256: String::new(),
            n_networks_v4: 2,
            n_networks_v6: 1,
            attribution: None,
        },
        digest: [7; 32],
    })
});

/// When it is compiled: among the dates that the seeds name.
const NOW: Instant = Instant(1_780_000_000);

/// What any bundle is called that the input is put into.
static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let text = "format = 1\nkind = \"policy\"\nname = \"edge\"\nrevision = 1\nissued = 2026-03-01T00:00:00Z\n\
                min_cordon = \"0.0.0\"\nchange = \"fuzz\"\nexpires = 2027-03-01T00:00:00Z\n";
    read_manifest("bundle.toml", text, Stage::Source)
        .0
        .expect("a manifest")
});

/// Policy, groups and a list, parted by NUL, in a bundle whose sizes and digests fit.
fn in_a_bundle(text: &str) {
    let names = [
        SectionName::Policy,
        SectionName::Groups,
        SectionName::List("bad".to_owned()),
    ];
    let sources = names
        .into_iter()
        .zip(text.split('\0'))
        .map(|(name, part)| Source {
            name,
            bytes: part.as_bytes().to_vec(),
        });
    if let Ok((envelope, _)) = build("fuzz.cordon", MANIFEST.clone(), sources.collect()) {
        let bundle =
            Bundle::read("fuzz.cordon", &envelope.payload, Kind::Policy).expect("it was read when built");
        assert!(bundle.policy.is_some());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    in_a_bundle(text);
    let text = text.split('\0').next().unwrap_or_default();
    drop(policy::named_lists(text));
    let (policy, remarks) = policy::parse("fuzz.toml", text);
    assert_eq!(policy.is_none(), has_errors(&remarks), "{remarks:?}");
    for remark in &remarks {
        assert!(!remark.to_string().is_empty());
    }
    let Some(policy) = policy else {
        return;
    };
    let frame = FrameSettings::default();
    let lifts = policy.orders.iter().map(|order| OrderLift {
        order: order.id.value.clone(),
        until: Some(Instant(NOW.0 + 3600)),
    });
    let amendments = Amendments {
        lifts: lifts.collect(),
        halts: Vec::new(),
    };
    let (image, remarks) = compile(&policy, text, &LOCATION, NOW, &frame);
    assert_eq!(image.is_none(), has_errors(&remarks), "{remarks:?}");
    let Some(image) = image else {
        return;
    };
    if policy.orders.is_empty() {
        let (again, _) = compile(&policy, text, &LOCATION, NOW, &frame);
        let digest = again.map(|image| image.digest);
        assert_eq!(digest, Some(image.digest), "one policy, one image");
    } else {
        drop(compile(
            &amend(policy, &amendments, NOW),
            text,
            &LOCATION,
            NOW,
            &frame,
        ));
    }
    for source in ["81.0.7.7", "82.0.7.7", "83.0.7.7", "2001:db8:81::7"] {
        let address: IpAddr = source.parse().expect("an address");
        let query = Query {
            address,
            heading: Heading::default(),
            now: NOW,
            failsafe: &[],
            runtime: &[],
        };
        assert_eq!(
            image.explain(&query).action,
            image.verdict(&query).action.name(),
            "{source}"
        );
    }
});
