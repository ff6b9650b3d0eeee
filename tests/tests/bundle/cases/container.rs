use cordon::bundle::Reason;
use integration_tests::bundle_writer::{Draft, RawBundle, RawSection, database};

use super::{super::Host, Corpus, replace};

const S6: &str = "S6";

pub(super) fn add(corpus: &mut Corpus) {
    other_files(corpus);
    envelopes(corpus);
    first_lines(corpus);
    section_headers(corpus);
    section_sets(corpus);
    compressed(corpus);
}

fn other_files(corpus: &mut Corpus) {
    let good = Draft::policy().signed(&[&corpus.one]).to_bytes();
    let mangled = [b"\x89CORDON\r\n", &good[8..]].concat();
    let seven_bits = [b"\tCORDON\n", &good[8..]].concat();
    for (name, reason, bytes) in [
        ("an empty file", Reason::Truncated, Vec::new()),
        ("one byte", Reason::Truncated, vec![0x89]),
        ("fifteen bytes", Reason::Truncated, good[..15].to_vec()),
        ("half a file", Reason::Truncated, good[..good.len() / 2].to_vec()),
        ("zeros", Reason::NotABundle, vec![0; 4096]),
        (
            "a zip file",
            Reason::NotABundle,
            b"PK\x03\x04\x14\0\0\0\x08\0policy.toml".to_vec(),
        ),
        (
            "a gzip file",
            Reason::NotABundle,
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03edge.cordon".to_vec(),
        ),
        (
            "a tar file",
            Reason::NotABundle,
            [&b"policy.toml"[..], &[0; 501]].concat(),
        ),
        (
            "a web server's error page",
            Reason::NotABundle,
            b"<!DOCTYPE html><title>404".to_vec(),
        ),
        (
            "a policy",
            Reason::NotABundle,
            b"version = 1\ndefault = \"pass\"\n".to_vec(),
        ),
        ("a payload", Reason::NotABundle, Draft::policy().payload()),
        ("line ends changed on the way", Reason::NotABundle, mangled),
        ("the eighth bit lost on the way", Reason::NotABundle, seven_bits),
        (
            "two bundles in one file",
            Reason::TrailingBytes,
            [&good[..], &good].concat(),
        ),
    ] {
        corpus.add(S6, name, reason, bytes, Host::new());
    }
}

fn envelopes(corpus: &mut Corpus) {
    corpus.altered(S6, "version 0", Reason::UnknownVersion, |bundle| {
        bundle.version = 0
    });
    corpus.altered(S6, "version 2", Reason::UnknownVersion, |bundle| {
        bundle.version = 2
    });
    corpus.altered(S6, "version 256", Reason::UnknownVersion, |bundle| {
        bundle.version = 256
    });
    corpus.altered(S6, "kind 0", Reason::WrongKind, |bundle| bundle.kind = 0);
    corpus.altered(S6, "kind 255", Reason::WrongKind, |bundle| bundle.kind = 255);
    corpus.altered(
        S6,
        "a policy that says it is geo data",
        Reason::WrongKind,
        |bundle| bundle.kind = 2,
    );
    corpus.altered(S6, "64 MiB and a byte announced", Reason::TooLarge, |bundle| {
        bundle.payload_len = Some((64 << 20) + 1);
    });
    corpus.altered(S6, "4 GiB announced", Reason::TooLarge, |bundle| {
        bundle.payload_len = Some(u32::MAX)
    });
    corpus.altered(
        S6,
        "64 MiB announced that are not there",
        Reason::Truncated,
        |bundle| {
            bundle.payload_len = Some(64 << 20);
        },
    );
    corpus.altered(S6, "a byte more announced", Reason::Truncated, |bundle| {
        bundle.payload_len = Some(bundle.payload.len() as u32 + 1);
    });
    corpus.altered(S6, "a byte less announced", Reason::TrailingBytes, |bundle| {
        bundle.payload_len = Some(bundle.payload.len() as u32 - 1);
    });
    corpus.altered(S6, "a byte appended", Reason::TrailingBytes, |bundle| {
        bundle.tail = b"\n".to_vec()
    });
}

fn first_lines(corpus: &mut Corpus) {
    let malformed = Reason::MalformedPayload;
    for (name, reason, line) in [
        ("another word", malformed, "Cordon policy 1\n"),
        ("a word too many", malformed, "cordon policy 1 x\n"),
        ("a blank too many", malformed, "cordon  policy 1\n"),
        ("a carriage return", Reason::UnknownVersion, "cordon policy 1\r\n"),
        ("a newer payload", Reason::UnknownVersion, "cordon policy 2\n"),
        ("geo data within a policy", Reason::WrongKind, "cordon geo 1\n"),
        ("an unknown kind", malformed, "cordon script 1\n"),
        ("none", malformed, ""),
    ] {
        corpus.policy(S6, &format!("first line: {name}"), reason, |draft| {
            draft.first_line = Some(line.to_owned());
        });
    }
    corpus.payload(S6, "an empty payload", Reason::Truncated, Vec::new());
    corpus.payload(
        S6,
        "a payload without a newline",
        Reason::Truncated,
        b"cordon policy 1".to_vec(),
    );
    corpus.payload(S6, "a first line without an end", malformed, vec![b'c'; 4096]);
    corpus.payload(
        S6,
        "a first line that is no UTF-8",
        malformed,
        b"cordon \xff 1\n".to_vec(),
    );
    corpus.payload(
        S6,
        "no section",
        Reason::MissingSection,
        b"cordon policy 1\nend\n".to_vec(),
    );
    corpus.payload(S6, "no end", Reason::Truncated, b"cordon policy 1\n".to_vec());
}

