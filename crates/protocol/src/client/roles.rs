//! The role that a session has chosen.

use std::fmt;
use std::str::FromStr;

/// What `SET ROLE` chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectedRole {
    /// `SET ROLE ALL`
    All,
    /// `SET ROLE NONE`
    None,
    /// `SET ROLE name`
    Role(String),
}

impl fmt::Display for SelectedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SelectedRole::All => f.write_str("ALL"),
            SelectedRole::None => f.write_str("NONE"),
            SelectedRole::Role(name) => write!(f, "ROLE{{{name}}}"),
        }
    }
}

/// The text is not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseRoleError;

impl FromStr for SelectedRole {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        match text {
            "ALL" => Ok(SelectedRole::All),
            "NONE" => Ok(SelectedRole::None),
            _ => {
                let name = text.strip_prefix("ROLE{").and_then(|rest| rest.strip_suffix('}'));
                let name = name.filter(|name| !name.is_empty()).ok_or(ParseRoleError)?;
                Ok(SelectedRole::Role(name.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_round_trip() {
        for text in ["ALL", "NONE", "ROLE{admin}", "ROLE{a}b}"] {
            assert_eq!(text.parse::<SelectedRole>().map(|role| role.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", "admin", "ROLE", "ROLE{}", "ROLE{a", "all"] {
            assert!(bad.parse::<SelectedRole>().is_err(), "{bad}");
        }
    }
}
