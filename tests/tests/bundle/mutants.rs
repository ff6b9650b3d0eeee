//! Bundles altered by chance. Those that are altered before they are signed meet every parser; those that are altered
//! afterwards meet the signatures. A host that has the original takes none of them, but for one that is a later revision in
//! every respect, and then another reader, written from the specification, reads the same in it.

use std::{collections::BTreeMap, env, fs};

use cordon::bundle::{
    Digest, Reason,
    freshness::{Freshness, Mark},
};
use integration_tests::{
    bundle_writer::{Draft, RawBundle, RawSection, Signer},
    rng::{Rng, seed_from_time},
};

use super::Host;

/// Mutants by default, and those that the project promises (issue 4).
const N_MUTANTS: usize = 20_000;
const N_PROMISED: usize = 100_000;

/// Reading one bundle of a few kilobytes after the other takes no memory to speak of.
const MAX_GROWTH_KIB: u64 = 256 << 10;

/// What only an envelope that was altered after signing leads to.
const BY_ENVELOPE: &[Reason] = &[
    Reason::NotABundle,
    Reason::UnknownVersion,
    Reason::WrongKind,
    Reason::Truncated,
    Reason::TrailingBytes,
    Reason::TooLarge,
    Reason::MalformedSignature,
    Reason::BadSignature,
    Reason::UnknownKey,
    Reason::Unsigned,
];

/// What a payload that was altered before signing never leads to.
pub(crate) const NEVER_BY_PAYLOAD: &[Reason] = &[
    Reason::Unreadable,
    Reason::NotABundle,
    Reason::MalformedSignature,
    Reason::NoTrustedKey,
    Reason::Unsigned,
    Reason::UnknownKey,
    Reason::RevokedKey,
    Reason::VerbNotAllowed,
    Reason::BadSignature,
    Reason::BelowThreshold,
];

fn n_mutants() -> usize {
    let asked = env::var("CORDON_BUNDLE_MUTANTS")
        .ok()
        .map(|n| n.parse().expect("a number"));
    let is_full = env::var_os("CORDON_TEST_FULL").is_some();
    asked.unwrap_or(if is_full { N_PROMISED } else { N_MUTANTS })
}

