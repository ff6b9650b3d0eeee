//! The whole of a bundle: what is built is read, what is altered is not.

use proptest::prelude::*;

use super::{
    key::SecretKey,
    trust::{KeyFile, Rules, Trust},
    *,
};
use crate::instant::Instant;

const POLICY: &str = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n";

fn manifest() -> Manifest {
    Manifest {
        name: "edge".to_owned(),
        revision: 7,
        issued: Instant(1_800_000_000),
        min_cordon: Version::default(),
        change: "first \"quoted\" issue\nof two lines".to_owned(),
        content: Content::Policy(PolicyContent {
            validity: Validity {
                not_before: Some(Instant(1_800_000_001)),
                expires: Instant(1_900_000_000),
                target: Target {
                    hosts: vec!["edge-*".to_owned()],
                    labels: [("site".to_owned(), "fra".to_owned())].into(),
                },
            },
            database: Some(DatabaseNeed {
                name: "country".to_owned(),
                oldest_build: Some(Instant(1_700_000_000)),
                max_age_days: Some(45),
            }),
        }),
        sections: Vec::new(),
    }
}

fn source(name: &str, content: &str) -> Source {
    Source {
        name: SectionName::parse(name).unwrap(),
        bytes: content.as_bytes().to_vec(),
    }
}

fn built() -> Envelope {
    let sources = vec![
        source("list:office", "203.0.113.0/24\n"),
        source("policy", POLICY),
        source("groups", "[[group]]\nname = \"near\"\ncountries = [\"DE\"]\n"),
    ];
    build("edge", manifest(), sources).unwrap().0
}

fn signed_and_trusted(n_keys: usize) -> (Envelope, Trust) {
    let mut envelope = built();
    let mut files = Vec::new();
    for number in 0..n_keys {
        let (key, _) = SecretKey::generate(None).unwrap();
        assert!(envelope.add(key.sign(&envelope.payload, "by a test").unwrap()));
        files.push(KeyFile {
            file: format!("{number}.pub"),
            key: key.public().unwrap(),
        });
    }
    let rules = Rules {
        thresholds: [(trust::Verb::Apply, n_keys)].into(),
        ..Rules::default()
    };
    (envelope, Trust::new(files, rules).unwrap())
}

/// Before it is read, and after it is known who signed it.
#[test]
fn what_reading_takes_is_known_by_the_sizes_of_the_lists() {
    let (envelope, trust) = signed_and_trusted(1);
    let n_bytes = "203.0.113.0/24\n".len() as u64;
    assert_eq!(bytes_to_read("x", &envelope, &trust).unwrap(), n_bytes * 47);
    let none = Trust::new(Vec::new(), Rules::default()).unwrap();
    let rejected = bytes_to_read("x", &envelope, &none).unwrap_err();
    assert_eq!(rejected.reason, open("x", &envelope, &none).unwrap_err().reason);
}

#[test]
fn what_was_built_and_signed_is_opened() {
    let (envelope, trust) = signed_and_trusted(2);
    let bytes = envelope.to_bytes();
    let read = Envelope::read("edge.cordon", &bytes[..]).unwrap();
    assert_eq!(read, envelope);
    let (bundle, votes) = open("edge.cordon", &read, &trust).unwrap();
    assert_eq!(votes.keys.len(), 2);
    let expected = manifest();
    assert_eq!(
        (bundle.manifest.revision, &bundle.manifest.content),
        (7, &expected.content)
    );
    assert_eq!(bundle.manifest.change, expected.change);
    assert_eq!(bundle.lists["office"].len(), 1);
    let (policy, text) = bundle.policy.unwrap();
    assert_eq!(
        policy.name, "edge",
        "a policy without a name is called as its bundle"
    );
    assert!(text.starts_with(POLICY) && text.contains("[[group]]"), "{text}");
    assert_eq!(
        bundle.warnings[0].place.file, "edge.cordon/groups",
        "the group is unused"
    );
    assert_eq!(bundle.warnings[0].place.line, 2);
}

#[test]
fn building_is_reproducible_and_does_not_depend_on_the_order_of_sources() {
    assert_eq!(built(), built());
    let sources = vec![source("policy", POLICY), source("list:a", "10.0.0.0/8\n")];
    let turned = sources.iter().rev().cloned().collect();
    let (one, other) = (build("x", manifest(), sources), build("x", manifest(), turned));
    assert_eq!(one.unwrap().0, other.unwrap().0);
}

