//! The properties of a catalog, as its connector defines them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use base::{Error, ErrorCode, Result};

/// The property that says which connector serves a catalog. Every connector accepts it.
pub const CONNECTOR_NAME: &str = "connector.name";

/// A name farther from a known one than this many edits is not worth suggesting.
const SUGGESTION_MAX_EDITS: usize = 4;

/// A catalog property that a connector knows, as data for validation and documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PropertyDefinition {
    /// The name, as it stands in the catalog's file.
    pub name: &'static str,
    /// What values look like, in words: `boolean`, `integer`, `SIMPLIFIED or STANDARD`.
    pub value_type: &'static str,
    /// The value that holds when none is given, as text. None: there is no such value.
    pub default: Option<&'static str>,
    /// What it does, in a sentence.
    pub description: &'static str,
}

/// The properties of one catalog, with names checked against what its connector knows.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    catalog: &'a str,
    values: &'a BTreeMap<String, String>,
    definitions: &'static [PropertyDefinition],
}

impl<'a> Properties<'a> {
    /// Checks every name. An unknown one is CONFIGURATION_INVALID; the text names it and the nearest known one.
    pub fn check(
        catalog: &'a str,
        values: &'a BTreeMap<String, String>,
        definitions: &'static [PropertyDefinition],
    ) -> Result<Self> {
        let known = || definitions.iter().map(|definition| definition.name).chain([CONNECTOR_NAME]);
        for name in values.keys() {
            if !known().any(|known| known == name) {
                let hint = match nearest_name(name, known()) {
                    Some(nearest) => format!(". Did you mean '{nearest}'?"),
                    None => String::new(),
                };
                let text = format!("Catalog '{catalog}': unknown property '{name}'{hint}");
                return Err(Error::new(ErrorCode::CONFIGURATION_INVALID, text));
            }
        }
        Ok(Properties { catalog, values, definitions })
    }

    /// The value given, or else the default, without blanks around it.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let default = || self.definitions.iter().find(|definition| definition.name == name)?.default;
        self.values.get(name).map(String::as_str).or_else(default).map(str::trim)
    }

    /// The value given, or else the default, or else CONFIGURATION_INVALID.
    pub fn require(&self, name: &str) -> Result<&'a str> {
        self.get(name).ok_or_else(|| {
            let text = format!("Catalog '{}': property '{name}' is required", self.catalog);
            Error::new(ErrorCode::CONFIGURATION_INVALID, text)
        })
    }

    /// The value as a number, boolean or other type that is read from text.
    pub fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        let parsed = self.get(name).map(str::parse).transpose();
        parsed.map_err(|error: T::Err| self.invalid(name, error))
    }

    /// The choice whose name the value is, in upper or lower case.
    pub fn choose<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(value)) {
            Some((_, chosen)) => Ok(Some(*chosen)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
                Err(self.invalid(name, format!("must be one of {}", names.join(", "))))
            }
        }
    }

    /// The error of a value that is not right. The text names the catalog, the property and the value.
    pub fn invalid(&self, name: &str, reason: impl Display) -> Error {
        let value = self.get(name).unwrap_or_default();
        let text =
            format!("Catalog '{}': invalid value '{value}' for property '{name}': {reason}", self.catalog);
        Error::new(ErrorCode::CONFIGURATION_INVALID, text)
    }
}

/// The known name that is nearest to a name, if one is near enough to have been meant.
pub fn nearest_name<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|candidate| (edits(name, candidate), candidate))
        .min()
        .filter(|(edits, _)| *edits <= SUGGESTION_MAX_EDITS)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be inserted, removed or replaced to make one text of the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, from_char) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (at, to_char) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(from_char != *to_char);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[PropertyDefinition] = &[
        PropertyDefinition { name: "x.count", value_type: "integer", default: Some("4"), description: "" },
        PropertyDefinition { name: "x.colour", value_type: "RED or BLUE", default: None, description: "" },
    ];

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn unknown_name_is_refused_with_the_nearest() {
        for (name, hint) in [("x.cuont", ". Did you mean 'x.count'?"), ("something.quite.different", "")] {
            let values = values(&[("connector.name", "x"), (name, "1")]);
            let error = Properties::check("c", &values, KNOWN).unwrap_err();
            assert_eq!(error.code(), ErrorCode::CONFIGURATION_INVALID);
            assert_eq!(error.message(), format!("Catalog 'c': unknown property '{name}'{hint}"));
        }
    }

    #[test]
    fn values_are_read_with_their_defaults() {
        let none = values(&[]);
        let properties = Properties::check("c", &none, KNOWN).unwrap();
        assert_eq!(properties.parse::<u32>("x.count").unwrap(), Some(4));
        assert_eq!(properties.choose("x.colour", &[("RED", 1)]).unwrap(), None);
        assert!(properties.require("x.colour").is_err());

        let given = values(&[("x.count", " 7 "), ("x.colour", "red")]);
        let properties = Properties::check("c", &given, KNOWN).unwrap();
        assert_eq!(properties.parse::<u32>("x.count").unwrap(), Some(7));
        assert_eq!(properties.choose("x.colour", &[("BLUE", 0), ("RED", 1)]).unwrap(), Some(1));
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        let given = values(&[("x.count", "many"), ("x.colour", "green")]);
        let properties = Properties::check("c", &given, KNOWN).unwrap();
        let number = properties.parse::<u32>("x.count").unwrap_err();
        assert!(number.message().starts_with("Catalog 'c': invalid value 'many' for property 'x.count'"));
        let colour = properties.choose("x.colour", &[("BLUE", 0), ("RED", 1)]).unwrap_err();
        assert!(colour.message().ends_with("must be one of BLUE, RED"), "{colour}");
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in
            [("", "", 0), ("", "ab", 2), ("abc", "abc", 0), ("abc", "adc", 1), ("ab", "ba", 2)]
        {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }
}
