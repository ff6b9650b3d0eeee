//! Settings that are one word of several.

/// What to do if an interface's driver has no native XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModeChoice {
    /// Native if the driver has it, else skb; the state says which.
    #[default]
    AllowSkb,
    /// Refuse to attach.
    RequireNative,
    /// Always skb.
    Skb,
}

/// What is done about what somebody else changes in the kernel. It is recorded and shown in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tampering {
    /// It is put back.
    #[default]
    Repair,
    /// It is left.
    Report,
}

/// The kernel's hook for leaving packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EgressHook {
    /// tcx where the kernel has it (Linux 6.6), else clsact.
    #[default]
    Auto,
    /// A tcx link: pinned like XDP links.
    Tcx,
    /// A classifier on the clsact qdisc.
    Clsact,
}

/// How addresses are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The index, unless a table is very small, or too large for it.
    #[default]
    Auto,
    /// Tables made for look-ups.
    Index,
    /// The kernel's longest-prefix-match tries.
    Lpm,
}

/// Order of the country fields of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldChoice {
    /// `country`, then `registered_country`: where the address is used.
    #[default]
    CountryFirst,
    /// `registered_country`, then `country`: where its holder is registered.
    RegisteredFirst,
}

pub(super) const FIELDS: &[(&str, FieldChoice)] = &[
    ("country", FieldChoice::CountryFirst),
    ("registered_country", FieldChoice::RegisteredFirst),
];

pub(super) const MODES: &[(&str, ModeChoice)] = &[
    ("allow-skb", ModeChoice::AllowSkb),
    ("require-native", ModeChoice::RequireNative),
    ("skb", ModeChoice::Skb),
];

pub(super) const MODE_SYNONYMS: &[(&str, &str)] = &[
    ("generic", "skb"),
    ("native", "require-native"),
    ("drv", "require-native"),
    ("driver", "require-native"),
    ("auto", "allow-skb"),
];

pub(super) const EGRESS_HOOKS: &[(&str, EgressHook)] = &[
    ("auto", EgressHook::Auto),
    ("tcx", EgressHook::Tcx),
    ("clsact", EgressHook::Clsact),
];

pub(super) const EGRESS_SYNONYMS: &[(&str, &str)] =
    &[("tc", "clsact"), ("netlink", "clsact"), ("link", "tcx")];

pub(super) const ENGINES: &[(&str, EngineChoice)] = &[
    ("auto", EngineChoice::Auto),
    ("index", EngineChoice::Index),
    ("lpm", EngineChoice::Lpm),
];

pub(super) const ENGINE_SYNONYMS: &[(&str, &str)] = &[("trie", "lpm"), ("lpm-trie", "lpm"), ("dxr", "index")];

pub(super) const TAMPERING: &[(&str, Tampering)] =
    &[("repair", Tampering::Repair), ("report", Tampering::Report)];

/// `true`: what is meant passes.
pub(super) const PASS_OR_DROP: &[(&str, bool)] = &[("pass", true), ("drop", false)];
pub(super) const DROP_OR_PASS: &[(&str, bool)] = &[("drop", false), ("pass", true)];
