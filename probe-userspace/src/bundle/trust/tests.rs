use super::*;
use crate::bundle::key::SecretKey;
use crate::instant::Instant;

const PAYLOAD: &[u8] = b"cordon policy 1\nend\n";

fn secret() -> SecretKey {
    SecretKey::generate(None).unwrap().0
}

fn key_file(name: &str, key: &SecretKey) -> KeyFile {
    KeyFile {
        file: format!("{name}.pub"),
        key: key.public().unwrap(),
    }
}

fn trust(keys: &[&SecretKey], rules: Rules) -> Trust {
    let files = (1..)
        .zip(keys)
        .map(|(number, key)| key_file(&number.to_string(), key));
    Trust::new(files.collect(), rules).unwrap()
}

fn two_of() -> Rules {
    Rules {
        thresholds: [(Verb::Apply, 2)].into(),
        ..Rules::default()
    }
}

fn sign(keys: &[&SecretKey]) -> Vec<Signature> {
    keys.iter()
        .map(|key| key.sign(PAYLOAD, "test").unwrap())
        .collect()
}

fn reason(signatures: &[Signature], trust: &Trust, verb: Verb) -> Result<usize, Reason> {
    verify("x.cordon", PAYLOAD, signatures, trust, &[verb])
        .map(|votes| votes.keys.len())
        .map_err(|rejected| rejected.reason)
}

#[test]
fn as_many_keys_must_sign_as_the_threshold_says() {
    let (one, two, three, stranger) = (secret(), secret(), secret(), secret());
    let trust = trust(&[&one, &two, &three], two_of());
    for (signers, expected) in [
        (vec![], Err(Reason::Unsigned)),
        (vec![&stranger], Err(Reason::UnknownKey)),
        (vec![&one], Err(Reason::BelowThreshold)),
        (vec![&one, &stranger], Err(Reason::BelowThreshold)),
        (vec![&one, &one], Err(Reason::MalformedSignature)),
        (vec![&one, &three], Ok(2)),
        (vec![&one, &two, &three], Ok(3)),
        (vec![&one, &two, &stranger], Ok(2)),
    ] {
        assert_eq!(reason(&sign(&signers), &trust, Verb::Apply), expected);
    }
    assert_eq!(
        reason(&sign(&[&one]), &trust, Verb::Geo),
        Ok(1),
        "other verbs need one"
    );
    assert_eq!(
        reason(&sign(&[&one]), &Trust::default(), Verb::Apply),
        Err(Reason::NoTrustedKey)
    );
}

#[test]
fn one_bad_signature_by_a_trusted_key_spoils_all() {
    let (one, two) = (secret(), secret());
    let trust = trust(&[&one, &two], Rules::default());
    let mut signatures = sign(&[&one]);
    signatures.push(two.sign(b"another payload", "test").unwrap());
    assert_eq!(
        reason(&signatures, &trust, Verb::Apply),
        Err(Reason::BadSignature)
    );
    signatures.pop();
    signatures[0].comment.push('x');
    assert_eq!(
        reason(&signatures, &trust, Verb::Apply),
        Err(Reason::BadSignature),
        "the trusted comment is signed too"
    );
}

#[test]
fn keys_do_only_what_they_are_trusted_for() {
    let (signer, night_shift) = (secret(), secret());
    let rules = Rules {
        restrictions: vec![Restriction {
            id: night_shift.public().unwrap().id(),
            verbs: vec![Verb::Halt],
        }],
        ..two_of()
    };
    let trust = trust(&[&signer, &night_shift], rules);
    assert_eq!(reason(&sign(&[&night_shift]), &trust, Verb::Halt), Ok(1));
    assert_eq!(
        reason(&sign(&[&signer, &night_shift]), &trust, Verb::Apply),
        Err(Reason::VerbNotAllowed)
    );
    assert_eq!(
        reason(&sign(&[&night_shift]), &trust, Verb::Lift),
        Err(Reason::VerbNotAllowed)
    );
}

#[test]
fn a_revoked_key_counts_for_nothing_and_never_comes_back() {
    let (old, new) = (secret(), secret());
    let public = old.public().unwrap();
    let rules = Rules {
        revocations: vec![Revocation {
            key: public.clone(),
            at: Instant(1_800_000_000),
            reason: "laptop lost".to_owned(),
        }],
        ..Rules::default()
    };
    let only_old = trust(&[&old], rules.clone());
    assert!(only_old.is_empty(), "a directory of revoked keys trusts nobody");
    let both = trust(&[&old, &new], rules.clone());
    assert_eq!(
        reason(&sign(&[&old]), &both, Verb::Apply),
        Err(Reason::RevokedKey)
    );
    assert_eq!(reason(&sign(&[&old, &new]), &both, Verb::Apply), Ok(1));

    // The same material under another id: whoever holds the key can write such a file.
    let renamed = with_id(&public, [7; 8]);
    let trust = Trust::new(
        vec![
            key_file("new", &new),
            KeyFile {
                file: "renamed.pub".to_owned(),
                key: renamed.clone(),
            },
        ],
        rules,
    )
    .unwrap();
    assert_eq!(trust.standing(renamed.id(), &[Verb::Apply]).0, Standing::Revoked);
}

