//! What cordon answers when it does not do what it was asked: one sentence and the remarks that led to it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    bundle::{Reason, Rejected},
    diagnostic::Diagnostic,
};

/// A refusal, as the control API sends it and as the command line prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// HTTP status; not part of the body.
    #[serde(skip)]
    pub status: u16,
    /// The caller has not the role that this needs; not part of the body.
    #[serde(skip)]
    pub is_by_role: bool,
    /// What is wrong, with the fix. No final full stop.
    pub error: String,
    /// Why a bundle was rejected, in one word: see [`Reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It was done all the same, as far as it could be; not part of the body.
    #[serde(skip)]
    pub has_acted: bool,
    /// Remarks on the input, if that is what is wrong.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
}

impl Refusal {
    /// The input is refused.
    pub fn input(error: impl Into<String>, diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            status: 422,
            is_by_role: false,
            error: error.into(),
            reason: None,
            has_acted: false,
            diagnostics,
        }
    }

    /// The request does not fit the state the daemon is in.
    pub fn conflict(error: impl Into<String>) -> Self {
        Self::with_status(409, error)
    }

    /// A bundle is rejected.
    pub fn rejected(file: &str, rejected: Rejected) -> Self {
        let status = match rejected.reason {
            Reason::OlderRevision
            | Reason::SameRevisionOtherContent
            | Reason::OtherName
            | Reason::Lockout => 409,
            _ => 422,
        };
        Self {
            status,
            reason: Some(rejected.reason.code().to_owned()),
            ..Self::input(
                format!("{file} is refused: {}", rejected.reason),
                rejected.remarks,
            )
        }
    }

    /// The caller has not the role that this needs.
    pub fn denied(error: impl Into<String>) -> Self {
        Self {
            is_by_role: true,
            ..Self::with_status(403, error)
        }
    }

    /// The same refusal as the rejection of a bundle.
    pub fn because(self, reason: Reason) -> Self {
        Self {
            reason: Some(reason.code().to_owned()),
            ..self
        }
    }

    /// The same refusal of what was done all the same, as far as it could be.
    pub fn having_acted(self) -> Self {
        Self {
            has_acted: true,
            ..self
        }
    }

    /// Something failed on the way: kernel, disk, database.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::with_status(500, format!("{error:#}"))
    }

    /// What kind of refusal it is, in one word.
    pub fn word(&self) -> &'static str {
        match self.status {
            401 | 403 => "denied",
            409 => "conflict",
            400 | 408 | 413 | 422 => "input",
            503 => "busy",
            507 => "no_room",
            _ => "failed",
        }
    }

    /// A refusal without remarks.
    pub fn with_status(status: u16, error: impl Into<String>) -> Self {
        Self {
            status,
            is_by_role: false,
            error: error.into(),
            reason: None,
            has_acted: false,
            diagnostics: Vec::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for Refusal {}
