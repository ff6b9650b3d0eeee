use cordon::{
    bundle::{Digest, Reason, Version, freshness::Mark},
    instant::Instant,
};
use integration_tests::bundle_writer::Draft;

use super::{
    super::{Host, instant},
    Corpus, replace,
};

const S4: &str = "S4";
const S5: &str = "S5";

fn mark(name: &str, revision: u64) -> Option<Mark> {
    Some(Mark {
        name: name.to_owned(),
        revision,
        digest: Digest::of(b"in force"),
    })
}

pub(super) fn add(corpus: &mut Corpus) {
    against_the_mark(corpus);
    dates(corpus);
    for_other_hosts(corpus);
    clocks(corpus);
}

fn against_the_mark(corpus: &mut Corpus) {
    let policy = Draft::policy().signed(&[&corpus.one]).to_bytes();
    let geo = Draft::geo().signed(&[&corpus.one]).to_bytes();
    let mut add = |name: &str, reason, bytes: &[u8], mark| {
        let host = Host { mark, ..Host::new() };
        corpus.add(S4, name, reason, bytes.to_vec(), host);
    };
    let same = Reason::SameRevisionOtherContent;
    add(
        "a lower revision",
        Reason::OlderRevision,
        &policy,
        mark("edge", 8),
    );
    add(
        "a far lower revision",
        Reason::OlderRevision,
        &policy,
        mark("edge", u64::MAX),
    );
    add(
        "the same revision with other content",
        same,
        &policy,
        mark("edge", 7),
    );
    add(
        "a bundle of another name",
        Reason::OtherName,
        &policy,
        mark("core", 1),
    );
    add(
        "geo data with a lower revision",
        Reason::OlderRevision,
        &geo,
        mark("country", 8),
    );
    add(
        "geo data, same revision, other content",
        same,
        &geo,
        mark("country", 7),
    );
    add(
        "geo data of another name",
        Reason::OtherName,
        &geo,
        mark("city", 1),
    );

    let mut draft = Draft::policy();
    draft.manifest = replace(&draft.manifest, "revision = 7", "revision = 4294967304");
    let host = Host {
        mark: mark("edge", 7),
        ..Host::new()
    };
    let bytes = draft.signed(&[&corpus.one]).to_bytes();
    corpus.add(
        S4,
        "a revision that leaves no room",
        Reason::RevisionJump,
        bytes,
        host,
    );
}

fn dates(corpus: &mut Corpus) {
    let policy = Draft::policy().signed(&[&corpus.one]).to_bytes();
    let geo = Draft::geo().signed(&[&corpus.one]).to_bytes();
    let mut at = |name: &str, reason, bytes: &[u8], clock| {
        let host = Host {
            clock: instant(clock),
            ..Host::new()
        };
        corpus.add(S4, name, reason, bytes.to_vec(), host);
    };
    at(
        "before its begin",
        Reason::NotYetValid,
        &policy,
        "2026-11-01T23:59:59Z",
    );
    at("at its end", Reason::Expired, &policy, "2027-02-01T00:00:00Z");
    at(
        "long after its end",
        Reason::Expired,
        &policy,
        "2037-02-01T00:00:00Z",
    );
    at(
        "issued in the future",
        Reason::NotYetValid,
        &policy,
        "2026-10-31T23:54:59Z",
    );
    at(
        "geo data from the future",
        Reason::NotYetValid,
        &geo,
        "2026-10-31T00:00:00Z",
    );
    let mut date = |name: &str, from: &str, to: &str| {
        corpus.policy(S4, name, Reason::MalformedManifest, |draft| {
            draft.manifest = replace(&draft.manifest, from, to);
        });
    };
    date(
        "ends before it begins",
        "expires = 2027-02-01",
        "expires = 2026-11-01",
    );
    date(
        "ends when it begins",
        "expires = 2027-02-01",
        "expires = 2026-11-02",
    );
    date(
        "valid before it was issued",
        "not_before = 2026-11-02",
        "not_before = 2026-10-02",
    );
    date("revision 0", "revision = 7", "revision = 0");
    date("a negative revision", "revision = 7", "revision = -7");
    date(
        "a revision beyond 2^53",
        "revision = 7",
        "revision = 9007199254740992",
    );
    date(
        "a revision beyond 2^64",
        "revision = 7",
        "revision = 18446744073709551623",
    );
    date("a revision in quotes", "revision = 7", "revision = \"7\"");
    date("a fraction of a revision", "revision = 7", "revision = 7.5");
    corpus.geo(
        S4,
        "built after it was issued",
        Reason::MalformedManifest,
        |draft| {
            draft.manifest = replace(&draft.manifest, "built = 2026-10-31", "built = 2026-11-02");
        },
    );
}

fn for_other_hosts(corpus: &mut Corpus) {
    let bytes = Draft::policy().signed(&[&corpus.one]).to_bytes();
    let mut add = |name: &str, change: &dyn Fn(&mut Host)| {
        let mut host = Host::new();
        change(&mut host);
        corpus.add(S4, name, Reason::NotForThisHost, bytes.clone(), host);
    };
    add("for hosts of other names", &|host| {
        host.identity.name = "core-1".to_owned()
    });
    add("for a host without a name", &|host| host.identity.name.clear());
    add("for hosts with another label", &|host| {
        host.identity.labels.insert("site".to_owned(), "ams1".to_owned());
    });
    add("for hosts with a label", &|host| host.identity.labels.clear());
    corpus.policy(S4, "for a newer cordon", Reason::CordonTooOld, |draft| {
        draft.manifest = replace(
            &draft.manifest,
            "min_cordon = \"0.0.0\"",
            "min_cordon = \"99.0.0\"",
        );
    });
    let mut draft = Draft::policy();
    draft.manifest = replace(
        &draft.manifest,
        "min_cordon = \"0.0.0\"",
        "min_cordon = \"1.10.0\"",
    );
    let host = Host {
        cordon: Version {
            major: 1,
            minor: 9,
            patch: 9,
        },
        ..Host::new()
    };
    let bytes = draft.signed(&[&corpus.one]).to_bytes();
    corpus.add(
        S4,
        "for a cordon that is newer by a number of two digits",
        Reason::CordonTooOld,
        bytes,
        host,
    );
}

fn clocks(corpus: &mut Corpus) {
    let bytes = Draft::policy().signed(&[&corpus.one]).to_bytes();
    let mut add = |name: &str, reason, clock: Instant, seen: Instant| {
        let host = Host {
            clock,
            seen,
            ..Host::new()
        };
        corpus.add(S5, name, reason, bytes.clone(), host);
    };
    let ended = instant("2027-02-01T00:00:00Z");
    add("a clock of 1970", Reason::NotYetValid, Instant(0), Instant(0));
    add(
        "a clock of 1970 after something newer",
        Reason::Expired,
        Instant(0),
        ended,
    );
    add(
        "a clock ten years back after something newer",
        Reason::Expired,
        instant("2017-01-01T00:00:00Z"),
        ended,
    );
    add(
        "a clock within the dates after something newer",
        Reason::Expired,
        instant("2026-12-01T00:00:00Z"),
        ended,
    );
    add(
        "a clock ten years ahead",
        Reason::Expired,
        instant("2036-11-20T00:00:00Z"),
        Instant(0),
    );
    add(
        "the last second of the kernel's time",
        Reason::Expired,
        Instant(u32::MAX - 1),
        Instant(0),
    );
}
