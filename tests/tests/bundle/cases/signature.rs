use cordon::bundle::{
    Reason,
    key::PublicKey,
    trust::{Restriction, Revocation, Rules, Verb},
};
use ct_codecs::{Base64, Encoder as _};
use integration_tests::bundle_writer::{Draft, RawBundle};

use super::{
    super::{Host, instant, key_file},
    Corpus,
};

const S3: &str = "S3";

pub(super) fn add(corpus: &mut Corpus) {
    who_signed(corpus);
    altered_signatures(corpus);
    malformed_signatures(corpus);
    other_payloads(corpus);
}

fn who_signed(corpus: &mut Corpus) {
    let draft = Draft::policy();
    let by = |signers: &[&_]| draft.signed(signers).to_bytes();
    let (one, two, three) = (&corpus.one, &corpus.two, &corpus.three);
    let (unsigned, by_one, by_two, by_three) = (by(&[]), by(&[one]), by(&[two]), by(&[three]));
    let one_and_three = by(&[one, three]);
    let geo_by_one = Draft::geo().signed(&[one]).to_bytes();
    let trusts_nobody = || Host::trusting(&[], Rules::default());
    corpus.add(S3, "not signed", Reason::Unsigned, unsigned, Host::new());
    corpus.add(S3, "by an unknown key", Reason::UnknownKey, by_three, Host::new());
    corpus.add(
        S3,
        "one of two",
        Reason::BelowThreshold,
        by_one.clone(),
        Host::with_threshold(2),
    );
    corpus.add(
        S3,
        "one of two and a stranger",
        Reason::BelowThreshold,
        one_and_three,
        Host::with_threshold(2),
    );
    corpus.add(
        S3,
        "no key is trusted",
        Reason::NoTrustedKey,
        by_one.clone(),
        trusts_nobody(),
    );

    let revoked = |key: PublicKey| Rules {
        revocations: vec![Revocation {
            key,
            at: instant("2026-11-01T00:00:00Z"),
            reason: "lost".to_owned(),
        }],
        ..Rules::default()
    };
    let key_one = key_file("one").key;
    let host = Host::trusting(&["one", "two"], revoked(key_one.clone()));
    corpus.add(S3, "by a revoked key", Reason::RevokedKey, by_one.clone(), host);
    let host = Host::trusting(&["two"], revoked(key_one.clone()));
    corpus.add(
        S3,
        "by a revoked key whose file is gone",
        Reason::RevokedKey,
        by_one.clone(),
        host,
    );
    let host = Host::trusting(&["one"], revoked(key_one.clone()));
    corpus.add(
        S3,
        "the only key is revoked",
        Reason::NoTrustedKey,
        by_one.clone(),
        host,
    );
    let mut other_id = b"Ed".to_vec();
    other_id.extend([7; 8]);
    other_id.extend(key_one.material());
    let renamed = PublicKey::from_base64(&Base64::encode_to_string(other_id).unwrap()).unwrap();
    let host = Host::trusting(&["one", "two"], revoked(renamed));
    corpus.add(
        S3,
        "by a key that was revoked under another id",
        Reason::RevokedKey,
        by_one.clone(),
        host,
    );

    let only = |verbs: &[Verb]| Rules {
        restrictions: vec![Restriction {
            id: key_file("one").key.id(),
            verbs: verbs.to_vec(),
        }],
        ..Rules::default()
    };
    let night_shift = || only(&[Verb::Halt, Verb::Lift, Verb::Exempt, Verb::Geo]);
    let host = Host::trusting(&["one", "two"], night_shift());
    corpus.add(
        S3,
        "by a key for other verbs",
        Reason::VerbNotAllowed,
        by_one,
        host,
    );
    let host = Host::trusting(&["one", "two"], only(&[Verb::Apply]));
    corpus.add(
        S3,
        "geo data by a key for policies",
        Reason::VerbNotAllowed,
        geo_by_one,
        host,
    );
    let mut relabelled = Draft::policy().signed(&[&corpus.one]);
    relabelled.kind = 2;
    let host = Host::trusting(&["one", "two"], night_shift());
    corpus.add(
        S3,
        "a policy by a key for geo data, relabelled",
        Reason::WrongKind,
        relabelled.to_bytes(),
        host,
    );
    let mut restricted = Host::trusting(&["one", "two"], night_shift());
    restricted.mark = None;
    corpus.add(
        S3,
        "by a key that is not restricted, altered",
        Reason::BadSignature,
        flip_last(by_two),
        restricted,
    );
}