fn section_headers(corpus: &mut Corpus) {
    let malformed = Reason::MalformedPayload;
    let unknown = Reason::UnknownSection;
    for (name, reason, section) in [
        ("an unknown name", unknown, "script"),
        ("a path upwards", unknown, "../policy"),
        ("an absolute path", unknown, "/etc/passwd"),
        ("a list with a path upwards", unknown, "list:../policy"),
        ("a list in a directory", unknown, "list:a/b"),
        ("a hidden list", unknown, "list:.hidden"),
        ("a list without a name", unknown, "list:"),
        ("a list in capitals", unknown, "list:Office"),
        ("a zero byte in a name", unknown, "list:a\0b"),
        ("a key", unknown, "key"),
        ("a database in a policy bundle", unknown, "database"),
    ] {
        corpus.policy(S6, &format!("section: {name}"), reason, |draft| {
            draft.sections[3].name = section.to_owned();
        });
    }
    corpus.policy(S6, "section: a name of 65 characters", unknown, |draft| {
        draft.sections[3].name = format!("list:{}", "x".repeat(65));
    });
    corpus.policy(S6, "section: a header without an end", malformed, |draft| {
        draft.sections[3].name = format!("list:{}", "x".repeat(200));
    });
    for (name, encoding) in [
        ("gzip", "gzip"),
        ("zstd for a policy", "zstd"),
        ("none", ""),
        ("two", "raw raw"),
    ] {
        corpus.policy(S6, &format!("section: encoding {name}"), malformed, |draft| {
            draft.sections[0].encoding = encoding.to_owned();
        });
    }
    let n_bytes = Draft::policy().sections[0].stored.len();
    for (name, reason, size) in [
        ("no number", malformed, "many".to_owned()),
        ("hexadecimal", malformed, format!("{n_bytes:#x}")),
        ("with a sign", malformed, format!("+{n_bytes}")),
        ("negative", malformed, "-1".to_owned()),
        ("with a leading zero", malformed, format!("0{n_bytes}")),
        (
            "larger than 64 bits",
            malformed,
            "18446744073709551617".to_owned(),
        ),
        ("the largest of 64 bits", Reason::Truncated, u64::MAX.to_string()),
        ("larger than the payload", Reason::Truncated, "100000".to_owned()),
        ("a byte too small", malformed, (n_bytes - 1).to_string()),
        ("a byte too large", malformed, (n_bytes + 1).to_string()),
        ("zero", malformed, "0".to_owned()),
    ] {
        corpus.policy(S6, &format!("section: size {name}"), reason, |draft| {
            draft.sections[0].size = Some(size);
        });
    }
    let next = RawSection::raw("groups", "x");
    let overlap = n_bytes + format!("\nsection {} raw {}", next.name, next.stored.len()).len();
    corpus.policy(S6, "section: one reaches into the next", malformed, |draft| {
        draft.sections[0].size = Some(overlap.to_string());
    });
}