#[test]
fn every_flipped_bit_before_the_payload_is_noticed() {
    let (envelope, trust) = signed_and_trusted(2);
    let bytes = envelope.to_bytes();
    for bit in 0..(bytes.len() - envelope.payload.len()) * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let opened = Envelope::read("x", &altered[..]).and_then(|envelope| {
            let (bundle, _) = open("x", &envelope, &trust)?;
            Ok(bundle.digest)
        });
        assert!(opened.is_err(), "bit {bit} of {}", bytes.len() * 8);
    }
}

#[test]
fn every_shorter_and_every_longer_file_is_noticed() {
    let (envelope, _) = signed_and_trusted(1);
    let bytes = envelope.to_bytes();
    for n_bytes in 0..bytes.len() {
        let rejected = Envelope::read("x", &bytes[..n_bytes]).unwrap_err();
        assert_eq!(rejected.reason, Reason::Truncated, "{n_bytes} bytes");
    }
    let rejected = Envelope::read("x", &[&bytes[..], b"\n"].concat()[..]).unwrap_err();
    assert_eq!(rejected.reason, Reason::TrailingBytes);
}

#[test]
fn memory_is_taken_for_what_is_there_and_not_for_what_is_announced() {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0, 1, 0]);
    bytes.extend((limits::MAX_PAYLOAD_BYTES as u32).to_le_bytes());
    let rejected = Envelope::read("x", &bytes[..]).unwrap_err();
    assert_eq!(rejected.reason, Reason::Truncated);
    let mut endless = bytes.clone();
    endless[12..16].fill(0xff);
    let rejected = Envelope::read("x", endless.chain(std::io::repeat(0))).unwrap_err();
    assert_eq!(rejected.reason, Reason::TooLarge);
}

use std::io::Read as _;

#[test]
fn a_bundle_has_at_most_so_many_signatures_and_one_by_each_key() {
    let mut envelope = built();
    let (key, _) = SecretKey::generate(None).unwrap();
    for comment in ["one", "two"] {
        assert!(envelope.add(key.sign(&envelope.payload, comment).unwrap()));
    }
    assert_eq!(envelope.signatures.len(), 1);
    assert_eq!(envelope.signatures[0].comment, "two", "the later one holds");
    for _ in 1..limits::MAX_SIGNATURES {
        let (key, _) = SecretKey::generate(None).unwrap();
        assert!(envelope.add(key.sign(&envelope.payload, "").unwrap()));
    }
    let read = Envelope::read("x", &envelope.to_bytes()[..]).unwrap();
    assert_eq!(read, envelope);
    let (key, _) = SecretKey::generate(None).unwrap();
    assert!(!envelope.add(key.sign(&envelope.payload, "").unwrap()));
}

#[test]
fn a_signature_survives_its_minisig_file() {
    let (key, _) = SecretKey::generate(None).unwrap();
    let signature = key.sign(b"payload", "timestamp:7\tfile:payload").unwrap();
    assert_eq!(Signature::from_minisig(&signature.to_minisig()), Ok(signature));
}

#[test]
fn malformed_minisig_files_are_named() {
    let (key, _) = SecretKey::generate(None).unwrap();
    let good = key.sign(b"payload", "comment").unwrap().to_minisig();
    let lines: Vec<&str> = good.lines().collect();
    let with = |number: usize, line: &str| {
        let mut lines = lines.clone();
        lines[number] = line;
        lines.join("\n")
    };
    let legacy = lines[1].replacen("RUQ", "RWQ", 1).replacen("RUR", "RWR", 1);
    let legacy = legacy.replacen("RUS", "RWS", 1).replacen("RUT", "RWT", 1);
    for (text, expected) in [
        (String::new(), "four lines, not 0"),
        (format!("{good}more\n"), "four lines, not 5"),
        (with(0, "comment"), "line 1 must begin"),
        (with(1, &lines[1][1..]), "line 2 must be 74 bytes"),
        (with(1, lines[3]), "line 2 must be 74 bytes"),
        (with(1, &legacy), "a legacy one"),
        (with(2, "comment"), "line 3 must begin"),
        (with(2, "trusted comment: x\u{7}"), "control characters"),
        (with(2, "trusted comment: x "), "begins or ends with a blank"),
        (
            with(2, &format!("trusted comment: {}", "x".repeat(257))),
            "longer than 256",
        ),
        (with(3, "AAAA"), "line 4 must be 64 bytes"),
    ] {
        let malformed = Signature::from_minisig(&text).unwrap_err();
        assert!(malformed.message.contains(expected), "{text}: {malformed:?}");
    }
}