/// Alters the last byte of a file: it is in the payload.
fn flip_last(mut bytes: Vec<u8>) -> Vec<u8> {
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes
}

fn altered_signatures(corpus: &mut Corpus) {
    for (name, byte) in [("first", 0), ("last of R", 31), ("first of S", 32), ("last", 63)] {
        let name = format!("{name} byte of a signature altered");
        corpus.altered(S3, &name, Reason::BadSignature, |bundle| {
            bundle.signatures[0].signature[byte] ^= 1
        });
        let name = format!("{name} (global)");
        corpus.altered(S3, &name, Reason::BadSignature, |bundle| {
            bundle.signatures[1].global[byte] ^= 1
        });
    }
    corpus.altered(S3, "a signature of zeros", Reason::BadSignature, |bundle| {
        bundle.signatures[0].signature = [0; 64];
    });
    corpus.altered(
        S3,
        "a signature with S raised by the group's order",
        Reason::BadSignature,
        |bundle| {
            raise_s(&mut bundle.signatures[0].signature);
        },
    );
    corpus.altered(S3, "a comment altered", Reason::BadSignature, |bundle| {
        bundle.signatures[0].comment = b"tess".to_vec();
    });
    corpus.altered(S3, "a comment made longer", Reason::BadSignature, |bundle| {
        bundle.signatures[0].comment.extend(b"er");
    });
    corpus.altered(S3, "a comment taken away", Reason::BadSignature, |bundle| {
        bundle.signatures[0].comment.clear();
    });
    corpus.altered(
        S3,
        "two signatures under each other's id",
        Reason::BadSignature,
        |bundle| {
            let [first, second] = &mut bundle.signatures[..] else {
                panic!("two keys signed");
            };
            std::mem::swap(&mut first.id, &mut second.id);
            bundle.signatures.swap(0, 1);
        },
    );
    corpus.altered(S3, "a key id altered", Reason::BelowThreshold, |bundle| {
        bundle.signatures[0].id[0] ^= 1;
    });
    corpus.altered(S3, "both key ids altered", Reason::UnknownKey, |bundle| {
        bundle.signatures[0].id[0] ^= 1;
        bundle.signatures[1].id[0] ^= 1;
    });
    corpus.altered(
        S3,
        "the bytes swapped between signature and global",
        Reason::BadSignature,
        |bundle| {
            let signature = &mut bundle.signatures[0];
            std::mem::swap(&mut signature.signature, &mut signature.global);
        },
    );
}

/// Adds the order of the Ed25519 group to S: the same signature to a careless reader.
fn raise_s(signature: &mut [u8; 64]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, added) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(added) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