fn section_sets(corpus: &mut Corpus) {
    let order = Reason::SectionOrder;
    corpus.policy(S6, "the policy twice", order, |draft| {
        draft
            .sections
            .insert(1, RawSection::raw("policy", "version = 1\n"));
    });
    corpus.policy(S6, "a list twice", order, |draft| {
        draft.sections.push(RawSection::raw("list:office", ""));
    });
    corpus.policy(S6, "the manifest twice", order, |draft| {
        draft.sections.insert(0, RawSection::raw("manifest", ""));
    });
    corpus.policy(S6, "groups before the policy", order, |draft| {
        draft.sections.swap(0, 1)
    });
    corpus.policy(S6, "lists out of order", order, |draft| draft.sections.swap(2, 3));
    corpus.policy(S6, "no policy", Reason::MissingSection, |draft| {
        drop(draft.sections.remove(0))
    });
    corpus.geo(S6, "no database", Reason::MissingSection, |draft| {
        draft.sections.clear()
    });
    corpus.geo(S6, "a policy in a geo bundle", Reason::UnknownSection, |draft| {
        draft
            .sections
            .insert(0, RawSection::raw("policy", "version = 1\n"));
    });
    corpus.policy(S6, "something behind the end", Reason::TrailingBytes, |draft| {
        draft.end = b"end\nmore".to_vec();
    });
    corpus.policy(S6, "two ends", Reason::TrailingBytes, |draft| {
        draft.end = b"end\nend\n".to_vec()
    });
    corpus.policy(
        S6,
        "an empty line before the end",
        Reason::MalformedPayload,
        |draft| {
            draft.end = b"\nend\n".to_vec();
        },
    );
    corpus.policy(S6, "257 sections", Reason::TooLarge, |draft| {
        draft.named = Some(draft.tables());
        draft.sections.truncate(1);
        let lists = (0..255).map(|number| RawSection::raw(&format!("list:x{number:03}"), ""));
        draft.sections.extend(lists);
    });
    corpus.policy(
        S6,
        "a section that the manifest does not name",
        Reason::SectionMismatch,
        |draft| {
            draft.named = Some(draft.tables());
            draft.sections.push(RawSection::raw("list:zone", "10.0.0.0/8\n"));
        },
    );
    corpus.policy(
        S6,
        "a section that the manifest alone has",
        Reason::MissingSection,
        |draft| {
            draft.named = Some(draft.tables());
            drop(draft.sections.pop());
        },
    );
    corpus.policy(S6, "a list of another bundle", Reason::SectionMismatch, |draft| {
        draft.named = Some(draft.tables());
        draft.sections[3].stored = b"# ours\n203.0.113.0/24\n198.51.101.0/24\n".to_vec();
    });
    corpus.policy(S6, "a list with a line more", Reason::SectionMismatch, |draft| {
        draft.named = Some(draft.tables());
        draft.sections[3].stored.extend(b"10.0.0.0/8\n");
    });
    corpus.policy(
        S6,
        "two lists in each other's place",
        Reason::SectionMismatch,
        |draft| {
            draft.named = Some(draft.tables());
            let (one, two) = (draft.sections[2].stored.clone(), draft.sections[3].stored.clone());
            (draft.sections[2].stored, draft.sections[3].stored) = (two, one);
        },
    );
    corpus.policy(S6, "a manifest of 256 KiB and more", Reason::TooLarge, |draft| {
        draft.manifest.push_str(&"# comment\n".repeat(30_000));
    });
}

fn compressed(corpus: &mut Corpus) {
    let (content, malformed) = (database(), Reason::MalformedCompression);
    let frame = zstd::bulk::compress(&content, 3).unwrap();
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7];
    let mut flipped = frame.clone();
    flipped[12] ^= 0x10;
    for (name, stored) in [
        ("two frames", [&frame[..], &frame].concat()),
        ("a byte behind the frame", [&frame[..], b"x"].concat()),
        ("a skippable frame behind", [&frame[..], &skippable].concat()),
        ("a skippable frame before", [&skippable[..], &frame].concat()),
        ("no end of the frame", frame[..frame.len() - 1].to_vec()),
        ("no frame", content.clone()),
        ("a frame within a frame", zstd::bulk::compress(&frame, 3).unwrap()),
    ] {
        corpus.geo(S6, &format!("compressed: {name}"), malformed, |draft| {
            draft.sections[0].stored = stored
        });
    }
    corpus.geo(S6, "compressed: said smaller than it is", malformed, |draft| {
        draft.named = Some(replace(
            &draft.tables(),
            &format!("bytes = {}", content.len()),
            "bytes = 100",
        ));
    });
    corpus.geo(S6, "compressed: said larger than it is", malformed, |draft| {
        draft.named = Some(replace(
            &draft.tables(),
            &format!("bytes = {}", content.len()),
            "bytes = 1000",
        ));
    });
    corpus.geo(
        S6,
        "compressed: said larger than it can be",
        Reason::TooLarge,
        |draft| {
            draft.named = Some(replace(
                &draft.tables(),
                &format!("bytes = {}", content.len()),
                "bytes = 268435456",
            ));
        },
    );
    let mut bomb = vec![0; 8 << 20];
    bomb.extend(content.clone());
    let stored = zstd::bulk::compress(&bomb, 3).unwrap();
    corpus.geo(S6, "compressed: a bomb", Reason::TooLarge, |draft| {
        draft.sections[0].stored = stored.clone();
        draft.sections[0].expanded = Some(bomb.clone());
    });
    corpus.geo(
        S6,
        "compressed: a bomb that says it is small",
        malformed,
        |draft| {
            draft.sections[0].stored = stored;
            draft.sections[0].expanded = Some(content.clone());
        },
    );
    corpus.geo(S6, "half a database", Reason::MalformedDatabase, |draft| {
        draft.sections[0] = RawSection::raw("database", &content[..content.len() / 2]);
    });
    let mut large = RawBundle::signed(1, Draft::policy().payload(), &[&corpus.one]);
    large.payload_len = Some(0);
    large.payload.clear();
    corpus.add(
        S6,
        "no byte announced and none there",
        Reason::BadSignature,
        large.to_bytes(),
        Host::new(),
    );
}
