//! Images for tests of the dataplane: small databases and policies, through the real reader, parser and compiler.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use cordon::{
    compile::{FrameSettings, Image, compile},
    geo::{self, Location},
    host::FieldChoice,
    instant::Instant,
    policy,
};

use crate::mmdb_writer::MmdbWriter;

/// Compiles a database that a test wrote.
pub fn location(database: &MmdbWriter) -> anyhow::Result<Arc<Location>> {
    Ok(Arc::new(geo::read_database(
        "test.mmdb",
        database.to_bytes(),
        FieldChoice::default(),
    )?))
}

/// Compiles the database that ships with cordon.
pub fn world() -> anyhow::Result<Arc<Location>> {
    Ok(Arc::new(geo::load(
        &geo::GeoChoice::Embedded,
        FieldChoice::default(),
    )?))
}

/// Compiles a policy; remarks that refuse it become the error.
pub fn image(text: &str, location: &Arc<Location>) -> anyhow::Result<Arc<Image>> {
    image_with(text, location, &FrameSettings::default())
}

/// As [`image`], with what a host says about frames.
pub fn image_with(text: &str, location: &Arc<Location>, frame: &FrameSettings) -> anyhow::Result<Arc<Image>> {
    let (policy, remarks) = policy::parse("test.toml", text);
    let Some(policy) = policy else {
        bail!("{}", join(&remarks))
    };
    let (image, remarks) = compile(&policy, text, location, Instant::now(), frame);
    image.map(Arc::new).with_context(|| join(&remarks))
}

/// A policy that drops countries and passes the rest.
pub fn drop_countries(codes: &[&str]) -> String {
    format!(
        "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n\
         [[order]]\nid = \"test-1\"\nauthority = \"Test\"\n\
         [[order.rule]]\naction = \"drop\"\ncountries = {codes:?}\n"
    )
}

/// A policy that drops RU and passes the rest.
pub const BLOCK_RU: &str = r#"
version = 1
name = "block-list"
default = "pass"
unknown = "pass"
[[order]]
id = "test-1"
authority = "Test Authority"
[[order.rule]]
action = "drop"
countries = ["RU"]
"#;

/// A policy that passes everything.
pub const PASS_ALL: &str = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n";

fn join(remarks: &[cordon::diagnostic::Diagnostic]) -> String {
    remarks
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
