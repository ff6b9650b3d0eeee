//! From the database file to a published generation, step by step.

use std::{
    sync::Arc,
    time::{Duration, Instant as Stopwatch},
};

use cordon::{
    dataplane::{Dataplane, ProgramSize, Settings},
    geo::{self, Location},
    host::FieldChoice,
};
use serde::Serialize;

use super::{
    SEVEN,
    contestant::name,
    row::{Aim, Group, Row, Spread, Unit},
    spread,
};
use crate::images;

/// A kind of publish; milliseconds, minimum, median and maximum.
#[derive(Debug, Serialize)]
pub struct PublishRow {
    /// What changed.
    pub name: &'static str,
    /// Reading and compiling the database.
    pub read_ms: [f64; 3],
    /// Parsing and compiling the policy.
    pub compile_ms: [f64; 3],
    /// Building the location index.
    pub build_ms: [f64; 3],
    /// Loading the programs: parsing the object, creating the maps, the verifier.
    pub load_ms: [f64; 3],
    /// Filling the maps.
    pub fill_ms: [f64; 3],
    /// Samples, kernel against oracle.
    pub verify_ms: [f64; 3],
    /// All of it, the store of the word included.
    pub total_ms: [f64; 3],
    /// Prefixes in the location tables.
    pub n_prefixes: [usize; 2],
    /// What is promised of the median.
    pub most_ms: f64,
}

impl PublishRow {
    /// The total, with what is promised of it.
    pub fn as_row(&self) -> Row {
        let [min, median, max] = self.total_ms;
        let mut row = Row::alone(Group::Reload, self.name, Unit::Ms, (name::CORDON, &[]));
        row.value = Some(Spread { min, median, max });
        row.aiming(Aim::AtMost(self.most_ms))
    }
}

type Programs = Vec<ProgramSize>;

/// Measures a whole refresh and a policy-only change.
pub fn measure(world: &Arc<Location>, times: usize) -> anyhow::Result<(Vec<PublishRow>, Programs)> {
    let bytes = geo::embedded_database()?;
    let text = images::drop_countries(&SEVEN);
    let mut whole = Steps::default();
    let mut policy_only = Steps::default();
    let mut programs = Vec::new();
    for _ in 0..times {
        let mut dataplane = Dataplane::open(&Settings {
            pin_dir: None,
            no_generation_pass: false,
            ..Default::default()
        })?;
        let started = Stopwatch::now();
        let location = Arc::new(geo::read_database(
            "world",
            bytes.clone(),
            FieldChoice::default(),
        )?);
        whole.read.push(started.elapsed());
        whole.publish(&mut dataplane, &text, &location, started)?;
        for change in [images::PASS_ALL, &text] {
            let started = Stopwatch::now();
            policy_only.read.push(Duration::ZERO);
            policy_only.publish(&mut dataplane, change, &location, started)?;
        }
        programs = dataplane.programs()?;
    }
    let n_prefixes = [world.prefixes_v4.len(), world.prefixes_v6.len()];
    let rows = vec![
        whole.row("world database: file to published", n_prefixes, 500.0),
        policy_only.row("policy-only change, location tables shared", n_prefixes, 50.0),
    ];
    Ok((rows, programs))
}

#[derive(Default)]
struct Steps {
    read: Vec<Duration>,
    compile: Vec<Duration>,
    build: Vec<Duration>,
    load: Vec<Duration>,
    fill: Vec<Duration>,
    verify: Vec<Duration>,
    total: Vec<Duration>,
}

impl Steps {
    fn publish(
        &mut self,
        dataplane: &mut Dataplane,
        text: &str,
        location: &Arc<Location>,
        started: Stopwatch,
    ) -> anyhow::Result<()> {
        let compile_started = Stopwatch::now();
        let image = images::image(text, location)?;
        self.compile.push(compile_started.elapsed());
        let published = dataplane.publish(&image, None)?;
        self.total.push(started.elapsed());
        self.build.push(published.build);
        self.load.push(published.load);
        self.fill.push(published.fill);
        self.verify.push(published.verify);
        Ok(())
    }

    fn row(self, name: &'static str, n_prefixes: [usize; 2], most_ms: f64) -> PublishRow {
        let ms = |times: Vec<Duration>| spread(times.iter().map(|time| time.as_secs_f64() * 1e3).collect());
        PublishRow {
            name,
            read_ms: ms(self.read),
            compile_ms: ms(self.compile),
            build_ms: ms(self.build),
            load_ms: ms(self.load),
            fill_ms: ms(self.fill),
            verify_ms: ms(self.verify),
            total_ms: ms(self.total),
            n_prefixes,
            most_ms,
        }
    }
}
