use std::collections::BTreeMap;

use cordon::bundle::{
    Digest, Reason,
    freshness::Mark,
    trust::{Restriction, Rules, Verb},
};
use integration_tests::bundle_writer::{Draft, RawSection, Signer};

use super::{
    super::{Host, instant, key_file},
    Corpus, replace,
};

const S3: &str = "S3";
const S4: &str = "S4";
const S6: &str = "S6";
const S7: &str = "S7";

pub(super) fn add(corpus: &mut Corpus) {
    who_may(corpus);
    when_and_where(corpus);
    container(corpus);
    content(corpus);
}

fn with(text: &str) -> Draft {
    let mut draft = Draft::directive();
    draft.sections[0].stored = text.as_bytes().to_vec();
    draft
}

/// A directive that begins as every one does.
fn says(text: &str) -> Draft {
    with(&format!("version = 1\nreason = \"drill\"\n{text}\n"))
}

/// A host where one key may do some verbs only.
fn restricted(name: &str, verbs: &[Verb]) -> Host {
    let rules = Rules {
        restrictions: vec![Restriction {
            id: key_file(name).key.id(),
            verbs: verbs.to_vec(),
        }],
        ..Rules::default()
    };
    Host::trusting(&["one", "two"], rules)
}

fn who_may(corpus: &mut Corpus) {
    let halt = Draft::directive();
    let lift = says("verb = \"lift\"\norder = \"order-17\"");
    let lift_all = says("verb = \"lift\"\nall = true");
    let exempt =
        says("verb = \"exempt\"\nchange = \"remove\"\nreference = \"C-7\"\napprover = \"duty officer\"");
    let resume = says("verb = \"resume\"");
    let denied = Reason::VerbNotAllowed;
    let mut add = |name: &str, reason, draft: &Draft, host, signers: &[&Signer]| {
        let bytes = draft.signed(signers).to_bytes();
        corpus.cases.push(super::Case {
            class: S3,
            name: name.to_owned(),
            reason,
            bytes,
            host,
        });
    };
    let (one, three) = (Signer::named("one"), Signer::named("three"));
    let one_may = |verbs: &[Verb]| restricted("one", verbs);
    add(
        "a directive by a key for policies",
        denied,
        &halt,
        one_may(&[Verb::Apply]),
        &[&one],
    );
    add(
        "a halt by a key for exemptions",
        denied,
        &halt,
        one_may(&[Verb::Exempt]),
        &[&one],
    );
    add(
        "a resume by a key for lifts",
        denied,
        &resume,
        one_may(&[Verb::Lift]),
        &[&one],
    );
    add(
        "a lift by a key for halts",
        denied,
        &lift,
        one_may(&[Verb::Halt]),
        &[&one],
    );
    add(
        "an exemption by a key for lifts",
        denied,
        &exempt,
        one_may(&[Verb::Lift, Verb::LiftAll]),
        &[&one],
    );
    add(
        "a lift of all orders by a key for single ones",
        denied,
        &lift_all,
        one_may(&[Verb::Lift]),
        &[&one],
    );
    add(
        "a lift of all orders by one key",
        Reason::BelowThreshold,
        &lift_all,
        Host::new(),
        &[&one],
    );
    let rules = Rules {
        thresholds: BTreeMap::from([(Verb::Halt, 2)]),
        ..Rules::default()
    };
    add(
        "a halt that takes two keys by one",
        Reason::BelowThreshold,
        &halt,
        Host::trusting(&["one", "two"], rules),
        &[&one],
    );
    add(
        "a directive by an unknown key",
        Reason::UnknownKey,
        &halt,
        Host::new(),
        &[&three],
    );
    add("a directive by nobody", Reason::Unsigned, &halt, Host::new(), &[]);
}

