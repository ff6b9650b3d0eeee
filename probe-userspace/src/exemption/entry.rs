//! One exemption: as it is written, and checked.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Lift, Orders,
    limits::{
        MAX_NAME_CHARS, MAX_ORDERS, MAX_REASON_CHARS, MAX_SERVICES, MIN_PREFIX_LEN_V4, MIN_PREFIX_LEN_V6,
    },
};
use crate::{
    instant::Instant,
    policy::{limits::MAX_ID_CHARS, parse_prefix},
};

/// An exemption in its text form: what the control API takes and tells, and a line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Whom it is for: address, slash, length.
    pub prefix: String,
    /// Number of the customer or case. With the prefix it names the exemption.
    pub reference: String,
    /// Why.
    pub reason: String,
    /// Who approved it.
    pub approver: String,
    /// End (exclusive), RFC 3339 with offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The end as seconds from now; instead of `until`, and not in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
    /// Ids of the orders it lifts; absent: all orders, and the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<Vec<String>>,
    /// Names of the services it is for; absent: whatever a packet is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<String>>,
    /// The prefix may be shorter than /24 or /48.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wide: bool,
    /// When it was granted; told, and not taken from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<String>,
    /// Who granted it on this host; told, and not taken from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// An exemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// Whom it is for; host bits zero.
    pub prefix: IpNet,
    /// Number of the customer or case.
    pub reference: String,
    /// Why.
    pub reason: String,
    /// Who approved it.
    pub approver: String,
    /// End (exclusive).
    pub until: Instant,
    /// The orders it lifts; `None`: all, and the defaults.
    pub orders: Option<BTreeSet<String>>,
    /// The services it is for; `None`: all packets.
    pub services: Option<BTreeSet<String>>,
    /// When it was granted.
    pub granted: Instant,
    /// Who granted it on this host.
    pub by: String,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field.
    pub field: &'static str,
    /// Its value as written.
    pub value: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

impl Fault {
    pub(super) fn new(
        field: &'static str,
        value: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            field,
            value: value.into(),
            message: message.into(),
            fix: fix.into(),
        }
    }
}

impl Exemption {
    /// Checks an exemption that somebody grants now. One that is over already is fine here.
    pub fn new(written: Written, now: Instant, by: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let prefix = fault_or(&mut faults, prefix(&written.prefix, written.wide));
        let until = fault_or(&mut faults, end(written.until.as_deref(), written.for_s, now));
        let fix = "write who or what it stands for";
        for (field, value, max) in [
            ("reference", &written.reference, MAX_NAME_CHARS),
            ("reason", &written.reason, MAX_REASON_CHARS),
            ("approver", &written.approver, MAX_NAME_CHARS),
        ] {
            fault_or(&mut faults, text(field, value, max, fix));
        }
        let orders = fault_or(&mut faults, names("orders", written.orders, MAX_ORDERS));
        let services = fault_or(&mut faults, names("services", written.services, MAX_SERVICES));
        match (prefix, until, orders, services) {
            (Some(prefix), Some(until), Some(orders), Some(services)) if faults.is_empty() => Ok(Self {
                prefix,
                reference: written.reference,
                reason: written.reason,
                approver: written.approver,
                until,
                orders,
                services,
                granted: now,
                by: by.to_owned(),
            }),
            _ => Err(faults),
        }
    }

    /// An exemption that cordon itself wrote.
    pub(super) fn stored(written: Written) -> Result<Self, Vec<Fault>> {
        let granted = fault_or(&mut Vec::new(), end(written.granted.as_deref(), None, Instant(0)));
        let by = written.by.clone().unwrap_or_default();
        Self::new(written, granted.unwrap_or(Instant(0)), &by)
    }

    /// The text form.
    pub fn written(&self) -> Written {
        let names = |names: &Option<BTreeSet<String>>| Some(names.as_ref()?.iter().cloned().collect());
        Written {
            prefix: self.prefix.to_string(),
            reference: self.reference.clone(),
            reason: self.reason.clone(),
            approver: self.approver.clone(),
            until: Some(self.until.to_string()),
            for_s: None,
            orders: names(&self.orders),
            services: names(&self.services),
            wide: is_wide(&self.prefix),
            granted: Some(self.granted.to_string()),
            by: Some(self.by.clone()),
        }
    }

