//! Country codes.

/// A country code that policies and databases may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Country {
    /// Two capital letters.
    pub code: String,
    /// English short name.
    pub name: String,
    /// The code that this one stands for (UK is an alias of GB).
    pub alias_of: Option<String>,
}

/// All countries, sorted by code.
pub fn countries() -> &'static [Country] {
    &[]
}

/// The country of a code.
pub fn find_country(_code: &str) -> Option<&'static Country> {
    None
}
