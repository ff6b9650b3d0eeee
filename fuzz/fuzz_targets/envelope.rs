//! The outer form of a bundle: whatever is read is written back to the same bytes.
#![no_main]

use cordon::bundle::{Envelope, Signature};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = Envelope::read("fuzz.cordon", bytes) else {
        return;
    };
    assert_eq!(envelope.to_bytes(), bytes, "there is one way to write a bundle");
    for signature in &envelope.signatures {
        let read = Signature::from_minisig(&signature.to_minisig());
        assert_eq!(
            read.as_ref(),
            Ok(signature),
            "and its signatures survive `split` and `join`"
        );
    }
});
