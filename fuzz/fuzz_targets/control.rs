//! Bodies and queries of requests on the control socket. The first byte says which request it is.
#![no_main]

use std::fmt::Debug;

use cordon::{
    daemon::api::{
        AddRequest, ApplyRequest, EventQuery, ExemptionQuery, ExplainQuery, HaltRequest, LiftRequest,
        LocateQuery, PushQuery, RemoveQuery, RenewRequest, ResumeRequest, RollbackRequest, SyncQuery,
        UnliftRequest, read_request,
    },
    exemption::{Exemption, Written, file},
    instant::Instant,
    policy,
};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

/// When exemptions are granted.
const NOW: Instant = Instant(1_780_000_000);

/// Reads a body, and what it says once more: the client writes what the daemon reads.
fn read<T: Serialize + DeserializeOwned + Debug>(body: &[u8]) -> Option<T> {
    let request = read_request::<T>(body).ok()?;
    let written = serde_json::to_vec(&request).expect("a request is written");
    let again = read_request::<T>(&written).expect("and read again");
    assert_eq!(format!("{again:?}"), format!("{request:?}"));
    Some(request)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    match kind {
        b'a' => {
            if let Some(request) = read::<ApplyRequest>(body) {
                drop(policy::parse(&request.file, &request.text));
            }
        }
        b'h' => drop(read::<HaltRequest>(body)),
        b'r' => drop(read::<ResumeRequest>(body)),
        b'L' => drop(read::<LiftRequest>(body)),
        b'U' => drop(read::<UnliftRequest>(body)),
        b'R' => drop(read::<RollbackRequest>(body)),
        b'p' => drop(read::<PushQuery>(body)),
        b'x' => {
            for written in read::<AddRequest>(body)
                .into_iter()
                .flat_map(|request| request.exemptions)
            {
                if let Ok(exemption) = Exemption::new(written, NOW, "fuzz") {
                    let again = Written {
                        granted: None,
                        by: None,
                        ..exemption.written()
                    };
                    let again = Exemption::new(again, NOW, "fuzz").expect("as it was written");
                    assert!(exemption.says_the_same_as(&again));
                }
            }
        }
        b'n' => {
            if let Some(request) = read::<RenewRequest>(body) {
                drop(Exemption::end(request.until.as_deref(), request.for_s, NOW));
            }
        }
        b'm' => drop(read::<RemoveQuery>(body)),
        b'q' => drop(read::<ExemptionQuery>(body)),
        b's' => drop(read::<SyncQuery>(body)),
        b'f' => {
            if let Ok(text) = std::str::from_utf8(body) {
                drop(file::read("exemptions", text, NOW, "fuzz"));
                drop(file::read_stored("exemptions", text));
            }
        }
        b'e' => {
            if let Some(query) = read::<ExplainQuery>(body) {
                let contradiction = query.heading().contradiction(query.ip);
                assert!(contradiction.is_none_or(|text| !text.is_empty()));
            }
        }
        b'l' => drop(read::<LocateQuery>(body)),
        b'w' => drop(read::<EventQuery>(body)),
        _ => {}
    }
});
