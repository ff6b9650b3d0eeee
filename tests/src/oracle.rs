//! What must happen, computed in userspace: cordon's compiler and its oracle, which share no table with the
//! kernel. The country of an address is checked against the database itself (see [`crate::raw_database`]).

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context as _, bail};
use cordon::{
    compile::{FrameSettings, Heading, Image, Query, compile},
    diagnostic::{Diagnostic, has_errors},
    geo::{self, EMBEDDED_NAME, GeoChoice, Location},
    host::FieldChoice,
    instant::Instant,
    policy,
};
use ipnet::IpNet;
use probe_common::{Fate, Verdict};

use crate::{probes::Outcome, raw_database::RawDatabase};

/// The database in force, compiled.
#[derive(Clone, Debug)]
pub struct Oracle {
    location: Arc<Location>,
    failsafe: Vec<IpNet>,
}

/// A policy, compiled.
#[derive(Clone, Debug)]
pub struct Expectations {
    image: Image,
    failsafe: Vec<IpNet>,
}

impl Oracle {
    /// Loads the database that a daemon without a `database` of its own takes.
    pub fn load() -> anyhow::Result<Self> {
        let location =
            geo::load(&GeoChoice::Auto, FieldChoice::default()).context("cannot load the database")?;
        Ok(Self {
            location: Arc::new(location),
            failsafe: Vec::new(),
        })
    }

    /// From now on policies are compiled for a host with these failsafe prefixes.
    pub fn set_failsafe(&mut self, prefixes: &[String]) -> anyhow::Result<()> {
        let prefixes = prefixes
            .iter()
            .map(|prefix| prefix.parse().with_context(|| format!("{prefix} is no prefix")));
        self.failsafe = prefixes.collect::<anyhow::Result<_>>()?;
        Ok(())
    }

    /// The compiled database.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The same database, read without cordon's code.
    pub fn raw_database(&self) -> anyhow::Result<RawDatabase> {
        match self.location.source.origin.as_str() {
            EMBEDDED_NAME => RawDatabase::shipped(),
            path => {
                RawDatabase::from_bytes(std::fs::read(path).with_context(|| format!("cannot read {path}"))?)
            }
        }
    }

    /// Compiles a policy. `file` names it in errors.
    pub fn compile(&self, file: &str, text: &str) -> anyhow::Result<Expectations> {
        let (parsed, diagnostics) = policy::parse(file, text);
        let Some(parsed) = parsed.filter(|_| !has_errors(&diagnostics)) else {
            bail!("the policy is refused:\n{}", listed(&diagnostics));
        };
        let (image, diagnostics) = compile(
            &parsed,
            text,
            &self.location,
            Instant::now(),
            &FrameSettings::default(),
        );
        let Some(image) = image else {
            bail!("the policy does not compile:\n{}", listed(&diagnostics));
        };
        Ok(Expectations {
            image,
            failsafe: self.failsafe.clone(),
        })
    }
}

impl Expectations {
    /// The verdict on an address now.
    pub fn verdict(&self, address: IpAddr) -> Verdict {
        self.image.verdict(&Query {
            heading: Heading::default(),
            address,
            now: Instant::now(),
            failsafe: &self.failsafe,
            runtime: &[],
        })
    }

    /// What a probe from an address must meet now.
    pub fn outcome(&self, address: IpAddr) -> Outcome {
        match self.verdict(address).fate() {
            Fate::Passed => Outcome::Passed,
            _ => Outcome::Blocked,
        }
    }

    /// Name of the class of an address.
    pub fn class(&self, address: IpAddr) -> &str {
        self.image
            .location
            .classes
            .name(geo::location_of(&self.image.location, address))
    }

    /// The orders of the policy: (id, authority).
    pub fn orders(&self) -> Vec<(&str, &str)> {
        let orders = self.image.orders.iter();
        orders
            .map(|order| (order.id.as_str(), order.authority.as_str()))
            .collect()
    }
}

fn listed(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
