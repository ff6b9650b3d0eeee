//! The guides: what they tell a reader to type, typed.

use std::fs;

use integration_tests::{
    cordon_process::{Cordon, HostFile},
    lab::Lab,
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

const POLICY: &str = r#"
version = 1
default = "pass"
unknown = "pass"
[[order]]
id = "embargo"
authority = "legal department, case 42"
[[order.rule]]
action = "drop"
countries = ["RU"]
"#;

/// The lines of all blocks of a guide that are marked `sh`.
fn commands(guide: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{DOCS}/{guide}")).unwrap();
    let mut commands = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        match line.trim() {
            "```sh" => is_inside = true,
            "```" => is_inside = false,
            line if is_inside && !line.is_empty() => commands.push(line.to_owned()),
            _ => {}
        }
    }
    commands
}

/// Splits as a shell does, as far as the guides need it: quotes, no escapes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in command.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_commands_of_the_operations_guide_do_what_they_say() {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    let host = HostFile {
        database: Some(database),
        failsafe: vec!["198.51.100.7/32".to_owned()],
        ..HostFile::default()
    };
    let lab = Lab::new().unwrap();
    let cordon = Cordon::start(&lab, &host).unwrap();
    cordon.apply(POLICY).unwrap();
    cordon.apply(&POLICY.replace("\"RU\"", "\"RU\", \"NL\"")).unwrap();
    cordon.wait_attached().unwrap();
    fs::write(
        scratch.path().join("ipset.save"),
        "create s hash:net\nadd s 192.0.2.0/24\n",
    )
    .unwrap();

    let commands = commands("operations.md");
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        let words = words(&command);
        let [program, args @ ..] = words.as_slice() else {
            panic!("{command}");
        };
        assert_eq!(program, "cordon", "{command}");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = cordon
            .command(&args)
            .unwrap()
            .current_dir(scratch.path())
            .output()
            .unwrap();
        // The doctor may find something about the machine that this runs on.
        let allowed: &[i32] = if args[0] == "doctor" { &[0, 1] } else { &[0] };
        assert!(
            output
                .status
                .code()
                .is_some_and(|status| allowed.contains(&status)),
            "{command}: {output:?}\n{}",
            cordon.log()
        );
        if command.starts_with("cordon explain") {
            assert!(
                String::from_utf8_lossy(&output.stdout).contains("drop"),
                "{command}: {output:?}"
            );
        }
    }
    assert!(scratch.path().join("support.txt").exists() && scratch.path().join("lists/blocked.txt").exists());
}
