//! `cordon check`.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::Arc};

use probe_common::{Action, Decision, profile};
use serde::Serialize;

use super::{Globals, output, policy_file::PolicyFile};
use crate::{
    compile::Image,
    daemon::{
        build,
        settings::{Settings, count},
    },
    diagnostic::Diagnostic,
    geo::{self, GeoSource, Location},
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
    places: Vec<Places>,
    services: Vec<String>,
    tiers: Vec<String>,
    n_classes: usize,
    n_overrides: usize,
    n_tests: usize,
    database: GeoSource,
    diagnostics: Vec<Diagnostic>,
}

/// Places that fare alike now, where no override speaks.
#[derive(Debug, Serialize)]
struct Places {
    /// What their packets are for; `no service` first.
    service: String,
    action: &'static str,
    tier: Option<String>,
    classes: Vec<String>,
}

impl Check {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let settings = globals.settings_or_defaults()?;
        let PolicyFile { file, text, lists } = PolicyFile::read(&self.file)?;
        let lists = build::read_lists(&file, &lists)?;
        let (policy, warnings) = build::parse_policy(&file, &text, lists)?;
        let location = location(&settings)?;
        let now = Instant::now();
        let (image, diagnostics) =
            build::compile_policy(&policy, &text, &location, now, &settings.host.frame, warnings)?;
        let checked = Checked {
            policy: image.policy_name.clone(),
            sha256: image.policy_sha256.clone(),
            orders: image.orders.iter().map(|order| order.id.clone()).collect(),
            classes_dropped: places(&image, 0, now)
                .into_iter()
                .filter(|places| places.action == Action::Drop.name())
                .flat_map(|places| places.classes)
                .collect(),
            places: all_places(&image, now),
            services: image.scopes.services.clone(),
            tiers: image.tier_names.iter().skip(1).cloned().collect(),
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

/// Loads the database of the host file.
pub(super) fn location(settings: &Settings) -> anyhow::Result<Arc<Location>> {
    let location = geo::load(&settings.geo_choice()?, settings.host.field)?;
    Ok(Arc::new(location))
}

/// The places of no service, and of each service that differs from it.
fn all_places(image: &Image, now: Instant) -> Vec<Places> {
    let alike = |a: &[Places], b: &[Places]| {
        let key = |places: &Places| (places.action, places.tier.clone(), places.classes.clone());
        a.iter().map(key).eq(b.iter().map(key))
    };
    let first = places(image, 0, now);
    let mut all = Vec::new();
    for row in image.scopes.telling_rows().into_iter().skip(1) {
        let of_row = places(image, row, now);
        if !alike(&of_row, &first) {
            all.extend(of_row);
        }
    }
    first.into_iter().chain(all).collect()
}

/// The places of a row by what happens to them now, the mildest action first.
fn places(image: &Image, row: u32, now: Instant) -> Vec<Places> {
    let mut by_decision: BTreeMap<(Action, u8), Vec<String>> = BTreeMap::new();
    for class in 0..u16::try_from(image.matrix.n_classes).unwrap_or(u16::MAX) {
        if let Some(decision) = decision(image, row, class, now) {
            let name = image.location.classes.name(class).to_owned();
            by_decision
                .entry((decision.action(), decision.tier()))
                .or_default()
                .push(name);
        }
    }
    let service = image.scopes.row_names.get(row as usize);
    by_decision
        .into_iter()
        .map(|((action, tier), classes)| Places {
            service: service.map_or_else(|| "no service".to_owned(), Clone::clone),
            action: action.name(),
            tier: image
                .tier_names
                .get(usize::from(tier))
                .filter(|_| tier != 0)
                .cloned(),
            classes,
        })
        .collect()
}

fn decision(image: &Image, row: u32, class: u16, now: Instant) -> Option<Decision> {
    let cell = image.matrix.cell(row, profile::ALL_ORDERS, class)?;
    match cell.stages_idx() {
        Some(idx) => {
            let stages = image.stages.get(usize::try_from(idx).ok()?)?;
            Some(stages.decision_at(now.0))
        }
        None => Some(cell.fixed_decision()),
    }
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
    for places in &checked.places {
        let is_told = places.action == Action::Drop.name() && places.service == "no service";
        if places.action == Action::Pass.name() || is_told {
            continue;
        }
        let tier = places
            .tier
            .as_ref()
            .map_or_else(String::new, |tier| format!(" ({tier})"));
        let service = match places.service.as_str() {
            "no service" => String::new(),
            service => format!("for {service}: "),
        };
        text.push_str(&format!(
            "  {service}{}{tier} now: {}\n",
            places.action,
            list(&places.classes)
        ));
    }
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