fn with_id(key: &PublicKey, id: [u8; 8]) -> PublicKey {
    let mut bytes = b"Ed".to_vec();
    bytes.extend(id);
    bytes.extend(key.material());
    PublicKey::from_base64(&crate::bundle::signature::base64(&bytes)).unwrap()
}

#[test]
fn one_key_cannot_be_trusted_twice() {
    let (one, two) = (secret(), secret());
    let public = one.public().unwrap();
    let same_id = with_id(&two.public().unwrap(), public.id().to_bytes());
    let same_material = with_id(&public, [7; 8]);
    for (other, expected) in [
        (public.clone(), "the same key"),
        (same_id, "have the same id"),
        (same_material, "two ids stand for the same key"),
    ] {
        let files = vec![
            key_file("one", &one),
            KeyFile {
                file: "other.pub".to_owned(),
                key: other,
            },
        ];
        let remarks = Trust::new(files, Rules::default()).unwrap_err();
        assert!(remarks[0].message.contains(expected), "{remarks:?}");
        assert!(remarks[0].message.contains("one.pub"), "{remarks:?}");
    }
}

#[test]
fn rotation_goes_from_old_over_both_to_new_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let directory = TrustDirectory::new(&dir.path().join("keys"));
    let (old, new) = (secret(), secret());
    let takes = |signers: &[&SecretKey]| reason(&sign(signers), &directory.read().unwrap(), Verb::Apply);
    assert_eq!(takes(&[&old]), Err(Reason::NoTrustedKey));

    directory.trust(&old.public().unwrap(), None).unwrap();
    assert_eq!(takes(&[&old]), Ok(1));
    assert_eq!(
        takes(&[&old, &new]),
        Ok(1),
        "a host that has not heard of the new key yet"
    );
    directory.trust(&new.public().unwrap(), None).unwrap();
    assert_eq!(takes(&[&old, &new]), Ok(2));
    let id = old.public().unwrap().id();
    directory.revoke(id, "rotation", Instant(1_800_000_000)).unwrap();
    assert_eq!(
        takes(&[&old, &new]),
        Ok(1),
        "a bundle that was signed by both is still good"
    );
    assert_eq!(takes(&[&old]), Err(Reason::RevokedKey));
    let refusal = directory.trust(&old.public().unwrap(), None).unwrap_err();
    assert!(refusal.error.contains("was revoked on 2027"), "{refusal}");
}

#[test]
fn one_unreadable_key_file_refuses_all() {
    let dir = tempfile::tempdir().unwrap();
    let directory = TrustDirectory::new(dir.path());
    directory.trust(&secret().public().unwrap(), None).unwrap();
    std::fs::write(dir.path().join("other.pub"), "untrusted comment: x\nRWQ\n").unwrap();
    let refusal = directory.read().unwrap_err();
    assert!(
        refusal.diagnostics[0].place.file.ends_with("other.pub"),
        "{refusal:?}"
    );
    std::fs::remove_file(dir.path().join("other.pub")).unwrap();
    std::fs::write(dir.path().join(RULES_FILE), "version = 2\n").unwrap();
    assert!(
        directory.read().is_err(),
        "rules of a newer cordon may restrict a key"
    );
}

#[test]
fn rules_survive_their_text() {
    let rules = Rules {
        thresholds: [(Verb::Apply, 2), (Verb::Lift, 3)].into(),
        restrictions: vec![Restriction {
            id: secret().public().unwrap().id(),
            verbs: vec![Verb::Halt, Verb::Exempt],
        }],
        revocations: vec![Revocation {
            key: secret().public().unwrap(),
            at: Instant(1_800_000_000),
            reason: "lost: \"quoted\"\nand lines".to_owned(),
        }],
    };
    assert_eq!(
        Rules::read("trust.toml", &rules.to_text()),
        (Some(rules), Vec::new())
    );
}

#[test]
fn wrong_rules_are_named() {
    for (text, expected) in [
        ("", "`version` is missing"),
        ("version = 2", "no such version"),
        (
            "version = 1\n[threshold]\napply = 0",
            "a threshold is a number from 1 to 8",
        ),
        (
            "version = 1\n[threshold]\napply = 9",
            "a threshold is a number from 1 to 8",
        ),
        ("version = 1\n[threshold]\naply = 2", "unknown key in [threshold]"),
        (
            "version = 1\n[[key]]\nid = \"7\"\nverbs = [\"halt\"]",
            "a key id is 16",
        ),
        (
            "version = 1\n[[key]]\nid = \"E7620F1842B4E81F\"\nverbs = []",
            "`verbs` is empty",
        ),
        (
            "version = 1\n[[key]]\nid = \"E7620F1842B4E81F\"\nverbs = [\"all\"]",
            "`verbs` must be",
        ),
        (
            "version = 1\n[[key]]\nid = \"E7620F1842B4E81F\"\nverbs = [\"halt\"]\n\
             [[key]]\nid = \"E7620F1842B4E81F\"\nverbs = [\"apply\"]",
            "restricted twice",
        ),
        (
            "version = 1\n[[revoked]]\nkey = \"RWQ\"\nat = 2026-03-01T00:00:00Z\nreason = \"x\"",
            "a public key is",
        ),
    ] {
        let (rules, remarks) = Rules::read("trust.toml", text);
        assert_eq!(rules, None, "{text}");
        assert!(
            remarks.iter().any(|remark| remark.message.contains(expected)),
            "{text}: {remarks:?}"
        );
    }
}
