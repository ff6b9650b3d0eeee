//! The files of the trust directory and of `bundle join`.
#![no_main]

use cordon::bundle::{Signature, key::PublicKey, trust::Rules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(key) = PublicKey::from_file_text(text) {
        assert_eq!(PublicKey::from_file_text(&key.to_file_text()), Ok(key));
    }
    if let Ok(signature) = Signature::from_minisig(text) {
        assert_eq!(Signature::from_minisig(&signature.to_minisig()), Ok(signature));
    }
    if let (Some(rules), _) = Rules::read("trust.toml", text) {
        let (again, remarks) = Rules::read("trust.toml", &rules.to_text());
        assert_eq!(again, Some(rules), "{remarks:?}");
    }
});
