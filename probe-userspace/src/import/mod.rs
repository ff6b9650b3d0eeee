//! Sets of other tools as a prefix list with a first policy around it. Pure: text in, text out.

mod ipset;
mod nft;
mod nft_json;
mod policy;
mod spans;
mod xdp_filter;

use ipnet::IpNet;

pub use self::{
    policy::{list_text, policy_text},
    spans::Spans,
};
use crate::diagnostic::{Diagnostic, Place};

/// Where a set comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// `nft list ruleset`, `nft list set ...`, or the same with `nft -j`
    Nft,
    /// `ipset save`
    Ipset,
    /// `xdp-filter status`
    XdpFilter,
}

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Its name, as the tool knows it.
    pub name: String,
    /// Its addresses.
    pub spans: Spans,
    /// Whether some of its elements have an end, which a list has not.
    pub has_timeouts: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Sets of addresses, in the order of the file; empty ones too.
    pub sets: Vec<Set>,
    /// What is wrong, and what was left out.
    pub remarks: Vec<Diagnostic>,
}

impl Imported {
    /// All addresses, as the fewest prefixes that cover just these, ascending.
    pub fn prefixes(&self) -> Vec<IpNet> {
        let mut all = Spans::default();
        for set in &self.sets {
            all.add_all(&set.spans);
        }
        all.prefixes()
    }
}

/// Reads what a tool printed. `only`: the one set that is wanted.
pub fn read(tool: Tool, file: &str, text: &str, only: Option<&str>) -> Imported {
    let mut imported = match tool {
        Tool::Nft if text.trim_start().starts_with('{') => nft_json::read(file, text, only),
        Tool::Nft => nft::read(file, text, only),
        Tool::Ipset => ipset::read(file, text, only),
        Tool::XdpFilter => xdp_filter::read(file, text),
    };
    for set in &imported.sets {
        if set.has_timeouts {
            imported.remarks.push(Diagnostic::warning(
                Place::file(file),
                &set.name,
                "some elements of this set end by themselves; in the list they stay",
                "give what should end an `until`, or `cordon exempt` and `[[deny]]` entries of their own",
            ));
        }
    }
    imported
}

/// The place of a line, from 1, and of a value in it.
fn place(file: &str, line_no: usize, line: &str, value: &str) -> Place {
    let column = line.find(value).map_or(0, |at| line[..at].chars().count());
    Place {
        file: file.to_owned(),
        line: line_no as u32,
        column: column as u32 + 1,
    }
}

fn unreadable(place: Place, value: &str, why: &str) -> Diagnostic {
    Diagnostic::error(
        place,
        value,
        format!("this is no address, prefix or interval ({why})"),
        "give the file as the tool printed it",
    )
}
