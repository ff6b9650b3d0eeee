//! Manifests: what is read is written back as another text with the same meaning.
#![no_main]

use cordon::bundle::{Stage, read_manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    drop(read_manifest("fuzz.toml", text, Stage::Source));
    if let (Some(manifest), _) = read_manifest("fuzz.toml", text, Stage::Signed) {
        let (again, remarks) = read_manifest("fuzz.toml", &manifest.to_text(), Stage::Signed);
        assert_eq!(again, Some(manifest), "{remarks:?}");
    }
});
