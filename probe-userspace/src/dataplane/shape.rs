//! Image to sizes and constants: what a generation is loaded with before its maps are filled.

use aya::Pod;
use probe_common::{
    Decision, Nat64, Nat64Prefixes,
    limits::{MAX_INTERFACES, MAX_NAT64, MAX_PREFIXES, MAX_TIERS},
    map_name::{self, global},
    n_counters, need, profile,
};

use super::{DataplaneError, location::LocationTables};
use crate::compile::Image;

const MAX_CLASSES: u32 = 1 << 16;
const MAX_CELLS: u32 = 1 << 22;
const MAX_STAGE_SETS: u32 = 1 << 16;
/// Sets of services that rows exist for: more than one set may lead to a row.
const MAX_SERVICE_SETS: u32 = 1 << 16;
const NS_PER_S: u64 = 1_000_000_000;

/// Sizes and constants of a generation.
pub struct Shape {
    /// Map and number of its entries; 0 for one that stays empty.
    pub sizes: Vec<(&'static str, u32)>,
    /// Constant and the bytes of its value.
    pub constants: Vec<(&'static str, Vec<u8>)>,
    /// See [`need`].
    pub needs: u32,
}

impl Shape {
    /// The shape of an image; fails if it is too large for the maps.
    pub fn of(image: &Image, tables: &LocationTables) -> Result<Self, DataplaneError> {
        let mut constants = constants(image)?;
        constants.push((global::INDEXED, bytes(tables.indexed())));
        Ok(Self {
            sizes: sizes(image, tables)?,
            constants,
            needs: needs(image),
        })
    }
}

fn sizes(
    image: &Image,
    location_tables: &LocationTables,
) -> Result<Vec<(&'static str, u32)>, DataplaneError> {
    let size = |what: &'static str, n: usize, limit: u32| match u32::try_from(n) {
        Ok(size) if size <= limit => Ok(size),
        _ => Err(DataplaneError::TooMany { what, n, limit }),
    };
    let location = &image.location;
    let scopes = &image.scopes;
    let n_overrides_v4 = n_v4(image.overrides.iter().map(|entry| entry.prefix));
    let n_overrides_v6 = image.overrides.len() - n_overrides_v4;
    let n_destinations_v4 = n_v4(scopes.destinations.iter().map(|(prefix, _)| *prefix));
    let n_destinations_v6 = scopes.destinations.len() - n_destinations_v4;
    let n_tiers = MAX_TIERS as u32 + 1;
    let n_classes = size("the class table", location.classes.len(), MAX_CLASSES)?;
    let tables = [
        (
            map_name::MATRIX,
            "the verdict matrix",
            image.matrix.cells.len(),
            MAX_CELLS,
        ),
        (
            map_name::STAGES,
            "the stage table",
            image.stages.len(),
            MAX_STAGE_SETS,
        ),
        (
            map_name::OVERRIDES_V4,
            "the IPv4 override table",
            n_overrides_v4,
            MAX_PREFIXES,
        ),
        (
            map_name::OVERRIDES_V6,
            "the IPv6 override table",
            n_overrides_v6,
            MAX_PREFIXES,
        ),
        (map_name::TIERS, "the list of tiers", image.tiers.len(), n_tiers),
        (
            map_name::SCOPE_INTERFACE,
            "the services' interfaces",
            scopes.interfaces.len(),
            MAX_INTERFACES,
        ),
        (
            map_name::SCOPE_VLAN,
            "the services' VLANs",
            scopes.vlans.len(),
            u32::MAX,
        ),
        (
            map_name::SCOPE_V4,
            "the services' IPv4 destinations",
            n_destinations_v4,
            MAX_PREFIXES,
        ),
        (
            map_name::SCOPE_V6,
            "the services' IPv6 destinations",
            n_destinations_v6,
            MAX_PREFIXES,
        ),
        (
            map_name::SCOPE_PROTOCOL,
            "the services' protocols",
            scopes.protocols.len(),
            u32::MAX,
        ),
        (
            map_name::SCOPE_PORT,
            "the services' ports",
            scopes.ports.len(),
            u32::MAX,
        ),
        (
            map_name::SCOPE_ROWS,
            "the sets of services",
            scopes.rows.len(),
            MAX_SERVICE_SETS,
        ),
    ];
    let mut sizes = vec![(map_name::COUNTERS, n_counters(n_classes))];
    for (name, what, n) in location_tables.sizes(location) {
        sizes.push((name, size(what, n, MAX_PREFIXES)?));
    }
    for (name, what, n, limit) in tables {
        sizes.push((name, size(what, n, limit)?));
    }
    Ok(sizes)
}

fn constants(image: &Image) -> Result<Vec<(&'static str, Vec<u8>)>, DataplaneError> {
    let frame = &image.frame;
    let scopes = &image.scopes;
    let has_denies = image
        .overrides
        .iter()
        .any(|entry| entry.value.profile == profile::DENY);
    let actions = decisions(image).fold(0, |actions, decision| actions | 1 << decision.action_code());
    let events = image.events;
    let event_cost_ns = events.map_or(0, |events| NS_PER_S / u64::from(events.per_second.max(1)));
    let [bits_v4, bits_v6] = events.map_or([0; 2], |events| events.source_bits);
    let n_nat64 = frame.nat64_prefixes.len();

    let words = [
        (global::N_CLASSES, image.matrix.n_classes as u32),
        (global::N_PROFILES, image.matrix.n_profiles as u32),
        (global::HAS_DENIES, has_denies.into()),
        (global::HAS_OVERRIDES, (!image.overrides.is_empty()).into()),
        (global::HAS_STAGES, (!image.stages.is_empty()).into()),
        (global::ACTIONS, actions),
        (global::SCOPE_DIMENSIONS, scopes.dimensions),
        (global::REPLIES, image.replies.into()),
        (global::EVENTS_DROPS, events.map_or(0, |events| events.drops)),
        (global::EVENTS_PASSES, events.map_or(0, |events| events.passes)),
        (global::EVENT_BITS_V4, bits_v4.into()),
        (global::EVENT_BITS_V6, bits_v6.into()),
        (global::ICMP_ERRORS, frame.icmp_error_pass.into()),
        (global::INSPECT_INNER, frame.inspect_inner.into()),
        (global::MARTIANS, frame.martians_drop.into()),
        (global::N_NAT64, n_nat64 as u32),
    ];
    let long_words = [
        (global::SCOPE_ANY_INTERFACE, scopes.any_interface),
        (global::SCOPE_ANY_DESTINATION, scopes.any_destination),
        (global::EVENT_COST_NS, event_cost_ns),
    ];
    let mut constants = vec![
        (global::NAT64_PREFIXES, bytes(nat64(image)?)),
        (global::RUNTIME_PROFILES, image.runtime_profiles.to_vec()),
    ];
    constants.extend(words.map(|(name, value)| (name, bytes(value))));
    constants.extend(long_words.map(|(name, value)| (name, bytes(value))));
    Ok(constants)
}

/// The NAT64 prefixes, longest first: the program takes the first that matches.
fn nat64(image: &Image) -> Result<Nat64Prefixes, DataplaneError> {
    let mut configured = image.frame.nat64_prefixes.clone();
    configured.sort_by_key(|prefix| std::cmp::Reverse(prefix.prefix_len()));
    let n = configured.len();
    if n > MAX_NAT64 {
        return Err(DataplaneError::TooMany {
            what: "the list of NAT64 prefixes",
            n,
            limit: MAX_NAT64 as u32,
        });
    }
    let mut nat64 = Nat64Prefixes::default();
    for (place, prefix) in nat64.prefixes.iter_mut().zip(configured) {
        *place = Nat64 {
            prefix: prefix.network().octets(),
            len: prefix.prefix_len(),
        };
    }
    Ok(nat64)
}

fn needs(image: &Image) -> u32 {
    let bit = |is_needed: bool, need: u32| if is_needed { need } else { 0 };
    bit(image.replies, need::REPLIES)
        | bit(decisions(image).any(Decision::is_both), need::BOTH)
        | bit(!image.redirects.is_empty(), need::REDIRECTS)
}

/// Every decision that a cell may come to.
fn decisions(image: &Image) -> impl Iterator<Item = Decision> {
    let fixed = image
        .matrix
        .cells
        .iter()
        .filter(|cell| cell.stages_idx().is_none());
    let staged = image.stages.iter().flat_map(|stages| stages.decision);
    fixed
        .map(|cell| cell.fixed_decision())
        .chain(staged.map(Decision))
}

fn n_v4(prefixes: impl Iterator<Item = ipnet::IpNet>) -> usize {
    prefixes.filter(|prefix| prefix.addr().is_ipv4()).count()
}

fn bytes<T: Pod>(value: T) -> Vec<u8> {
    super::sys::bytes_of(&value).to_vec()
}