fn malformed_signatures(corpus: &mut Corpus) {
    let malformed = Reason::MalformedSignature;
    corpus.altered(S3, "a legacy signature", malformed, |bundle| {
        bundle.signatures[0].algorithm = *b"Ed"
    });
    corpus.altered(S3, "an unknown algorithm", malformed, |bundle| {
        bundle.signatures[0].algorithm = [0; 2]
    });
    corpus.altered(S3, "a secret key's bytes for an algorithm", malformed, |bundle| {
        bundle.signatures[1].algorithm = *b"Sc";
    });
    corpus.altered(S3, "the same signature twice", malformed, |bundle| {
        let first = bundle.signatures[0].clone();
        bundle.signatures.insert(0, first);
    });
    let again = corpus.one.sign(&Draft::policy().payload());
    corpus.altered(S3, "two signatures by one key", malformed, |bundle| {
        let place = bundle.signatures.iter().position(|other| other.id == again.id);
        bundle.signatures.insert(place.unwrap(), again);
    });
    corpus.altered(S3, "signatures out of order", malformed, |bundle| {
        bundle.signatures.swap(0, 1)
    });
    corpus.altered(S3, "nine signatures", malformed, |bundle| {
        let first = bundle.signatures[0].clone();
        bundle.signatures = (0..9u8)
            .map(|number| {
                let mut other = first.clone();
                other.id[7] = number;
                other
            })
            .collect();
    });
    corpus.altered(S3, "255 signatures announced", malformed, |bundle| {
        bundle.n_signatures = Some(255)
    });
    corpus.altered(S3, "a comment that is no UTF-8", malformed, |bundle| {
        bundle.signatures[0].comment = b"te\xffst".to_vec();
    });
    corpus.altered(S3, "a comment with an escape sequence", malformed, |bundle| {
        bundle.signatures[0].comment = b"\x1b[2J".to_vec();
    });
    corpus.altered(S3, "a comment of two lines", malformed, |bundle| {
        bundle.signatures[0].comment = b"one\ntwo".to_vec();
    });
    corpus.altered(S3, "a comment with a blank behind", malformed, |bundle| {
        bundle.signatures[0].comment = b"test ".to_vec();
    });
    corpus.altered(S3, "a comment that is too long", malformed, |bundle| {
        bundle.signatures[0].comment = vec![b'x'; 257];
    });
    corpus.altered(
        S3,
        "a comment announced longer than the file",
        malformed,
        |bundle| {
            bundle.signatures[0].comment_len = Some(u16::MAX);
        },
    );
    corpus.altered(
        S3,
        "one signature less announced",
        Reason::TrailingBytes,
        |bundle| bundle.n_signatures = Some(1),
    );
    corpus.altered(S3, "no signature announced", Reason::TrailingBytes, |bundle| {
        bundle.n_signatures = Some(0)
    });
    corpus.altered(S3, "one signature more announced", malformed, |bundle| {
        bundle.n_signatures = Some(3)
    });
}

fn other_payloads(corpus: &mut Corpus) {
    let bad = Reason::BadSignature;
    corpus.altered(S3, "the payload of another bundle", bad, |bundle| {
        let mut other = Draft::policy();
        other.manifest = super::replace(&other.manifest, "revision = 7", "revision = 8");
        bundle.payload = other.payload();
    });
    corpus.altered(S3, "a bit of the payload altered", bad, |bundle| {
        bundle.payload[400] ^= 4
    });
    corpus.altered(S3, "a newline behind the payload", bad, |bundle| {
        bundle.payload.push(b'\n')
    });
    corpus.altered(S3, "the payload's last byte missing", bad, |bundle| {
        bundle.payload.truncate(bundle.payload.len() - 1)
    });
    corpus.altered(S3, "no payload", bad, |bundle| bundle.payload.clear());
    let payload = Draft::policy().payload();
    let whole = RawBundle::signed(1, payload.clone(), &[]).to_bytes();
    let mut over_all = RawBundle::signed(1, payload.clone(), &[]);
    over_all.signatures = vec![corpus.one.sign(&whole)];
    corpus.add(
        S3,
        "a signature over the whole file",
        bad,
        over_all.to_bytes(),
        Host::new(),
    );
    let mut over_digest = RawBundle::signed(1, payload.clone(), &[]);
    over_digest.signatures = vec![
        corpus
            .one
            .sign(cordon::bundle::Digest::of(&payload).to_string().as_bytes()),
    ];
    corpus.add(
        S3,
        "a signature over a digest",
        bad,
        over_digest.to_bytes(),
        Host::new(),
    );
}
