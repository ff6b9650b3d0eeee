//! Named country groups that ship with cordon.

/// A named group of countries.
#[derive(Clone, Debug)]
pub struct BuiltInGroup {
    /// Name, as policies write it.
    pub name: &'static str,
}

/// The groups that ship with cordon.
pub const BUILT_IN_GROUPS: &[BuiltInGroup] = &[];