/// Random numbers of a seed that is printed; `CORDON_SEED` brings one back.
fn seeded() -> Rng {
    let asked = env::var("CORDON_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let seed = asked.unwrap_or_else(seed_from_time);
    println!("CORDON_SEED={seed}");
    Rng::new(seed)
}

#[test]
fn mutants_signed_anew_are_refused_or_are_later_revisions() {
    let one = Signer::named("one");
    let mut rng = seeded();
    let seeds = [Draft::policy(), Draft::geo(), Draft::directive()];
    let hosts = seeds.each_ref().map(host_with);
    let before = peak_kib();
    let mut met: BTreeMap<Reason, usize> = BTreeMap::new();
    let (mut n_idle, mut n_taken) = (0, 0);
    for number in 0..n_mutants() {
        // Policy bundles have more to alter.
        let which = match rng.below(6) {
            0 => 1,
            1 => 2,
            _ => 0,
        };
        let (seed, host) = (&seeds[which], &hosts[which]);
        let payload = mutant(seed, &mut rng);
        let bytes = RawBundle::signed(seed.kind_code(), payload.clone(), &[&one]).to_bytes();
        match host.take(&bytes) {
            Err(rejected) => {
                assert!(
                    !NEVER_BY_PAYLOAD.contains(&rejected.reason),
                    "mutant {number}: {rejected:?}\n{}",
                    String::from_utf8_lossy(&payload)
                );
                assert!(
                    !rejected.remarks.is_empty(),
                    "mutant {number} is refused without a word"
                );
                *met.entry(rejected.reason).or_default() += 1;
            }
            Ok(Freshness::Idle { .. }) => {
                assert_eq!(
                    payload,
                    seed.payload(),
                    "mutant {number} is taken for the original"
                );
                n_idle += 1;
            }
            Ok(Freshness::Accept { .. }) => {
                check_by_another_reader(&payload, seed);
                n_taken += 1;
            }
        }
    }
    let grown = peak_kib().saturating_sub(before);
    assert!(
        grown < MAX_GROWTH_KIB,
        "reading mutants took {grown} KiB of memory"
    );
    assert!(met.len() >= 12, "the mutants are too tame: {met:?}");
    println!("{n_taken} later revisions, {n_idle} unchanged, {met:?}");
}

#[test]
fn mutants_altered_after_signing_are_refused() {
    let one = Signer::named("one");
    let mut rng = seeded();
    let seeds = [Draft::policy(), Draft::geo(), Draft::directive()]
        .map(|seed| (seed.signed(&[&one]).to_bytes(), host_with(&seed)));
    for number in 0..n_mutants() {
        let (seed, host) = &seeds[rng.below(3)];
        let mut bytes = seed.clone();
        for _ in 0..=rng.below(3) {
            // The first bytes decide most.
            let n_bytes = if rng.below(2) == 0 {
                180.min(bytes.len())
            } else {
                bytes.len()
            };
            mutate(&mut bytes, n_bytes, &mut rng);
        }
        match host.take(&bytes) {
            Err(rejected) => assert!(
                BY_ENVELOPE.contains(&rejected.reason),
                "mutant {number}: {rejected:?}"
            ),
            Ok(_) => assert_eq!(&bytes, seed, "mutant {number} is taken"),
        }
    }
}

/// A host that has the original.
fn host_with(seed: &Draft) -> Host {
    let name = match seed.kind.as_str() {
        "geo" => "country",
        "directive" => "duty",
        _ => "edge",
    };
    Host {
        mark: Some(Mark {
            name: name.to_owned(),
            revision: 7,
            digest: Digest::of(&seed.payload()),
        }),
        ..Host::new()
    }
}

/// A payload that is somewhere else than the seed says.
pub(crate) fn mutant(seed: &Draft, rng: &mut Rng) -> Vec<u8> {
    let mut draft = seed.clone();
    if rng.below(3) == 0 {
        draft.manifest = draft.manifest.replacen("revision = 7", "revision = 8", 1);
    }
    for _ in 0..=rng.below(2) {
        match rng.below(9) {
            0 | 1 => draft.manifest = mutate_lines(&draft.manifest, rng),
            2 => draft.named = Some(mutate_lines(&draft.tables(), rng)),
            3 => mutate_header(&mut draft, rng),
            4 => mutate_set(&mut draft.sections, rng),
            5 => {
                draft.named = Some(draft.tables());
                mutate_content(&mut draft, rng);
            }
            6 => mutate_content(&mut draft, rng),
            7 => {
                let mut line = format!("cordon {} 1\n", draft.kind).into_bytes();
                let n_bytes = line.len();
                mutate(&mut line, n_bytes, rng);
                draft.first_line = Some(String::from_utf8_lossy(&line).into_owned());
            }
            _ => {
                let n_bytes = draft.end.len();
                mutate(&mut draft.end, n_bytes, rng);
            }
        }
    }
    let mut payload = draft.payload();
    if rng.below(4) == 0 {
        let n_bytes = payload.len();
        mutate(&mut payload, n_bytes, rng);
    }
    payload
}

const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "8",
    "18446744073709551615",
    "9007199254740991",
    "true",
    "\"\"",
    "\"x\"",
    "[]",
    "{}",
    "[[section]]",
    "[target]",
    "[database]",
    "nan",
    "2026-11-02",
    "2026-11-02T00:00:00Z",
    "2099-01-01T00:00:00Z",
    "\"*\"",
    "\"../x\"",
    "\"\\u0000\"",
    "\"99.0.0\"",
    "=",
    "\"",
    "'''",
    "revision = 9",
    "kind = \"geo\"",
    "#",
    "\t",
];

/// Alters lines of a text.
fn mutate_lines(text: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return WORDS[rng.below(WORDS.len())].to_owned();
    }
    let at = rng.below(lines.len());
    let word = WORDS[rng.below(WORDS.len())];
    match rng.below(7) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let other = rng.below(lines.len());
            lines.swap(at, other);
        }
        3 => lines.insert(at, word.to_owned()),
        4 => {
            let key = lines[at].split(" = ").next().unwrap_or_default().to_owned();
            lines[at] = format!("{key} = {word}");
        }
        _ => {
            let mut line = lines[at].clone().into_bytes();
            let n_bytes = line.len();
            mutate(&mut line, n_bytes, rng);
            lines[at] = String::from_utf8_lossy(&line).into_owned();
        }
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn mutate_header(draft: &mut Draft, rng: &mut Rng) {
    let names = [
        "manifest",
        "policy",
        "groups",
        "list:lab",
        "list:zzz",
        "database",
        "../policy",
        "list:",
        "end",
        "",
    ];
    let Some(section) = pick(&mut draft.sections, rng) else {
        return;
    };
    let n_bytes = section.stored.len();
    match rng.below(3) {
        0 => section.name = names[rng.below(names.len())].to_owned(),
        1 => section.encoding = ["raw", "zstd", "gzip", ""][rng.below(4)].to_owned(),
        _ => {
            let sizes = [
                0,
                1,
                n_bytes - n_bytes.min(1),
                n_bytes + 1,
                n_bytes * 2,
                usize::MAX,
                n_bytes + 24,
            ];
            section.size = Some(sizes[rng.below(sizes.len())].to_string());
        }
    }
}

