use cordon::bundle::Reason;
use integration_tests::bundle_writer::POLICY;

use super::{Corpus, replace};

/// The manifest is content, and the part of it that decides about the rest.
const S7: &str = "S7 manifest";

pub(super) fn add(corpus: &mut Corpus) {
    missing_keys(corpus);
    values(corpus);
    targets(corpus);
    sections(corpus);
    texts(corpus);
}

fn malformed(corpus: &mut Corpus, name: &str, from: &str, to: &str) {
    corpus.policy(S7, name, Reason::MalformedManifest, |draft| {
        draft.manifest = replace(&draft.manifest, from, to);
    });
}

fn missing_keys(corpus: &mut Corpus) {
    for line in [
        "format = 1\n",
        "kind = \"policy\"\n",
        "name = \"edge\"\n",
        "revision = 7\n",
        "issued = 2026-11-01T00:00:00Z\n",
        "min_cordon = \"0.0.0\"\n",
        "change = \"order 2026/17\"\n",
        "expires = 2027-02-01T00:00:00Z\n",
    ] {
        let key = line.split(' ').next().unwrap_or_default();
        malformed(corpus, &format!("without `{key}`"), line, "");
    }
    for line in ["built = 2026-10-31T00:00:00Z\n", "licence = \"CC-BY-4.0\"\n"] {
        let name = format!("without `{}`", line.split(' ').next().unwrap_or_default());
        corpus.geo(S7, &name, Reason::MalformedManifest, |draft| {
            draft.manifest = replace(&draft.manifest, line, "");
        });
    }
    corpus.policy(S7, "without sections", Reason::MalformedManifest, |draft| {
        draft.named = Some(String::new())
    });
}

fn values(corpus: &mut Corpus) {
    let long = format!("change = \"{}\"", "x".repeat(4097));
    for (name, from, to) in [
        (
            "a newer format",
            "format = 1",
            "format = 2\nfrom_the_future = true",
        ),
        ("format 0", "format = 1", "format = 0"),
        ("an unknown kind", "kind = \"policy\"", "kind = \"script\""),
        ("an unknown key", "revision = 7", "revision = 7\nurgent = true"),
        ("a key that is misspelt", "expires", "expire"),
        ("a key twice", "revision = 7", "revision = 7\nrevision = 8"),
        ("a name in capitals", "name = \"edge\"", "name = \"Edge\""),
        ("a name with a path", "name = \"edge\"", "name = \"../edge\""),
        ("an empty name", "name = \"edge\"", "name = \"\""),
        (
            "a local time",
            "issued = 2026-11-01T00:00:00Z",
            "issued = 2026-11-01T00:00:00",
        ),
        (
            "a day for an instant",
            "issued = 2026-11-01T00:00:00Z",
            "issued = 2026-11-01",
        ),
        ("a year beyond 2106", "expires = 2027", "expires = 2127"),
        ("a version of two numbers", "\"0.0.0\"", "\"0.1\""),
        ("a version of a candidate", "\"0.0.0\"", "\"0.1.0-rc1\""),
        ("no change summary", "\"order 2026/17\"", "\" \""),
        (
            "a change summary with an escape sequence",
            "\"order 2026/17\"",
            "\"\\u001b[2J\"",
        ),
        (
            "a change summary of 4,097 characters",
            "change = \"order 2026/17\"",
            &long,
        ),
        (
            "a database without a name",
            "[database]\nname = \"country\"",
            "[database]",
        ),
        ("a database of no age", "max_age_days = 45", "max_age_days = 0"),
        ("an age in words", "max_age_days = 45", "max_age_days = \"45d\""),
        (
            "an unknown key of the database",
            "max_age_days = 45",
            "max_age = 45",
        ),
        (
            "a key of another kind",
            "revision = 7",
            "revision = 7\nlicence = \"MIT\"",
        ),
    ] {
        malformed(corpus, name, from, to);
    }
    corpus.policy(
        S7,
        "geo data in a policy bundle",
        Reason::MalformedManifest,
        |draft| {
            draft.manifest = integration_tests::bundle_writer::GEO_MANIFEST.to_owned();
        },
    );
    corpus.geo(
        S7,
        "a policy in a geo bundle",
        Reason::MalformedManifest,
        |draft| {
            draft.manifest = integration_tests::bundle_writer::POLICY_MANIFEST.to_owned();
        },
    );
    corpus.geo(S7, "geo data with an end", Reason::MalformedManifest, |draft| {
        draft.manifest.push_str("expires = 2027-02-01T00:00:00Z\n");
    });
}

