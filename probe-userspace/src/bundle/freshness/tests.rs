use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::bundle::{Content, DirectiveContent, GeoContent, PolicyContent, Target, Validity};

const NOW: u32 = 1_800_000_000;
const DAY: u32 = 86_400;

fn manifest(revision: u64) -> Manifest {
    Manifest {
        name: "edge".to_owned(),
        revision,
        issued: Instant(NOW - DAY),
        min_cordon: Version::default(),
        change: "test".to_owned(),
        content: Content::Policy(PolicyContent {
            validity: Validity {
                not_before: None,
                expires: Instant(NOW + DAY),
                target: Target::default(),
            },
            database: None,
        }),
        sections: Vec::new(),
    }
}

fn with_content(change: impl FnOnce(&mut Validity)) -> Manifest {
    let mut manifest = manifest(7);
    if let Content::Policy(content) = &mut manifest.content {
        change(&mut content.validity);
    }
    manifest
}

fn mark(revision: u64) -> Mark {
    Mark {
        name: "edge".to_owned(),
        revision,
        digest: Digest::of(b"in force"),
    }
}

fn situation(mark: Option<&Mark>) -> Situation<'_> {
    Situation {
        mark,
        clock: Instant(NOW),
        seen: Instant(0),
        host: None,
        cordon: Version::default(),
    }
}

fn reason(manifest: &Manifest, situation: &Situation<'_>) -> Result<Freshness, Reason> {
    judge("x.cordon", manifest, Digest::of(b"new"), situation).map_err(|rejected| rejected.reason)
}

const ACCEPT: Result<Freshness, Reason> = Ok(Freshness::Accept {
    seen: Instant(NOW - DAY),
});

#[test]
fn revisions_only_rise() {
    let mark = mark(7);
    for (revision, expected) in [
        (6, Err(Reason::OlderRevision)),
        (7, Err(Reason::SameRevisionOtherContent)),
        (8, ACCEPT),
        (7 + MAX_JUMP, ACCEPT),
        (8 + MAX_JUMP, Err(Reason::RevisionJump)),
    ] {
        assert_eq!(
            reason(&manifest(revision), &situation(Some(&mark))),
            expected,
            "{revision}"
        );
    }
    assert_eq!(
        reason(&manifest(u64::MAX), &situation(None)),
        ACCEPT,
        "nothing to go back behind"
    );
}

#[test]
fn the_same_again_changes_nothing_even_when_it_has_ended() {
    let mark = mark(7);
    let again = |clock| {
        let situation = Situation {
            clock: Instant(clock),
            ..situation(Some(&mark))
        };
        judge("x.cordon", &manifest(7), mark.digest, &situation).unwrap()
    };
    assert_eq!(again(NOW), Freshness::Idle { is_expired: false });
    assert_eq!(again(NOW + DAY), Freshness::Idle { is_expired: true });
    assert_eq!(
        again(0),
        Freshness::Idle { is_expired: false },
        "a clock of 1970 ends nothing"
    );
}

#[test]
fn dates_hold_to_the_second() {
    let at = |manifest: &Manifest, clock| {
        let situation = Situation {
            clock: Instant(clock),
            ..situation(None)
        };
        reason(manifest, &situation)
    };
    assert_eq!(at(&manifest(7), NOW + DAY - 1), ACCEPT);
    assert_eq!(at(&manifest(7), NOW + DAY), Err(Reason::Expired));

    let later = with_content(|content| content.not_before = Some(Instant(NOW + 1)));
    assert_eq!(at(&later, NOW), Err(Reason::NotYetValid));
    assert_eq!(at(&later, NOW + 1), ACCEPT);

    let issued = NOW - DAY;
    assert_eq!(
        at(&manifest(7), issued - MAX_SKEW_S),
        ACCEPT,
        "clocks differ a little"
    );
    assert_eq!(
        at(&manifest(7), issued - MAX_SKEW_S - 1),
        Err(Reason::NotYetValid)
    );
    assert_eq!(
        at(&manifest(7), 0),
        Err(Reason::NotYetValid),
        "the clock starts in 1970"
    );
}

