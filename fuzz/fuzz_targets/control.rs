//! Bodies of requests on the control socket. The first byte says which request it is.
#![no_main]

use cordon::{
    daemon::api::{ApplyRequest, EventQuery, ExplainQuery, HaltRequest, LocateQuery, read_request},
    policy,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    match kind {
        b'a' => {
            if let Ok(request) = read_request::<ApplyRequest>(body) {
                drop(policy::parse(&request.file, &request.text));
            }
        }
        b'h' => drop(read_request::<HaltRequest>(body)),
        b'e' => {
            if let Ok(query) = read_request::<ExplainQuery>(body) {
                let contradiction = query.heading().contradiction(query.ip);
                assert!(contradiction.is_none_or(|text| !text.is_empty()));
            }
        }
        b'l' => drop(read_request::<LocateQuery>(body)),
        b'w' => drop(read_request::<EventQuery>(body)),
        _ => {}
    }
});