fn targets(corpus: &mut Corpus) {
    let hosts = "hosts = [\"edge-*\", \"gw\"]";
    let labels = "labels = { site = \"fra*\" }";
    let target = format!("{hosts}\n{labels}\n");
    for (name, from, to) in [
        ("a target that selects nothing", target.as_str(), ""),
        ("no host", hosts, "hosts = []"),
        ("hosts without brackets", hosts, "hosts = \"edge-*\""),
        ("a host twice", hosts, "hosts = [\"gw\", \"GW\"]"),
        ("an empty host", hosts, "hosts = [\"\"]"),
        ("a host with a blank", hosts, "hosts = [\"edge 1\"]"),
        ("a host that is a number", hosts, "hosts = [7]"),
        ("labels in a list", labels, "labels = [\"site=fra\"]"),
        ("a label in capitals", labels, "labels = { Site = \"fra\" }"),
        ("a label that is a number", labels, "labels = { site = 7 }"),
        ("an unknown key of the target", labels, "except = [\"edge-7\"]"),
    ] {
        malformed(corpus, name, from, to);
    }
    let many: Vec<String> = (0..1025).map(|number| format!("\"h{number}\"")).collect();
    let many = format!("hosts = [{}]", many.join(", "));
    malformed(corpus, "1,025 hosts", hosts, &many);
    let many: Vec<String> = (0..65).map(|number| format!("l{number} = \"x\"")).collect();
    let many = format!("labels = {{ {} }}", many.join(", "));
    malformed(corpus, "65 labels", labels, &many);
}

fn sections(corpus: &mut Corpus) {
    let size = format!("bytes = {}", POLICY.len());
    let mut named = |name: &str, from: &str, to: &str| {
        corpus.policy(S7, name, Reason::MalformedManifest, |draft| {
            draft.named = Some(replace(&draft.tables(), from, to));
        });
    };
    named("a section's size in quotes", &size, "bytes = \"14\"");
    named("a section's negative size", &size, "bytes = -14");
    named("a section's size beyond 256 MiB", &size, "bytes = 268435457");
    named(
        "sections that come to more than 256 MiB",
        &size,
        "bytes = 268435456",
    );
    named("a digest in capitals", "sha256 = \"", "sha256 = \"A");
    named("another digest", "sha256", "sha512");
    named("a section without a name", "name = \"policy\"\n", "");
    named("an unknown section", "name = \"policy\"", "name = \"script\"");
    named(
        "the manifest as a section of its own",
        "name = \"policy\"",
        "name = \"manifest\"",
    );
    named(
        "sections named out of order",
        "name = \"policy\"",
        "name = \"list:zone\"",
    );
    named("a section named twice", "name = \"groups\"", "name = \"policy\"");
    named(
        "an unknown key of a section",
        "name = \"policy\"",
        "name = \"policy\"\ncritical = true",
    );
}

fn texts(corpus: &mut Corpus) {
    for (name, text) in [
        ("an open string", "change = \"open\n".to_owned()),
        ("no TOML", "<?xml version=\"1.0\"?>\n".to_owned()),
        ("JSON", "{ \"format\": 1 }\n".to_owned()),
        (
            "a nest of 10,000 lists",
            format!("change = {}\n", "[".repeat(10_000)),
        ),
        (
            "a nest of 1,000 tables",
            format!("change = {}1{}\n", "{ a = ".repeat(1000), " }".repeat(1000)),
        ),
    ] {
        corpus.policy(S7, name, Reason::MalformedManifest, |draft| {
            draft.manifest = replace(&draft.manifest, "change = \"order 2026/17\"\n", &text);
        });
    }
    let mut payload = integration_tests::bundle_writer::Draft::policy().payload();
    let at = payload.windows(5).position(|window| window == b"order").unwrap();
    payload[at] = 0xff;
    corpus.payload(
        S7,
        "a manifest that is no UTF-8",
        Reason::MalformedManifest,
        payload,
    );
}