fn when_and_where(corpus: &mut Corpus) {
    let bytes = Draft::directive().signed(&[&corpus.one]).to_bytes();
    let mut add = |name: &str, reason, change: &dyn Fn(&mut Host)| {
        let mut host = Host::new();
        change(&mut host);
        corpus.add(S4, name, reason, bytes.clone(), host);
    };
    let mark = |name: &str, revision| {
        Some(Mark {
            name: name.to_owned(),
            revision,
            digest: Digest::of(b"in force"),
        })
    };
    add("an older directive", Reason::OlderRevision, &|host| {
        host.mark = mark("duty", 8);
    });
    add(
        "another directive under the same revision",
        Reason::SameRevisionOtherContent,
        &|host| host.mark = mark("duty", 7),
    );
    add("a directive of another name", Reason::OtherName, &|host| {
        host.mark = mark("night", 7);
    });
    add("a directive that was kept too long", Reason::Expired, &|host| {
        host.clock = instant("2027-02-01T00:00:00Z");
    });
    add("a directive from the future", Reason::NotYetValid, &|host| {
        host.clock = instant("2026-10-01T00:00:00Z");
    });
    add("a directive for other hosts", Reason::NotForThisHost, &|host| {
        host.identity.name = "core-1".to_owned();
    });
}

fn container(corpus: &mut Corpus) {
    corpus.directive(S6, "a directive without one", Reason::MissingSection, |draft| {
        draft.sections.clear();
    });
    corpus.directive(S6, "a directive with a policy", Reason::UnknownSection, |draft| {
        draft.sections.push(RawSection::raw("policy", "version = 1\n"));
    });
    corpus.directive(S6, "two directives in one", Reason::SectionOrder, |draft| {
        let again = draft.sections[0].clone();
        draft.sections.push(again);
    });
    corpus.policy(S6, "a policy with a directive", Reason::UnknownSection, |draft| {
        draft.sections = Draft::directive().sections;
    });
    let mut bundle = Draft::directive().signed(&[&corpus.one]);
    bundle.kind = 1;
    let bytes = bundle.to_bytes();
    corpus.add(
        S6,
        "a directive that calls itself a policy",
        Reason::WrongKind,
        bytes,
        Host::new(),
    );
    let mut bundle = Draft::policy().signed(&[&corpus.one]);
    bundle.kind = 3;
    let bytes = bundle.to_bytes();
    corpus.add(
        S6,
        "a policy that calls itself a directive",
        Reason::WrongKind,
        bytes,
        Host::new(),
    );
    corpus.directive(
        S6,
        "a directive with the manifest of a policy",
        Reason::MalformedManifest,
        |draft| draft.manifest = replace(&draft.manifest, "kind = \"directive\"", "kind = \"policy\""),
    );
    corpus.directive(
        S6,
        "a directive that never ends",
        Reason::MalformedManifest,
        |draft| draft.manifest = replace(&draft.manifest, "expires = 2027-02-01T00:00:00Z\n", ""),
    );
}

fn content(corpus: &mut Corpus) {
    let mut add = |name: &str, draft: Draft| {
        corpus.signed(S7, name, Reason::MalformedDirective, &draft);
    };
    add("an empty directive", with(""));
    add("a directive that is no TOML", with("halt now"));
    add(
        "a directive of a later version",
        with("version = 2\nverb = \"halt\"\nreason = \"r\"\n"),
    );
    add("a directive without a verb", says("until = 2027-01-01T00:00:00Z"));
    add("a verb that there is not", says("verb = \"detach\""));
    add(
        "a directive without a reason",
        with("version = 1\nverb = \"halt\"\n"),
    );
    add(
        "a halt of an order",
        says("verb = \"halt\"\norder = \"order-17\""),
    );
    add(
        "a resume with an end",
        says("verb = \"resume\"\nuntil = 2027-01-01T00:00:00Z"),
    );
    add("a lift of nothing", says("verb = \"lift\""));
    add(
        "a lift of one order and of all",
        says("verb = \"lift\"\norder = \"order-17\"\nall = true"),
    );
    add(
        "an exemption without an end",
        says(
            "verb = \"exempt\"\nchange = \"add\"\nreference = \"C-7\"\napprover = \"a\"\nprefixes = [\"203.0.113.7/32\"]",
        ),
    );
    add(
        "an exemption of half the internet",
        says(
            "verb = \"exempt\"\nchange = \"add\"\nreference = \"C-7\"\napprover = \"a\"\nuntil = 2027-01-01T00:00:00Z\n\
             prefixes = [\"0.0.0.0/1\"]",
        ),
    );
    corpus.directive(
        S7,
        "a directive that is no text",
        Reason::MalformedDirective,
        |draft| draft.sections[0].stored = vec![0xff, 0xfe],
    );
    corpus.policy(
        S7,
        "a policy that names a list that is not there",
        Reason::MalformedPolicy,
        |draft| {
            draft.sections.retain(|section| section.name != "list:office");
        },
    );
}
