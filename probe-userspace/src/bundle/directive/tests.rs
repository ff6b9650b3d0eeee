use super::*;

fn good(text: &str) -> Directive {
    let (directive, remarks) = read("directive.toml", text);
    directive.unwrap_or_else(|| panic!("{remarks:?}"))
}

fn refused(text: &str) -> String {
    let (directive, remarks) = read("directive.toml", text);
    assert_eq!(directive, None, "{text}");
    remarks[0].to_string()
}

#[test]
fn every_verb_asks_for_its_own_trust() {
    let cases = [
        ("verb = \"halt\"", Verb::Halt, "halt: drill"),
        ("verb = \"resume\"", Verb::Halt, "resume: drill"),
        (
            "verb = \"lift\"\norder = \"a-1\"\nuntil = 2027-01-01T00:00:00Z",
            Verb::Lift,
            "lift of the order a-1 until 2027-01-01T00:00:00Z: drill",
        ),
        (
            "verb = \"lift\"\nall = true",
            Verb::LiftAll,
            "lift of all orders: drill",
        ),
        (
            "verb = \"unlift\"\nall = true",
            Verb::Lift,
            "unlift of all orders: drill",
        ),
        (
            "verb = \"exempt\"\nchange = \"remove\"\nreference = \"C-7\"\napprover = \"a\"",
            Verb::Exempt,
            "exempt Remove C-7: drill",
        ),
    ];
    for (text, verb, shown) in cases {
        let directive = good(&format!("version = 1\nreason = \"drill\"\n{text}\n"));
        assert_eq!((directive.verb(), directive.to_string().as_str()), (verb, shown));
        assert!(Directive::VERBS.contains(&directive.verb()));
    }
}

#[test]
fn what_a_verb_does_not_know_is_refused() {
    for (text, expected) in [
        ("verb = \"detach\"", "verb"),
        ("verb = \"halt\"\norder = \"a-1\"", "unknown key"),
        ("verb = \"halt\"\nfor = \"2h\"", "write `until`"),
        ("verb = \"lift\"", "no order is named"),
        ("verb = \"lift\"\nall = false", "no order is named"),
        (
            "verb = \"lift\"\norder = \"a\"\nall = true",
            "remove one of the two",
        ),
        ("verb = \"lift\"\norder = \"a b\"", "without blanks"),
        ("verb = \"resume\"\nuntil = 2027-01-01T00:00:00Z", "unknown key"),
    ] {
        let remark = refused(&format!("version = 1\nreason = \"drill\"\n{text}\n"));
        assert!(remark.contains(expected), "{text}: {remark}");
    }
    assert!(refused("version = 2\nverb = \"halt\"\nreason = \"x\"").contains("newer cordon"));
    assert!(refused("version = 1\nverb = \"halt\"").contains("`reason` is missing"));
}

#[test]
fn exemptions_are_narrow_and_end() {
    let text = |more: &str| {
        format!(
            "version = 1\nverb = \"exempt\"\nreason = \"r\"\nchange = \"add\"\nreference = \"C-7\"\napprover = \"a\"\n{more}\n"
        )
    };
    let end = "until = 2027-01-01T00:00:00Z";
    let Directive::Exempt(exempt) = good(&text(&format!("{end}\nprefixes = [\"203.0.113.0/24\"]"))) else {
        panic!("an exemption");
    };
    assert_eq!(exempt.prefixes, ["203.0.113.0/24".parse().unwrap()]);
    assert_eq!(exempt.orders, None);
    for (more, expected) in [
        ("prefixes = [\"203.0.113.0/24\"]", "ends by itself"),
        (end, "`prefixes` is missing"),
        (
            &format!("{end}\nprefixes = [\"203.0.112.0/23\"]"),
            "wider than /24",
        ),
        (
            &format!("{end}\nprefixes = [\"2001:db8::/47\"]"),
            "wider than /48",
        ),
        (
            &format!("{end}\nprefixes = [\"203.0.113.7/24\"]"),
            "203.0.113.7/24",
        ),
        (
            &format!("{end}\nprefixes = [\"203.0.113.0/24\", \"203.0.113.0/24\"]"),
            "twice",
        ),
    ] {
        let remark = refused(&text(more));
        assert!(remark.contains(expected), "{more}: {remark}");
    }
    good(&text(&format!(
        "{end}\nwide = true\nprefixes = [\"203.0.112.0/23\"]"
    )));
}
