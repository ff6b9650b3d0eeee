//! What an address is exempt from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

/// Orders that are lifted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orders {
    /// All of them, and the defaults.
    All,
    /// Those with these ids.
    These(BTreeSet<String>),
}

/// What is lifted: some orders for every packet, and more for packets to some services.
///
/// There is one form for each meaning: a service is told only what is not lifted everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lift {
    /// Lifted whatever the packet is for.
    everywhere: Orders,
    /// Lifted besides, by the name of the service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    by_service: BTreeMap<String, Orders>,
}

impl Orders {
    const NONE: Self = Self::These(BTreeSet::new());

    fn is_none(&self) -> bool {
        matches!(self, Self::These(ids) if ids.is_empty())
    }

    /// Both together.
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::These(a), Self::These(b)) => Self::These(a | b),
            (Self::All, _) | (_, Self::All) => Self::All,
        }
    }

    fn without(&self, other: &Self) -> Self {
        match (self, other) {
            (_, Self::All) => Self::NONE,
            (Self::All, Self::These(_)) => Self::All,
            (Self::These(a), Self::These(b)) => Self::These(a - b),
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => true,
            (Self::All, Self::These(_)) => false,
            (Self::These(a), Self::These(b)) => a.is_subset(b),
        }
    }

    /// A number that is larger the more is lifted.
    fn weight(&self) -> usize {
        match self {
            Self::All => 1 << 20,
            Self::These(ids) => ids.len(),
        }
    }
}

impl Lift {
    /// Nothing.
    pub const NOTHING: Self = Self {
        everywhere: Orders::NONE,
        by_service: BTreeMap::new(),
    };
    /// Everything, for every packet.
    pub const ALL: Self = Self {
        everywhere: Orders::All,
        by_service: BTreeMap::new(),
    };

    /// These orders for packets to these services; `None`: whatever they are for.
    pub fn new(orders: Orders, services: Option<&BTreeSet<String>>) -> Self {
        match services {
            None => Self {
                everywhere: orders,
                by_service: BTreeMap::new(),
            },
            Some(services) => {
                let of_service = services.iter().map(|service| (service.clone(), orders.clone()));
                Self {
                    everywhere: Orders::NONE,
                    by_service: of_service.collect(),
                }
                .normal()
            }
        }
    }

    /// One order, for every packet.
    pub fn order(id: &str) -> Self {
        Self::new(Orders::These(BTreeSet::from([id.to_owned()])), None)
    }

    /// What is lifted for every packet.
    pub fn everywhere(&self) -> &Orders {
        &self.everywhere
    }

    /// What is lifted besides for packets to a service.
    pub fn by_service(&self) -> &BTreeMap<String, Orders> {
        &self.by_service
    }

    /// Both together: what somebody may to whom both were granted.
    pub fn union(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        let mut by_service = self.by_service.clone();
        for (service, orders) in &other.by_service {
            let known = by_service.entry(service.clone()).or_insert(Orders::NONE);
            *known = known.union(orders);
        }
        Self {
            everywhere: self.everywhere.union(&other.everywhere),
            by_service,
        }
        .normal()
    }

    /// Whether the other one lifts all that this one lifts.
    pub fn is_within(&self, other: &Self) -> bool {
        self.everywhere.is_within(&other.everywhere)
            && self.by_service.iter().all(|(service, orders)| {
                let left = orders.without(&other.everywhere);
                match other.by_service.get(service) {
                    Some(of_service) => left.is_within(of_service),
                    None => left.is_none(),
                }
            })
    }

    /// A number that is larger the more is lifted: of two lifts, one within the other, the outer has the larger one.
    pub fn weight(&self) -> usize {
        // What is lifted everywhere counts more than the same for every service that can be named.
        let of_services: usize = self.by_service.values().map(Orders::weight).sum();
        self.everywhere.weight() * (1 << 30) + of_services
    }

    fn normal(mut self) -> Self {
        let everywhere = &self.everywhere;
        self.by_service.retain(|_, orders| {
            *orders = orders.without(everywhere);
            !orders.is_none()
        });
        self
    }
}

impl fmt::Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all orders"),
            Self::These(ids) if ids.is_empty() => f.write_str("nothing"),
            Self::These(ids) => f.write_str(&ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl fmt::Display for Lift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_service.is_empty() {
            return write!(f, "{}", self.everywhere);
        }
        let mut parts = Vec::new();
        if !self.everywhere.is_none() {
            parts.push(self.everywhere.to_string());
        }
        let of_service = |(service, orders)| format!("{orders} for {service}");
        parts.extend(self.by_service.iter().map(of_service));
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn lift(orders: &[&str], services: &[&str]) -> Lift {
        let services = set(services);
        Lift::new(
            Orders::These(set(orders)),
            (!services.is_empty()).then_some(&services),
        )
    }

    #[test]
    fn equal_meanings_have_one_form() {
        let a_for_web = lift(&["a"], &["web"]);
        assert_eq!(a_for_web.union(&lift(&["a"], &[])), lift(&["a"], &[]));
        assert_eq!(Lift::ALL.union(&a_for_web), Lift::ALL);
        assert_eq!(
            lift(&["a", "b"], &["web"]).union(&lift(&["b"], &[])),
            lift(&["b"], &[]).union(&a_for_web)
        );
        assert_eq!(Lift::new(Orders::NONE, Some(&set(&["web"]))), Lift::NOTHING);
        let all_for_web = Lift::new(Orders::All, Some(&set(&["web"])));
        assert_eq!(
            all_for_web.union(&lift(&["a"], &[])).to_string(),
            "a; all orders for web"
        );
    }

    #[test]
    fn what_is_within_what() {
        let a = lift(&["a"], &[]);
        let a_for_web = lift(&["a"], &["web"]);
        let all_for_web = Lift::new(Orders::All, Some(&set(&["web"])));
        for (inner, outer) in [
            (&Lift::NOTHING, &a_for_web),
            (&a_for_web, &a),
            (&a_for_web, &all_for_web),
            (&a, &Lift::ALL),
            (&all_for_web, &Lift::ALL),
        ] {
            assert!(
                inner.is_within(outer) && !outer.is_within(inner),
                "{inner} in {outer}"
            );
            assert!(inner.weight() < outer.weight(), "{inner} in {outer}");
        }
        assert!(!a.is_within(&all_for_web) && !all_for_web.is_within(&a));
        let both = a.union(&all_for_web);
        assert!(all_for_web.is_within(&both) && a.is_within(&both));
    }
}
