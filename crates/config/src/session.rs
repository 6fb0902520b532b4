//! The session properties: what `SET SESSION` and `SHOW SESSION` know.

use std::collections::BTreeMap;

use base::ErrorCode;

use crate::kind::{Kind, Value};
use crate::property::{Property, Status};
use crate::server::{RetryPolicy, ServerConfig};
use crate::table;
use crate::values::{SetValue, Values};

/// A session property.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionProperty {
    /// Its name.
    pub name: &'static str,
    /// Its type, as `SHOW SESSION` shows it: `boolean`, `integer`, `bigint`, `double` or `varchar`.
    pub type_name: &'static str,
    /// Its default under this configuration, as `SHOW SESSION` shows it. Empty: it has none.
    pub default: String,
    /// What it does.
    pub description: String,
    /// Whether `SHOW SESSION` leaves it out.
    pub hidden: bool,
    /// Whether it does something here.
    pub effective: bool,
    property: &'static Property,
}

/// A row of `SHOW SESSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The name.
    pub name: String,
    /// The value: as set, or by default.
    pub value: String,
    /// The default.
    pub default: String,
    /// The type.
    pub type_name: String,
    /// What it does.
    pub description: String,
}

/// All session properties, with the defaults of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPropertyTable {
    properties: BTreeMap<&'static str, SessionProperty>,
    allowed: Vec<RetryPolicy>,
}

impl SessionPropertyTable {
    /// The session properties of a server.
    pub fn new(config: &ServerConfig) -> Self {
        let of_session = |property: &'static Property| {
            property.session.map(|name| (name, SessionProperty::of(name, property, &config.values)))
        };
        SessionPropertyTable {
            properties: table::properties().filter_map(of_session).collect(),
            allowed: config.retry.allowed.clone(),
        }
    }

    /// A property by its name.
    pub fn get(&self, name: &str) -> Option<&SessionProperty> {
        self.properties.get(name)
    }

    /// All properties, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &SessionProperty> {
        self.properties.values()
    }

    /// The rows of `SHOW SESSION`, in the order of their names, for a session that has set these values.
    pub fn rows(&self, set: &BTreeMap<String, String>) -> Vec<SessionRow> {
        let row = |property: &SessionProperty| SessionRow {
            name: property.name.to_owned(),
            value: set.get(property.name).unwrap_or(&property.default).clone(),
            default: property.default.clone(),
            type_name: property.type_name.to_owned(),
            description: property.description.clone(),
        };
        self.iter().filter(|property| !property.hidden).map(row).collect()
    }

    /// Checks a value for a property. What comes back is what to keep in the session.
    ///
    /// # Errors
    /// `INVALID_SESSION_PROPERTY`: there is no such property, or the value is none of its values.
    pub fn validate(&self, name: &str, value: &str) -> Result<String, base::Error> {
        self.parse(name, value).map(|_| value.trim().to_owned())
    }

    pub(crate) fn parse(
        &self,
        name: &str,
        value: &str,
    ) -> Result<(&'static Property, SetValue), base::Error> {
        let Some(SessionProperty { property, .. }) = self.get(name) else {
            return Err(invalid(format!("Session property '{name}' does not exist")));
        };
        let text = value.trim();
        let value = property.kind.parse(text).map_err(|reason| {
            invalid(match property.kind {
                Kind::Choice(words) => format!(
                    "Session property '{name}' is invalid: Invalid value [{text}]. Valid values: [{}]",
                    words.join(", ")
                ),
                _ => format!("Session property '{name}' is invalid: {reason}: {text}"),
            })
        })?;
        if let ("retry_policy", Value::Choice(policy)) = (name, &value)
            && !self.allowed.contains(&RetryPolicy::of(policy))
        {
            let allowed: Vec<_> = self.allowed.iter().map(|policy| policy.as_str()).collect();
            let allowed = allowed.join(", ");
            return Err(invalid(format!("Retry policy {policy} not allowed. Must be one of [{allowed}]")));
        }
        Ok((property, SetValue { value, text: text.to_owned(), position: None }))
    }
}

impl SessionProperty {
    fn of(name: &'static str, property: &'static Property, values: &Values) -> Self {
        let description = match property.kind {
            Kind::Choice(words) => {
                format!("{} Possible values: [{}]", property.doc, words.join(", "))
            }
            _ => property.doc.to_owned(),
        };
        SessionProperty {
            name,
            type_name: property.kind.session_type(),
            default: values.text_of(property).map(|text| show(&property.kind, text)).unwrap_or_default(),
            description,
            hidden: property.hidden,
            effective: property.status != Status::NoEffect,
            property,
        }
    }
}

fn invalid(message: String) -> base::Error {
    base::Error::new(ErrorCode::INVALID_SESSION_PROPERTY, message)
}

/// Writes a text as Trino writes values of its kind: durations have two decimals and the unit they came with.
fn show(kind: &Kind, text: &str) -> String {
    match kind.parse(text) {
        Ok(Value::Duration(_)) => {
            let text = text.trim();
            let unit = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
            match text[..unit].trim().parse::<f64>() {
                Ok(number) => format!("{number:.2}{}", &text[unit..]),
                Err(_) => text.to_owned(),
            }
        }
        Ok(Value::DataSize(size)) => size.to_string(),
        Ok(Value::Choice(word)) => word.to_owned(),
        Ok(Value::Boolean(value)) => value.to_string(),
        Ok(Value::Integer(value)) => value.to_string(),
        Ok(Value::Double(value)) => format!("{value:?}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
