//! What is signed: sections, manifest, policy, lists, compressed databases. The signature is not in the way here.
#![no_main]

use cordon::bundle::{Bundle, Kind, payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for kind in Kind::ALL {
        if let Ok(sections) = payload::parse("fuzz.cordon", bytes, kind) {
            let written = payload::to_bytes(kind, sections);
            assert_eq!(
                written.as_deref(),
                Some(bytes),
                "there is one way to write a payload"
            );
        }
        if let Ok(bundle) = Bundle::read("fuzz.cordon", bytes, kind) {
            assert_eq!(bundle.manifest.kind(), kind);
        }
    }
});
