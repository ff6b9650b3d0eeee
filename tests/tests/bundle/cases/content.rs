use std::fmt::Write as _;

use cordon::bundle::Reason;

use super::{Corpus, replace};

const S7: &str = "S7";

pub(super) fn add(corpus: &mut Corpus) {
    policies(corpus);
    groups(corpus);
    lists(corpus);
    corpus.geo(
        S7,
        "a web page for a database",
        Reason::MalformedDatabase,
        |draft| {
            let page = b"<!DOCTYPE html><title>404 Not Found</title>".to_vec();
            draft.sections[0] = integration_tests::bundle_writer::RawSection::raw("database", page);
        },
    );
    corpus.geo(S7, "an empty database", Reason::MalformedDatabase, |draft| {
        draft.sections[0] = integration_tests::bundle_writer::RawSection::raw("database", "");
    });
}

fn policies(corpus: &mut Corpus) {
    let mut policy = |name: &str, alter: &dyn Fn(&str) -> Vec<u8>| {
        corpus.policy(S7, &format!("policy: {name}"), Reason::MalformedPolicy, |draft| {
            let text = String::from_utf8(draft.sections[0].stored.clone()).unwrap();
            draft.sections[0].stored = alter(&text);
        });
    };
    let with = |lines: &str| {
        let lines = lines.to_owned();
        move |text: &str| format!("{text}\n{lines}\n").into_bytes()
    };
    let deny = |prefix: &str| {
        with(&format!(
            "[[deny]]\nprefixes = [\"{prefix}\"]\nreason = \"test\"\n"
        ))
    };
    policy("empty", &|_| Vec::new());
    policy("no UTF-8", &|text| [text.as_bytes(), b"\xff\n"].concat());
    policy("a newer language", &|text| {
        replace(text, "version = 1", "version = 99").into_bytes()
    });
    policy("no default", &|text| {
        replace(text, "default = \"pass\"\n", "").into_bytes()
    });
    policy("an unknown country", &|text| {
        replace(text, "groups = [\"near\"]", "countries = [\"QQ\"]").into_bytes()
    });
    policy("an unknown group", &|text| {
        replace(text, "\"near\"", "\"far-away\"").into_bytes()
    });
    policy("an unknown action", &|text| {
        replace(text, "action = \"drop\"", "action = \"tarpit\"").into_bytes()
    });
    policy("a redirect to a tier that is not there", &|text| {
        replace(text, "action = \"drop\"", "action = \"scrubbing\"").into_bytes()
    });
    policy(
        "a redirect without an interface",
        &with("[[tier]]\nname = \"scrubbing\"\naction = \"redirect\"\n"),
    );
    policy("no prefix", &deny("203.0.113"));
    policy("host bits set", &deny("203.0.113.7/24"));
    policy("an IPv4-mapped prefix", &deny("::ffff:203.0.113.0/120"));
    policy("a prefix length of another family", &deny("203.0.113.0/33"));
    policy(
        "a failsafe prefix, which is the host's",
        &with("[[failsafe]]\nprefix = \"203.0.113.0/24\"\n"),
    );
    policy(
        "a nest of 10,000 lists",
        &with(&format!("[[deny]]\nprefixes = {}\n", "[".repeat(10_000))),
    );
    policy("larger than 8 MiB", &|text| {
        let mut large = text.to_owned();
        large.push_str(&"# comment\n".repeat(900_000));
        large.into_bytes()
    });
    policy("a string of a million characters", &|text| {
        replace(
            text,
            "authority = \"test\"",
            &format!("authority = \"{}\"", "x".repeat(1_000_000)),
        )
        .into_bytes()
    });
}

fn groups(corpus: &mut Corpus) {
    for (name, reason, text) in [
        (
            "an order among the groups",
            Reason::MalformedGroups,
            "[[order]]\nid = \"hidden\"\nauthority = \"x\"\n",
        ),
        (
            "an exemption among the groups",
            Reason::MalformedGroups,
            "[[exemption]]\nprefixes = [\"0.0.0.0/0\"]\n",
        ),
        (
            "a key of the policy among the groups",
            Reason::MalformedGroups,
            "default = \"pass\"\n",
        ),
        ("no TOML", Reason::MalformedGroups, "near: DE, FR\n"),
        (
            "a group without countries",
            Reason::MalformedPolicy,
            "[[group]]\nname = \"near\"\n",
        ),
        (
            "a group of an unknown country",
            Reason::MalformedPolicy,
            "[[group]]\nname = \"near\"\ncountries = [\"QQ\"]\n",
        ),
        (
            "not the group that the policy names",
            Reason::MalformedPolicy,
            "[[group]]\nname = \"far\"\ncountries = [\"DE\"]\n",
        ),
    ] {
        corpus.policy(S7, &format!("groups: {name}"), reason, |draft| {
            draft.sections[1].stored = text.as_bytes().to_vec();
        });
    }
    corpus.policy(S7, "groups: no UTF-8", Reason::MalformedGroups, |draft| {
        draft.sections[1].stored = b"# \xff\n".to_vec();
    });
}

fn lists(corpus: &mut Corpus) {
    let mut list = |name: &str, text: &[u8]| {
        corpus.policy(S7, &format!("list: {name}"), Reason::MalformedList, |draft| {
            draft.sections[3].stored = text.to_vec();
        });
    };
    list("no prefix", b"10.0.0.0/8\nexample.org\n");
    list("an address", b"203.0.113.7\n");
    list("a range", b"10.0.0.1-10.0.0.9\n");
    list("host bits set", b"203.0.113.7/24\n");
    list("an IPv4-mapped prefix", b"::ffff:203.0.113.0/120\n");
    list("a netmask", b"10.0.0.0/255.0.0.0\n");
    list("a prefix length of another family", b"10.0.0.0/64\n");
    list("a prefix twice", b"10.0.0.0/8\n2001:db8::/32\n10.0.0.0/8\n");
    list("two prefixes in a line", b"10.0.0.0/8 11.0.0.0/8\n");
    list("commas", b"10.0.0.0/8,\n");
    list("no UTF-8", b"10.0.0.0/8\n\xff\n");
    list("a zero byte", b"10.0.0.0/8\0\n");
    list("a line of a million characters", &vec![b'1'; 1_000_000]);
    let mut many = String::with_capacity(60 << 20);
    for number in 0..=4_000_000u32 {
        let address = std::net::Ipv4Addr::from(0x0100_0000 + number);
        writeln!(many, "{address}/32").unwrap();
    }
    list("4,000,001 prefixes", many.as_bytes());
}
