//! `cordon bundle join`.

use std::{path::PathBuf, process::ExitCode};

use serde::Serialize;

use super::files::{self, Existing};
use crate::{
    bundle::{
        Bundle, Envelope, Kind, Reason, Rejected, Signature,
        key::KeyId,
        limits::{MAX_KEY_FILE_BYTES, MAX_PAYLOAD_BYTES, MAX_SIGNATURES},
        payload,
    },
    cli::{Globals, output},
    diagnostic::Place,
    input,
};

/// Put a payload and `.minisig` files together to a bundle: the reverse of `split`
#[derive(Debug, clap::Args)]
pub(super) struct Join {
    /// Payload
    payload: PathBuf,

    /// Signatures of the payload, by minisign or by `cordon bundle split`
    #[arg(value_name = "MINISIG")]
    signatures: Vec<PathBuf>,

    /// File to write
    #[arg(long, value_name = "FILE")]
    to: PathBuf,

    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct Joined {
    file: String,
    signatures: Vec<KeyId>,
}

impl Join {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let file = self.payload.display().to_string();
        let bytes = input::read_bytes(&self.payload, MAX_PAYLOAD_BYTES)
            .map_err(|error| error.refusal("the payload"))?;
        let refusal = |rejected| files::refusal(&file, rejected);
        let kind = kind(&file, &bytes).map_err(refusal)?;
        Bundle::read(&file, &bytes, kind).map_err(refusal)?;
        let mut envelope = Envelope {
            kind,
            signatures: Vec::new(),
            payload: bytes,
        };
        for path in &self.signatures {
            let signature = signature(path)?;
            if envelope
                .signatures
                .iter()
                .any(|other| other.key_id == signature.key_id)
            {
                anyhow::bail!(
                    "{} is by the key {}, which signed already: a key has one vote",
                    path.display(),
                    signature.key_id
                );
            }
            if !envelope.add(signature) {
                anyhow::bail!("a bundle has at most {MAX_SIGNATURES} signatures: name fewer");
            }
        }
        let existing = if self.force {
            Existing::Replace
        } else {
            Existing::Keep
        };
        files::write(&self.to, &envelope.to_bytes(), existing, 0o644)?;
        let joined = Joined {
            file: self.to.display().to_string(),
            signatures: envelope
                .signatures
                .iter()
                .map(|signature| signature.key_id)
                .collect(),
        };
        output::print(globals.output, &joined, |joined| {
            let keys: Vec<String> = joined.signatures.iter().map(KeyId::to_string).collect();
            match keys.as_slice() {
                [] => format!("wrote {}, not signed\n", joined.file),
                keys => format!("wrote {}, signed by {}\n", joined.file, keys.join(", ")),
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The kind under which a payload reads.
fn kind(file: &str, bytes: &[u8]) -> Result<Kind, Rejected> {
    for kind in Kind::ALL {
        match payload::parse(file, bytes, kind) {
            Err(rejected) if rejected.reason == Reason::WrongKind => {}
            Err(rejected) => return Err(rejected),
            Ok(_) => return Ok(kind),
        }
    }
    let message = "this is no payload of a bundle";
    Err(Rejected::new(
        Reason::WrongKind,
        Place::file(file),
        "",
        message,
        "name what `bundle split` wrote",
    ))
}

fn signature(path: &std::path::Path) -> anyhow::Result<Signature> {
    let file = path.display().to_string();
    let bytes = input::read_bytes(path, MAX_KEY_FILE_BYTES).map_err(|error| error.refusal("a signature"))?;
    let text = String::from_utf8_lossy(&bytes);
    let signature = Signature::from_minisig(&text).map_err(|wrong| {
        let rejected = Rejected::new(
            Reason::MalformedSignature,
            Place::file(&file),
            "",
            wrong.message,
            wrong.fix,
        );
        files::refusal(&file, rejected)
    })?;
    Ok(signature)
}
