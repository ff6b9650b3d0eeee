//! `[[access]]`: who may do what over the control socket.

use std::fmt;

use serde::{Deserialize, Serialize};
use toml::de::DeValue;

use crate::policy::{
    Located,
    document::Document,
    table::{Item, Key, Shape, Table, wrong_type},
    value::{choice, list, possibly_empty_list},
};

/// Most `[[access]]` tables, and most users or groups of one.
const MAX_ENTRIES: usize = 64;
/// Longest name of a user or group (`LOGIN_NAME_MAX`).
const MAX_NAME_BYTES: usize = 256;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Ask: status, explain, locate, events.
    Read,
    /// Apply, push and confirm policies, roll back, end a halt.
    Apply,
    /// Make, renew and take away exemptions.
    Exempt,
    /// Halt.
    Halt,
    /// Lift orders.
    Lift,
    /// Trusted keys.
    Keys,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Apply,
        Self::Exempt,
        Self::Halt,
        Self::Lift,
        Self::Keys,
    ];

    /// As the host file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Apply => "apply",
            Self::Exempt => "exempt",
            Self::Halt => "halt",
            Self::Lift => "lift",
            Self::Keys => "keys",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// By its number.
    Id(u32),
    /// By its name.
    Name(String),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One `[[access]]`.
#[derive(Clone, Debug)]
pub struct Access {
    /// `roles`.
    pub roles: Vec<Role>,
    /// `users`.
    pub users: Vec<Located<Principal>>,
    /// `groups`.
    pub groups: Vec<Located<Principal>>,
}

const ACCESS: Shape = Shape {
    label: "[[access]]",
    keys: &[
        Key::mandatory(
            "roles",
            "it says what they may do",
            "add `roles = [\"read\"]`; there are `read`, `apply`, `exempt`, `halt`, `lift`, `keys`",
        ),
        Key::optional("users"),
        Key::optional("groups"),
    ],
    elsewhere: &[
        ("role", "write `roles = [...]`"),
        ("user", "write `users = [...]`"),
        ("group", "write `groups = [...]`"),
        ("uid", "write `users = [...]`: numbers are taken too"),
        ("gid", "write `groups = [...]`: numbers are taken too"),
    ],
};

const ROLES: &[(&str, Role)] = &[
    ("read", Role::Read),
    ("apply", Role::Apply),
    ("exempt", Role::Exempt),
    ("halt", Role::Halt),
    ("lift", Role::Lift),
    ("keys", Role::Keys),
];

/// `[[access]]` tables.
pub(super) fn access<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Vec<Access> {
    let mut found = Vec::new();
    for item in root.tables(document, "access", "[[access]]", MAX_ENTRIES) {
        let Some(table) = Table::open(document, item, &ACCESS) else {
            continue;
        };
        if table.get("users").is_none() && table.get("groups").is_none() {
            document.error(
                item.node,
                "an `[[access]]` without `users` and `groups` is for nobody",
                "add `users = [\"...\"]` or `groups = [\"...\"]`",
            );
        }
        let roles = table.read(document, "roles", roles).unwrap_or_default();
        let users = table.read(document, "users", principals).unwrap_or_default();
        let groups = table.read(document, "groups", principals).unwrap_or_default();
        found.push(Access { roles, users, groups });
    }
    found
}

fn roles<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<Role>> {
    let mut roles = Vec::new();
    for element in list(document, item, "\"read\"")? {
        if let Some(role) = choice(
            document,
            element,
            ROLES,
            &[("key", "keys"), ("exemption", "exempt")],
        ) && !roles.contains(&role)
        {
            roles.push(role);
        }
    }
    Some(roles)
}

fn principals<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<Located<Principal>>> {
    let elements = possibly_empty_list(document, item, "\"portal\"")?;
    if let Some(element) = elements.get(MAX_ENTRIES) {
        let message = format!("more than {MAX_ENTRIES} of them");
        document.error(element.node, message, "make a group of them");
        return None;
    }
    let found = elements.into_iter().filter_map(|element| {
        let value = principal(document, element)?;
        Some(Located {
            value,
            place: document.place(element.node),
        })
    });
    Some(found.collect())
}

fn principal(document: &mut Document<'_>, item: Item<'_>) -> Option<Principal> {
    match item.node.get_ref() {
        DeValue::Integer(value) => match u32::from_str_radix(value.as_str(), value.radix()) {
            // The last number means "no change" to the kernel.
            Ok(id) if id != u32::MAX => Some(Principal::Id(id)),
            _ => {
                document.error(item.node, "no user or group has this number", "write its name");
                None
            }
        },
        DeValue::String(name) => {
            let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ':' | '/' | ',');
            if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_plain) {
                document.error(
                    item.node,
                    "no user or group can have this name",
                    "write a name of `getent passwd` or `getent group`, or a number",
                );
                return None;
            }
            Some(Principal::Name(name.to_string()))
        }
        _ => {
            wrong_type(
                document,
                item,
                "a name or a number",
                "write it like `\"portal\"` or `1000`",
            );
            None
        }
    }
}
