//! `cordon check`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use probe_common::{Action, Stages, profile};
use serde::Serialize;

use super::{Globals, output};
use crate::{
    compile::Image,
    daemon::{
        Refusal, build,
        settings::{Settings, count},
    },
    diagnostic::Diagnostic,
    geo::{self, GeoSource, Location},
    input,
    instant::Instant,
};

/// Compile a policy and run its tests, without touching anything
///
/// Uses the database of the host file; without one the first found in the usual places, else the embedded one.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Policy file
    file: PathBuf,
}

#[derive(Debug, Serialize)]
struct Checked {
    policy: String,
    sha256: String,
    orders: Vec<String>,
    classes_dropped: Vec<String>,
    n_classes: usize,
    n_overrides: usize,
    n_tests: usize,
    database: GeoSource,
    diagnostics: Vec<Diagnostic>,
}

impl Check {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let settings = globals.settings_or_defaults()?;
        let file = self.file.display().to_string();
        let text = policy_text(&self.file)?;
        let (policy, warnings) = build::parse_policy(&file, &text)?;
        let location = location(&settings)?;
        let now = Instant::now();
        let (image, diagnostics) =
            build::compile_policy(&policy, &text, &location, now, &settings.host.frame, warnings)?;
        let checked = Checked {
            policy: image.policy_name.clone(),
            sha256: image.policy_sha256.clone(),
            orders: image.orders.iter().map(|order| order.id.clone()).collect(),
            classes_dropped: classes_dropped(&image, now),
            n_classes: location.classes.len(),
            n_overrides: image.overrides.len(),
            n_tests: policy.tests.len(),
            database: location.source.clone(),
            diagnostics,
        };
        output::print_remarks(globals.output, &checked.diagnostics)?;
        output::print(globals.output, &checked, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a policy file.
pub(super) fn policy_text(file: &Path) -> Result<String, Refusal> {
    input::read_text(file).map_err(|error| error.refusal("the policy"))
}

/// Loads the database of the host file.
pub(super) fn location(settings: &Settings) -> anyhow::Result<Arc<Location>> {
    let location = geo::load(&settings.geo_choice(), settings.host.field)?;
    Ok(Arc::new(location))
}

/// Names of the classes that are dropped now where no override speaks.
fn classes_dropped(image: &Image, now: Instant) -> Vec<String> {
    let is_dropped = |class: u16| {
        let cell = image.matrix.cell(0, profile::ALL_ORDERS, class)?;
        let action = match cell.stages_idx() {
            Some(idx) => image
                .stages
                .get(usize::try_from(idx).ok()?)
                .map(|stages: &Stages| stages.decision_at(now.0))?,
            None => cell.fixed_decision(),
        };
        Some(action.action() == Action::Drop)
    };
    (0..u16::try_from(image.matrix.n_classes).unwrap_or(u16::MAX))
        .filter(|class| is_dropped(*class).unwrap_or(false))
        .map(|class| image.location.classes.name(class).to_owned())
        .collect()
}

fn render(checked: &Checked) -> String {
    let mut text = format!("policy {} is good\n", checked.policy);
    text.push_str(&format!("  orders: {}\n", list(&checked.orders)));
    text.push_str(&format!(
        "  drops {} of {} places now: {}\n",
        checked.classes_dropped.len(),
        checked.n_classes,
        list(&checked.classes_dropped)
    ));
    text.push_str(&format!(
        "  {}, {} passed\n",
        count(checked.n_overrides, "override"),
        count(checked.n_tests, "test")
    ));
    let database = &checked.database;
    text.push_str(&format!(
        "  database: {} ({})\n",
        database.origin, database.database_type
    ));
    text
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names if names.len() > 20 => format!("{}, ...", names[..20].join(", ")),
        names => names.join(", "),
    }
}