#[test]
fn a_clock_that_jumps_back_brings_nothing_back_to_life() {
    let old = with_content(|content| content.expires = Instant(NOW - 100));
    for clock in [0, NOW - 1000, NOW - 10 * 365 * DAY] {
        let situation = Situation {
            clock: Instant(clock),
            seen: Instant(NOW - 100),
            ..situation(None)
        };
        assert_eq!(reason(&old, &situation), Err(Reason::Expired), "at {clock}");
    }
}

#[test]
fn a_clock_that_jumped_forward_leaves_no_trace() {
    let far = Situation {
        clock: Instant(NOW + DAY - 1),
        ..situation(None)
    };
    assert_eq!(
        reason(&manifest(7), &far),
        ACCEPT,
        "what was seen is what was signed"
    );
}

#[test]
fn a_host_takes_only_what_is_meant_for_it() {
    let mut other = manifest(8);
    other.name = "core".to_owned();
    let mark = mark(7);
    assert_eq!(reason(&other, &situation(Some(&mark))), Err(Reason::OtherName));

    let host = HostIdentity {
        name: "edge-1".to_owned(),
        labels: BTreeMap::new(),
    };
    let on_host = Situation {
        host: Some(&host),
        ..situation(None)
    };
    let hosts = |pattern: &str| with_content(|content| content.target.hosts = vec![pattern.to_owned()]);
    assert_eq!(reason(&hosts("core-*"), &on_host), Err(Reason::NotForThisHost));
    assert_eq!(reason(&hosts("edge-*"), &on_host), ACCEPT);
    assert_eq!(
        reason(&hosts("core-*"), &situation(None)),
        ACCEPT,
        "no host to look at"
    );

    let mut newer = manifest(8);
    newer.min_cordon.patch = 1;
    assert_eq!(reason(&newer, &situation(None)), Err(Reason::CordonTooOld));
}

#[test]
fn geo_data_has_no_end_but_comes_from_no_future() {
    let mut geo = manifest(7);
    geo.content = Content::Geo(GeoContent {
        built: Instant(1),
        licence: "CC0".to_owned(),
    });
    assert_eq!(reason(&geo, &situation(None)), ACCEPT);
    geo.issued = Instant(NOW + DAY);
    assert_eq!(reason(&geo, &situation(None)), Err(Reason::NotYetValid));
}

proptest! {
    /// Whatever is sent in whatever order, and wherever the clock jumps: the mark never goes down, and no digest
    /// takes the place of another under one revision.
    #[test]
    fn a_mark_never_goes_back(sent in proptest::collection::vec((1u64..20, 0u8..3, 0..2 * NOW), 0..60)) {
        let mut current: Option<Mark> = None;
        let mut seen = Instant(0);
        for (revision, content, clock) in sent {
            let digest = Digest::of(&[content]);
            let before = current.clone();
            let situation = Situation { mark: before.as_ref(), clock: Instant(clock), seen, host: None, cordon: Version::default() };
            match judge("x.cordon", &manifest(revision), digest, &situation) {
                Ok(Freshness::Accept { seen: least }) => {
                    prop_assert!(before.is_none_or(|mark| revision > mark.revision));
                    prop_assert!(least >= seen);
                    seen = least;
                    current = Some(Mark { name: "edge".to_owned(), revision, digest });
                }
                Ok(Freshness::Idle { .. }) => {
                    prop_assert_eq!(before.map(|mark| (mark.revision, mark.digest)), Some((revision, digest)));
                }
                Err(_) => {}
            }
        }
    }
}

#[test]
fn a_directive_ends_and_has_hosts_like_a_policy() {
    let mut directive = with_content(|validity| validity.expires = Instant(NOW));
    let Content::Policy(content) = directive.content else {
        panic!("a policy");
    };
    directive.content = Content::Directive(DirectiveContent {
        validity: content.validity,
    });
    let rejected = judge("x", &directive, Digest::of(b"new"), &situation(None)).unwrap_err();
    assert_eq!(rejected.reason, Reason::Expired);
}