fn mutate_set(sections: &mut Vec<RawSection>, rng: &mut Rng) {
    if sections.is_empty() {
        return;
    }
    let (at, other) = (rng.below(sections.len()), rng.below(sections.len()));
    match rng.below(3) {
        0 => drop(sections.remove(at)),
        1 => sections.insert(other, sections[at].clone()),
        _ => sections.swap(at, other),
    }
}

fn mutate_content(draft: &mut Draft, rng: &mut Rng) {
    let Some(section) = pick(&mut draft.sections, rng) else {
        return;
    };
    let n_bytes = section.stored.len();
    mutate(&mut section.stored, n_bytes, rng);
}

fn pick<'s>(sections: &'s mut [RawSection], rng: &mut Rng) -> Option<&'s mut RawSection> {
    let n_sections = sections.len().max(1);
    sections.get_mut(rng.below(n_sections))
}

/// Alters bytes among the first `n_bytes`.
fn mutate(bytes: &mut Vec<u8>, n_bytes: usize, rng: &mut Rng) {
    let n_bytes = n_bytes.min(bytes.len());
    if n_bytes == 0 {
        return bytes.push(rng.next_u64() as u8);
    }
    let at = rng.below(n_bytes);
    match rng.below(7) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = rng.next_u64() as u8,
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, [0, b'\n', b' ', 0xff, b'0', b'"'][rng.below(6)]),
        4 => bytes.truncate(at),
        5 => {
            let end = (at + 1 + rng.below(32)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            let to = rng.below(n_bytes);
            bytes.splice(to..to, part);
        }
        _ => {
            let end = (at + 1 + rng.below(32)).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}

/// Reads a payload that was taken in another way, and finds a later revision of the seed in which all is as it says.
pub(crate) fn check_by_another_reader(payload: &[u8], seed: &Draft) {
    let shown = String::from_utf8_lossy(payload);
    let sections = split(payload, &seed.kind);
    let manifest = std::str::from_utf8(&sections[0].1).unwrap();
    let manifest: toml::Table = manifest
        .parse()
        .unwrap_or_else(|error| panic!("{error}\n{shown}"));
    assert!(manifest["revision"].as_integer() > Some(7), "{shown}");
    assert_eq!(manifest["kind"].as_str(), Some(seed.kind.as_str()), "{shown}");
    let named = manifest["section"].as_array().unwrap();
    assert_eq!(sections[0].0, "manifest", "{shown}");
    assert_eq!(named.len(), sections.len() - 1, "{shown}");
    for (named, (name, content)) in named.iter().zip(&sections[1..]) {
        assert_eq!(named["name"].as_str(), Some(name.as_str()), "{shown}");
        assert_eq!(
            named["bytes"].as_integer(),
            i64::try_from(content.len()).ok(),
            "{shown}"
        );
        assert_eq!(
            named["sha256"].as_str(),
            Some(Digest::of(content).to_string().as_str()),
            "{shown}"
        );
    }
}

/// The sections of a payload, expanded.
fn split(payload: &[u8], kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut sections = Vec::new();
    let first = format!("cordon {kind} 1\n");
    let mut rest = payload.strip_prefix(first.as_bytes()).expect("the first line");
    while rest != b"end\n" {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("a header");
        let header = std::str::from_utf8(&rest[..end]).expect("a header is text");
        let words: Vec<&str> = header.split(' ').collect();
        let [_, name, encoding, size] = words[..] else {
            panic!("`{header}` is no header");
        };
        let size: usize = size.parse().expect("a size");
        let (stored, behind) = rest[end + 1..].split_at(size);
        let content = match encoding {
            "raw" => stored.to_vec(),
            _ => zstd::stream::decode_all(stored).expect("a frame"),
        };
        sections.push((name.to_owned(), content));
        rest = behind.strip_prefix(b"\n").expect("a newline behind the section");
    }
    sections
}

/// Most memory that this process ever had.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