    /// The end of an exemption, from one of its two forms.
    pub fn end(until: Option<&str>, for_s: Option<u64>, now: Instant) -> Result<Instant, Fault> {
        end(until, for_s, now)
    }

    /// What it lifts.
    pub fn lift(&self) -> Lift {
        let orders = match &self.orders {
            None => Orders::All,
            Some(ids) => Orders::These(ids.clone()),
        };
        Lift::new(orders, self.services.as_ref())
    }

    /// Whether the other one grants the same, to the same, for as long.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        *self
            == Self {
                granted: self.granted,
                by: self.by.clone(),
                ..other.clone()
            }
    }
}

fn end(until: Option<&str>, for_s: Option<u64>, now: Instant) -> Result<Instant, Fault> {
    const FORM: &str = "write an instant with its offset, such as 2027-01-31T00:00:00Z";
    match (until, for_s) {
        (Some(until), None) => Instant::parse(until).map_err(|error| Fault::new("until", until, error, FORM)),
        (None, Some(for_s)) => {
            let end = u32::try_from(u64::from(now.0).saturating_add(for_s));
            match end {
                Ok(end) if for_s > 0 && end != u32::MAX => Ok(Instant(end)),
                _ => Err(Fault::new(
                    "for_s",
                    for_s.to_string(),
                    "an exemption lasts at least a second and ends before 2106",
                    "write a shorter or longer time",
                )),
            }
        }
        (None, None) => Err(Fault::new("until", "", "an exemption has an end", FORM)),
        (Some(until), Some(_)) => Err(Fault::new(
            "until",
            until,
            "both an instant and a time from now",
            "keep one of them",
        )),
    }
}

fn prefix(written: &str, wide: bool) -> Result<IpNet, Fault> {
    let prefix =
        parse_prefix(written).map_err(|(message, fix)| Fault::new("prefix", written, message, fix))?;
    if is_wide(&prefix) && !wide {
        return Err(Fault::new(
            "prefix",
            written,
            format!("wider than /{MIN_PREFIX_LEN_V4} (IPv4) or /{MIN_PREFIX_LEN_V6} (IPv6)"),
            "write the customer's own prefix; if it is as wide as this, say so: --wide, in a file \"wide\": true",
        ));
    }
    Ok(prefix)
}

fn is_wide(prefix: &IpNet) -> bool {
    let min = match prefix {
        IpNet::V4(_) => MIN_PREFIX_LEN_V4,
        IpNet::V6(_) => MIN_PREFIX_LEN_V6,
    };
    prefix.prefix_len() < min
}

fn text(field: &'static str, value: &str, max: usize, fix: &str) -> Result<(), Fault> {
    if value.trim().is_empty() {
        return Err(Fault::new(field, value, format!("{field} is empty"), fix));
    }
    if value.chars().count() > max {
        let start: String = value.chars().take(40).collect();
        return Err(Fault::new(
            field,
            format!("{start}..."),
            format!("longer than {max} characters"),
            "shorten it",
        ));
    }
    if value.contains(char::is_control) {
        return Err(Fault::new(
            field,
            value.escape_debug().to_string(),
            "line breaks and other control characters cannot be shown in a list",
            "leave them out",
        ));
    }
    Ok(())
}

fn names(
    field: &'static str,
    names: Option<Vec<String>>,
    max: usize,
) -> Result<Option<BTreeSet<String>>, Fault> {
    let Some(names) = names else {
        return Ok(None);
    };
    if names.is_empty() {
        return Err(Fault::new(
            field,
            "[]",
            "an empty list lifts nothing",
            format!("name some, or leave `{field}` out for all"),
        ));
    }
    for name in &names {
        text(
            field,
            name,
            MAX_ID_CHARS,
            "write a name that the policy has, or leave it out",
        )?;
    }
    let n_names = names.len();
    let names: BTreeSet<String> = names.into_iter().collect();
    if names.len() > max || names.len() < n_names {
        return Err(Fault::new(
            field,
            n_names.to_string(),
            format!("at most {max}, each once"),
            "leave some out",
        ));
    }
    Ok(Some(names))
}

fn fault_or<T>(faults: &mut Vec<Fault>, result: Result<T, Fault>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}
