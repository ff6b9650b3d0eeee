use super::*;

fn follow(cordon: &Cordon<'_>, bytes: &[u8]) -> Value {
    push(cordon, &write(cordon, "duty.cordon", bytes))
}

#[test]
fn a_signed_halt_and_a_signed_resume_are_followed_once() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(9, &drops(&["RU"])));
    let until = Instant(Instant::now().0 + 3600);
    let halt = directive(1, &format!("verb = \"halt\"\nuntil = {until}"), &["one"]);
    let followed = follow(&cordon, &halt);
    assert_eq!(followed["outcome"], "accepted", "{followed:#}");
    let halted = status(&cordon)["halted"].clone();
    assert_eq!(halted["reason"], "drill");
    assert_eq!(judged(&cordon, NL), 10);

    let resume = directive(2, "verb = \"resume\"", &["one"]);
    assert_eq!(follow(&cordon, &resume)["outcome"], "accepted");
    assert_eq!(
        (judged(&cordon, NL), &status(&cordon)["halted"]),
        (0, &Value::Null)
    );
    // Who kept the halt cannot use it again, nor can the resume end a later halt.
    assert_eq!(follow(&cordon, &halt)["reason"], "older-revision");
    restart(&mut cordon);
    cordon.cordon_ok(&["halt", "--reason", "local"]).unwrap();
    assert_eq!(follow(&cordon, &resume)["outcome"], "idle");
    assert_eq!(judged(&cordon, NL), 10, "still halted");
    assert_eq!(
        status(&cordon)["bundle"]["revision"],
        9,
        "policies have marks of their own"
    );
}

#[test]
fn a_directive_takes_the_keys_and_the_number_of_them_that_its_verb_asks_for() {
    let edge = edge();
    let cordon = managed(&edge, &["one", "two"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let keys: Value = cordon
        .cordon_ok(&["key", "list", "-o", "json"])
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(keys["thresholds"]["lift-all"], 2, "{keys:#}");
    let halt = |signers: &[&str]| directive(1, "verb = \"halt\"", signers);
    cordon
        .cordon_ok(&["key", "trust", "--threshold", "halt=2"])
        .unwrap();
    assert_eq!(follow(&cordon, &halt(&["one"]))["reason"], "below-threshold");
    let file = cordon.dir().join("one.pub").to_str().unwrap().to_owned();
    cordon
        .cordon_ok(&["key", "trust", &file, "--verbs", "apply,exempt"])
        .unwrap();
    assert_eq!(
        follow(&cordon, &halt(&["one", "two"]))["reason"],
        "verb-not-allowed"
    );
    assert_eq!(status(&cordon)["halted"], Value::Null);
    cordon.cordon_ok(&["key", "trust", &file]).unwrap();
    assert_eq!(follow(&cordon, &halt(&["one", "two"]))["outcome"], "accepted");
    assert_eq!(judged(&cordon, NL), 10);
}

#[test]
fn a_directive_that_cannot_be_followed_is_not_marked_as_taken() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let service = directive(1, "verb = \"halt\"\nservice = \"no-such\"", &["one"]);
    assert_eq!(follow(&cordon, &service)["reason"], "cannot-follow");
    let over = directive(1, "verb = \"halt\"\nuntil = 2026-01-01T00:00:00Z", &["one"]);
    assert_eq!(follow(&cordon, &over)["reason"], "expired");
    let halt = directive(1, "verb = \"halt\"", &["one"]);
    assert_eq!(follow(&cordon, &halt)["outcome"], "accepted");
}
