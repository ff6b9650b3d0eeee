//! Signed bundles: `*.cordon` files, which carry a policy, a geo database or a directive to hosts. Pure but for
//! [`trust::TrustDirectory`]: bytes and what the host knows in, a verdict out.
//!
//! A bundle is read in this order, and nothing is looked at before what is above it was found good:
//!
//! 1. [`Envelope`]: at most 4 KiB of framing and signatures, then the payload, untouched.
//! 2. [`trust::verify`]: enough keys that the host trusts for this kind of bundle signed the payload. For a
//!    directive one signature will do until its verb is read, which says how many it takes.
//! 3. [`payload::parse`]: sections out of a fixed list, in a fixed order.
//! 4. [`Manifest`]: strict, and every other section has the size and digest that it names.
//! 5. The sections themselves: policy, groups, lists; the directive.
//! 6. [`freshness::judge`]: never back, never twice, in time, for this host.
//!
//! The bytes are specified in docs/bundle.md.

mod build;
mod content;
mod digest;
pub mod directive;
mod envelope;
mod expand;
pub mod freshness;
mod groups;
pub mod key;
pub mod limits;
mod list;
mod manifest;
pub mod payload;
mod rejected;
mod section;
mod signature;
mod target;
#[cfg(test)]
mod tests;
pub mod trust;

pub use build::{Source, build};
pub use content::{Bundle, bytes_to_read, open};
pub use digest::{Digest, Version};
pub use envelope::{Envelope, Kind, MAGIC};
pub use list::read_texts as read_list_texts;
pub use manifest::{
    Content, DatabaseNeed, DirectiveContent, GeoContent, Manifest, PolicyContent, SectionDigest, Stage,
    Validity,
};
pub use rejected::{Reason, Rejected};
pub use section::{Encoding, SectionName, is_plain_name};
pub use signature::{Malformed, Signature};
pub use target::{HostIdentity, Target};

/// Reads a manifest; see [`Stage`].
pub use manifest::read as read_manifest;