#[test]
fn a_protected_key_needs_its_password() {
    let (key, text) = SecretKey::generate(Some("secret")).unwrap();
    let error = |password| SecretKey::from_file_text(&text, password).err().unwrap();
    assert_eq!(error(None), key::SecretKeyError::PasswordNeeded);
    assert!(error(Some("other")).to_string().contains("Wrong password"));
    let again = SecretKey::from_file_text(&text, Some("secret")).unwrap();
    assert_eq!(again.public(), key.public());
}

fn names() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9._-]{0,63}"
}

fn texts() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{0,40}[\"'\\\\\n\t]{0,3}[a-z]"
}

fn instants() -> impl Strategy<Value = Instant> {
    (1u32..u32::MAX - 1).prop_map(Instant)
}

fn targets() -> impl Strategy<Value = Target> {
    let pattern = || "[a-zA-Z0-9*?._:/-]{1,20}";
    let hosts = proptest::collection::btree_map("[a-z0-9*?.-]{1,20}", Just(()), 0..4);
    (hosts, proptest::collection::btree_map(names(), pattern(), 0..4)).prop_map(|(hosts, labels)| Target {
        hosts: hosts.into_keys().collect(),
        labels,
    })
}

fn needs() -> impl Strategy<Value = DatabaseNeed> {
    (
        names(),
        proptest::option::of(instants()),
        proptest::option::of(1u32..36_500),
    )
        .prop_map(|(name, oldest_build, max_age_days)| DatabaseNeed {
            name,
            oldest_build,
            max_age_days,
        })
}

prop_compose! {
    fn manifests()(
        name in names(),
        revision in 1..=limits::MAX_REVISION,
        mut dates in [instants(), instants(), instants()],
        version in (0u32.., 0u32.., 0u32..),
        change in texts(),
        licence in texts(),
        target in targets(),
        database in proptest::option::of(needs()),
        has_begin in any::<bool>(),
        kind in proptest::sample::select(&Kind::ALL[..]),
    ) -> Manifest {
        dates.sort();
        let [first, second, third] = dates;
        let not_before = has_begin.then_some(second);
        let validity = Validity { not_before, expires: Instant(third.0 + 1), target };
        let content = match kind {
            Kind::Geo => Content::Geo(GeoContent { built: first, licence }),
            Kind::Policy => Content::Policy(PolicyContent { validity, database }),
            Kind::Directive => Content::Directive(DirectiveContent { validity }),
        };
        let issued = if kind == Kind::Geo { second } else { first };
        let min_cordon = Version { major: version.0, minor: version.1, patch: version.2 };
        Manifest { name, revision, issued, min_cordon, change, content, sections: Vec::new() }
    }
}

proptest! {
    #[test]
    fn a_manifest_survives_its_text(manifest in manifests()) {
        let (again, remarks) = read_manifest("bundle.toml", &manifest.to_text(), Stage::Source);
        prop_assert_eq!(again, Some(manifest), "{:?}", remarks);
    }

    #[test]
    fn sections_survive_the_payload(lists in proptest::collection::btree_map(names(), ".{0,40}", 0..5)) {
        let mut sections = vec![
            payload::Stored { name: SectionName::Manifest, encoding: Encoding::Raw, bytes: b"m" },
            payload::Stored { name: SectionName::Policy, encoding: Encoding::Raw, bytes: b"end\n" },
        ];
        sections.extend(lists.iter().map(|(name, content)| payload::Stored {
            name: SectionName::List(name.clone()),
            encoding: Encoding::Raw,
            bytes: content.as_bytes(),
        }));
        let bytes = payload::to_bytes(Kind::Policy, sections.iter().rev().cloned().collect()).unwrap();
        prop_assert_eq!(payload::parse("x", &bytes, Kind::Policy).unwrap(), sections);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Envelope::read("x", &bytes[..]));
        for kind in Kind::ALL {
            drop(Bundle::read("x", &bytes, kind));
        }
        drop(read_manifest("x", &String::from_utf8_lossy(&bytes), Stage::Signed));
    }
}
