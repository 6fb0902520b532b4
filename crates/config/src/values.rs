//! The values of all properties: as set, or by default.

use std::collections::BTreeMap;
use std::fmt;

use base::{DataSize, Duration};

use crate::kind::{MemoryShare, Value};
use crate::problem::Position;
use crate::property::Property;
use crate::secret::Secret;
use crate::table;

/// A value that was set.
#[derive(Clone, PartialEq)]
pub(crate) struct SetValue {
    pub(crate) value: Value,
    pub(crate) text: String,
    pub(crate) position: Option<Position>,
}

/// Without the text, which may be a secret's.
impl fmt::Debug for SetValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetValue")
            .field("value", &self.value)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// The values of properties by their names.
///
/// The typed readers are asked for properties of their own kind only; a test reads every one of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values {
    pub(crate) set: BTreeMap<&'static str, SetValue>,
    /// Whether the defaults are those of `retry-policy=TASK`.
    pub(crate) task_retries: bool,
}

impl Values {
    /// Where a property is set, if it is.
    pub(crate) fn position(&self, name: &str) -> Option<Position> {
        self.set.get(name).and_then(|set| set.position.clone())
    }

    /// The text of a property: as set, or by default.
    pub(crate) fn text_of(&self, property: &Property) -> Option<&str> {
        let set = self.set.get(property.name).map(|set| set.text.as_str());
        set.or_else(|| property.default_text(self.task_retries))
    }

    /// The value of a property: as set, or by default.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        if let Some(set) = self.set.get(name) {
            return Some(set.value.clone());
        }
        let property = table::property(name).expect("the code asks for properties of the table only");
        let text = property.default_text(self.task_retries)?;
        Some(property.kind.parse(text).expect("defaults of the table can be read"))
    }

    pub(crate) fn boolean(&self, name: &str) -> bool {
        expect_kind(self.get(name), |value| match value {
            Value::Boolean(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn count(&self, name: &str) -> u32 {
        expect_kind(self.count_if_set(name).map(Value::Integer), |value| match value {
            Value::Integer(value) => u32::try_from(value).ok(),
            _ => None,
        })
    }

    fn count_if_set(&self, name: &str) -> Option<i64> {
        self.get(name).map(|value| {
            expect_kind(Some(value), |value| match value {
                Value::Integer(value) => Some(value),
                _ => None,
            })
        })
    }

    pub(crate) fn big_count(&self, name: &str) -> u64 {
        expect_kind(self.count_if_set(name).map(Value::Integer), |value| match value {
            Value::Integer(value) => u64::try_from(value).ok(),
            _ => None,
        })
    }

    pub(crate) fn optional_count(&self, name: &str) -> Option<u32> {
        self.count_if_set(name).map(|value| u32::try_from(value).expect("counts fit into 32 bits"))
    }

    pub(crate) fn double(&self, name: &str) -> f64 {
        expect_kind(self.get(name), |value| match value {
            Value::Double(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn size(&self, name: &str) -> DataSize {
        expect_kind(self.optional_size(name).map(Value::DataSize), as_size)
    }

    pub(crate) fn optional_size(&self, name: &str) -> Option<DataSize> {
        self.get(name).map(|value| expect_kind(Some(value), as_size))
    }

    pub(crate) fn duration(&self, name: &str) -> Duration {
        expect_kind(self.get(name), |value| match value {
            Value::Duration(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn memory_share(&self, name: &str) -> MemoryShare {
        expect_kind(self.get(name), |value| match value {
            Value::MemoryShare(value) => Some(value),
            _ => None,
        })
    }

    /// A number of threads, on a machine with that many cores.
    pub(crate) fn threads(&self, name: &str, cores: u32) -> Option<u32> {
        self.get(name).map(|value| {
            expect_kind(Some(value), |value| match value {
                Value::Threads { count, per_core } => {
                    Some(if per_core { count.saturating_mul(cores) } else { count })
                }
                _ => None,
            })
        })
    }

    pub(crate) fn choice(&self, name: &str) -> &'static str {
        expect_kind(self.get(name), as_choice)
    }

    /// The same, by the default that does not depend on the retry policy.
    pub(crate) fn choice_under_any_policy(&self, name: &str) -> &'static str {
        let set = self.set.get(name).map(|set| set.value.clone());
        let values = Values { task_retries: false, ..Values::default() };
        expect_kind(set.or_else(|| values.get(name)), as_choice)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| {
            expect_kind(Some(value), |value| match value {
                Value::Text(value) => Some(value),
                _ => None,
            })
        })
    }

    pub(crate) fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| {
            expect_kind(Some(value), |value| match value {
                Value::Secret(value) => Some(value),
                _ => None,
            })
        })
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let value = self.get(name).unwrap_or(Value::List(Vec::new()));
        expect_kind(Some(value), |value| match value {
            Value::List(value) => Some(value),
            _ => None,
        })
    }
}

fn as_size(value: Value) -> Option<DataSize> {
    match value {
        Value::DataSize(value) => Some(value),
        _ => None,
    }
}

fn as_choice(value: Value) -> Option<&'static str> {
    match value {
        Value::Choice(value) => Some(value),
        _ => None,
    }
}

fn expect_kind<T>(value: Option<Value>, read: impl FnOnce(Value) -> Option<T>) -> T {
    value
        .and_then(read)
        .expect("the code reads each property as its kind, and required ones are checked before")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::load::Source;
    use crate::property::PropertyFile;
    use crate::server::ServerConfig;

    #[test]
    fn every_property_is_read_as_its_kind() {
        let without_default = table::properties().filter(|property| property.default_text(false).is_none());
        let properties = without_default.filter_map(|property| {
            let source = match property.file {
                PropertyFile::Node => Source::Node,
                PropertyFile::Config => Source::Config,
                PropertyFile::ExchangeManager => Source::ExchangeManager,
                PropertyFile::Catalog(_) | PropertyFile::Session => return None,
            };
            let value = match property.kind {
                Kind::Integer { .. } | Kind::Threads => "7",
                Kind::DataSize { .. } => "90GB",
                Kind::Duration { .. } => "7m",
                Kind::Environment | Kind::Identifier | Kind::Text | Kind::Secret => "a",
                Kind::List | Kind::PathList => "/a,/b",
                Kind::Uri => "http://a:1",
                Kind::Choice(words) => words[0],
                Kind::FailureInjections => "class=USER",
                // The files would have to be there.
                Kind::Path if property.name.ends_with("config-file") => return None,
                Kind::Path => "a",
                Kind::Boolean | Kind::Double { .. } | Kind::MemoryShare | Kind::ChoiceList(_) => "",
            };
            Some((source, property.name, value))
        });
        let config = ServerConfig::from_properties(properties).unwrap();
        assert_eq!(config.memory.limit_per_node, Some(DataSize::gigabytes(90)));
        assert_eq!(config.task.max_worker_threads, 7);
        assert_eq!(config.node.shared_secret, Some(Secret::new("a")));
    }
}
