//! Directives, in a bundle whose sizes and digests fit, so that the text itself is met.
#![no_main]

use std::sync::LazyLock;

use cordon::{
    bundle::{
        Bundle, Kind, Manifest, SectionName, Source, Stage, build,
        directive::{self, Directive},
        read_manifest,
    },
    diagnostic::has_errors,
};
use libfuzzer_sys::fuzz_target;

/// What any bundle is called that the input is put into.
static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let text = "format = 1\nkind = \"directive\"\nname = \"duty\"\nrevision = 1\nissued = 2026-03-01T00:00:00Z\n\
                min_cordon = \"0.0.0\"\nchange = \"fuzz\"\nexpires = 2027-03-01T00:00:00Z\n";
    read_manifest("bundle.toml", text, Stage::Source)
        .0
        .expect("a manifest")
});

fuzz_target!(|bytes: &[u8]| {
    let source = Source {
        name: SectionName::Directive,
        bytes: bytes.to_vec(),
    };
    let built = build("fuzz.cordon", MANIFEST.clone(), vec![source]);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(built.is_err(), "a directive is text");
        return;
    };
    let (directive, remarks) = directive::read("directive", text);
    assert_eq!(directive.is_none(), has_errors(&remarks), "{remarks:?}");
    if let Ok((envelope, _)) = built {
        let bundle =
            Bundle::read("fuzz.cordon", &envelope.payload, Kind::Directive).expect("it was read when built");
        assert_eq!(bundle.directive, directive);
    }
    if let Some(directive) = directive {
        assert!(Directive::VERBS.contains(&directive.verb()));
        assert!(directive.to_string().ends_with(directive.reason()));
    }
});
