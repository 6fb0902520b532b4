//! The kinds of values, and how their texts are read.

use base::{DataSize, Duration};

use crate::secret::Secret;

/// Which values a property takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// The least value allowed.
        min: i64,
        /// The greatest value allowed. Beyond 32 bits, the session type is `bigint`.
        max: i64,
    },
    /// A number.
    Double {
        /// The least value allowed.
        min: f64,
        /// The greatest value allowed.
        max: f64,
    },
    /// An amount of data, such as `64MB`.
    DataSize {
        /// The least value allowed.
        min: DataSize,
        /// The greatest value allowed.
        max: DataSize,
    },
    /// A length of time, such as `10s`.
    Duration {
        /// The least value allowed.
        min: Duration,
        /// The greatest value allowed.
        max: Duration,
    },
    /// A part of the node's memory: a size, or a percentage such as `30%`.
    MemoryShare,
    /// A number of threads: a number, or a multiple of the cores such as `2C`.
    Threads,
    /// One of these words.
    Choice(Choice),
    /// Some of these words, separated by commas.
    ChoiceList(Choice),
    /// Any text.
    Text,
    /// Lower-case letters, digits and `_`.
    Environment,
    /// Letters, digits, `_` and `-`.
    Identifier,
    /// Texts separated by commas.
    List,
    /// A path of a file or directory.
    Path,
    /// Paths separated by commas.
    PathList,
    /// An address such as `http://host:8080`.
    Uri,
    /// A text that is not shown.
    Secret,
    /// Failures to inject, see [`crate::FailureInjection`].
    FailureInjections,
}

/// The words of a [`Kind::Choice`], as they are written.
pub type Choice = &'static [&'static str];

/// A part of the node's memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryShare {
    /// So much.
    Size(DataSize),
    /// This part of the whole, from 0 to 1.
    Share(f64),
}

impl MemoryShare {
    /// The amount, given the whole.
    pub fn of(self, whole: DataSize) -> DataSize {
        match self {
            MemoryShare::Size(size) => size,
            MemoryShare::Share(share) => DataSize((whole.0 as f64 * share) as u64),
        }
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::Boolean`].
    Boolean(bool),
    /// Of [`Kind::Integer`].
    Integer(i64),
    /// Of [`Kind::Double`].
    Double(f64),
    /// Of [`Kind::DataSize`].
    DataSize(DataSize),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::MemoryShare`].
    MemoryShare(MemoryShare),
    /// Of [`Kind::Threads`].
    Threads {
        /// The number, or the factor.
        count: u32,
        /// Whether the number is to be multiplied by the number of cores.
        per_core: bool,
    },
    /// Of [`Kind::Choice`].
    Choice(&'static str),
    /// Of [`Kind::Secret`].
    Secret(Secret),
    /// Of the other kinds that are one text.
    Text(String),
    /// Of the kinds that are several texts.
    List(Vec<String>),
}

/// The largest number that a Trino `integer` holds.
const INTEGER_MAX: i64 = i32::MAX as i64;

impl Kind {
    /// The type that `SHOW SESSION` shows.
    pub fn session_type(&self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Integer { max, .. } if *max > INTEGER_MAX => "bigint",
            Kind::Integer { .. } => "integer",
            Kind::Double { .. } => "double",
            _ => "varchar",
        }
    }

    /// Whether values of this kind must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self, Kind::Secret)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// What was expected instead, as the end of a sentence.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match *self {
            Kind::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err("expected true or false".to_owned()),
            },
            Kind::Integer { min, max } => {
                let value = text.parse().map_err(|_| "expected a whole number".to_owned())?;
                in_range(value, min, max, min == i64::MIN, max >= INTEGER_MAX)?;
                Ok(Value::Integer(value))
            }
            Kind::Double { min, max } => {
                let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
                if !value.is_finite() {
                    return Err("expected a finite number".to_owned());
                }
                in_range(value, min, max, min == f64::MIN, max == f64::MAX)?;
                Ok(Value::Double(value))
            }
            Kind::DataSize { min, max } => {
                let value: DataSize = text.parse().map_err(expected_unit)?;
                in_range(value, min, max, min.0 == 0, max.0 == u64::MAX)?;
                Ok(Value::DataSize(value))
            }
            Kind::Duration { min, max } => {
                let value = parse_duration(text)?;
                in_range(value, min, max, min.0 == 0, max.0 == u64::MAX)?;
                Ok(Value::Duration(value))
            }
            Kind::MemoryShare => parse_memory_share(text).map(Value::MemoryShare),
            Kind::Threads => parse_threads(text),
            Kind::Choice(words) => choose(words, text).map(Value::Choice),
            Kind::ChoiceList(words) => {
                let chosen: Result<Vec<_>, _> = split_list(text)
                    .into_iter()
                    .map(|word| choose(words, &word).map(str::to_owned))
                    .collect();
                chosen.map(Value::List)
            }
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Secret => Ok(Value::Secret(Secret::new(text))),
            Kind::Path if text.is_empty() => Err("expected a path".to_owned()),
            Kind::Path => Ok(Value::Text(text.to_owned())),
            Kind::Environment => {
                word(text, "[a-z0-9][_a-z0-9]*", |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            }
            Kind::Identifier => {
                word(text, "[A-Za-z0-9][_A-Za-z0-9-]*", |c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            }
            Kind::List | Kind::PathList => Ok(Value::List(split_list(text))),
            Kind::Uri => parse_uri(text),
            Kind::FailureInjections => {
                crate::failure_injection::parse_failure_injections(text)?;
                Ok(Value::Text(text.to_owned()))
            }
        }
    }

    /// The kind in words, for the documentation.
    pub fn describe(&self) -> String {
        match *self {
            Kind::Boolean => "boolean".to_owned(),
            Kind::Integer { min, max } => {
                format!("integer{}", range_text(min, max, min == i64::MIN, max >= INTEGER_MAX))
            }
            Kind::Double { min, max } => {
                format!("double{}", range_text(min, max, min == f64::MIN, max == f64::MAX))
            }
            Kind::DataSize { min, max } => {
                format!("data size{}", range_text(min, max, min.0 == 0, max.0 == u64::MAX))
            }
            Kind::Duration { min, max } => {
                format!("duration{}", range_text(min, max, min.0 == 0, max.0 == u64::MAX))
            }
            Kind::MemoryShare => "data size or percentage".to_owned(),
            Kind::Threads => "threads (`8`, or `2C` for twice the cores)".to_owned(),
            Kind::Choice(words) => format!("one of `{}`", words.join("`, `")),
            Kind::ChoiceList(words) => format!("list of `{}`", words.join("`, `")),
            Kind::Text => "text".to_owned(),
            Kind::Environment | Kind::Identifier => "identifier".to_owned(),
            Kind::List => "list of texts".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::PathList => "list of paths".to_owned(),
            Kind::Uri => "URI".to_owned(),
            Kind::Secret => "secret".to_owned(),
            Kind::FailureInjections => "failures separated by `;`".to_owned(),
        }
    }
}

fn expected_unit(error: base::ParseUnitError) -> String {
    format!("expected {}", error.expected)
}

fn range_text(min: impl ToString, max: impl ToString, open_below: bool, open_above: bool) -> String {
    match (open_below, open_above) {
        (true, true) => String::new(),
        (false, true) => format!(" ≥ {}", min.to_string()),
        (true, false) => format!(" ≤ {}", max.to_string()),
        (false, false) => format!(" {} … {}", min.to_string(), max.to_string()),
    }
}

fn in_range<T: PartialOrd + ToString>(
    value: T,
    min: T,
    max: T,
    open_below: bool,
    open_above: bool,
) -> Result<(), String> {
    if value >= min && value <= max {
        return Ok(());
    }
    let (min, max) = (min.to_string(), max.to_string());
    Err(match (open_below, open_above) {
        (_, true) => format!("must be at least {min}"),
        (true, false) => format!("must be at most {max}"),
        (false, false) => format!("must be between {min} and {max}"),
    })
}

/// Reads a duration. What does not fit into 64 bits of nanoseconds (292 years) is cut: Trino has defaults that long.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = match text.parse() {
        Ok(duration) => return Ok(duration),
        Err(error) => expected_unit(error),
    };
    let days = text.trim().strip_suffix('d').and_then(|days| days.trim_end().parse::<f64>().ok());
    if days.is_some_and(|days| days > 1.0) { Ok(Duration(u64::MAX)) } else { Err(error) }
}

fn parse_memory_share(text: &str) -> Result<MemoryShare, String> {
    let expected = || "expected a size such as 2GB, or a percentage such as 30%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.trim_end().parse().map_err(|_| expected())?;
            if (0.0..=100.0).contains(&percent) {
                Ok(MemoryShare::Share(percent / 100.0))
            } else {
                Err("must be between 0% and 100%".to_owned())
            }
        }
        None => text.parse().map(MemoryShare::Size).map_err(|_| expected()),
    }
}

fn parse_threads(text: &str) -> Result<Value, String> {
    let (number, per_core) = match text.strip_suffix(['C', 'c']) {
        Some(number) => (number, true),
        None => (text, false),
    };
    let count =
        number.trim_end().parse().map_err(|_| "expected a number such as 8, or 2C for twice the cores")?;
    if count == 0 { Err("must be at least 1".to_owned()) } else { Ok(Value::Threads { count, per_core }) }
}

/// Finds the word as Trino does: in any case, with `-` for `_`.
fn choose(words: Choice, text: &str) -> Result<&'static str, String> {
    let normal = |word: &str| word.to_ascii_uppercase().replace('-', "_");
    let found = words.iter().find(|word| normal(word) == normal(text));
    found.copied().ok_or_else(|| format!("expected one of {}", words.join(", ")))
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn word(text: &str, pattern: &str, allowed: fn(char) -> bool) -> Result<Value, String> {
    let starts_well = text.starts_with(|c: char| allowed(c) && c != '_' && c != '-');
    if starts_well && text.chars().all(allowed) {
        Ok(Value::Text(text.to_owned()))
    } else {
        Err(format!("should match {pattern}"))
    }
}

fn parse_uri(text: &str) -> Result<Value, String> {
    let expected = || "expected an address such as http://host:8080".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_ends = authority.rfind(']').map_or(0, |at| at + 1);
    let port = authority[host_ends..].rsplit_once(':').map(|(_, port)| port);
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let host_is_good = !authority.is_empty() && !authority.starts_with(':');
    if !matches!(scheme, "http" | "https")
        || !host_is_good
        || !port_is_good
        || text.contains(char::is_whitespace)
    {
        return Err(expected());
    }
    Ok(Value::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_found_in_any_case_and_with_dashes() {
        const WORDS: Choice = &["NONE", "LEAST_WASTE"];
        assert_eq!(Kind::Choice(WORDS).parse("least-waste"), Ok(Value::Choice("LEAST_WASTE")));
        assert_eq!(Kind::Choice(WORDS).parse("most"), Err("expected one of NONE, LEAST_WASTE".to_owned()));
    }

    #[test]
    fn memory_is_a_size_or_a_percentage() {
        let share = Kind::MemoryShare.parse("25%");
        assert_eq!(share, Ok(Value::MemoryShare(MemoryShare::Share(0.25))));
        assert_eq!(MemoryShare::Share(0.25).of(DataSize::gigabytes(8)), DataSize::gigabytes(2));
        assert!(Kind::MemoryShare.parse("101%").is_err());
        assert!(Kind::MemoryShare.parse("lots").is_err());
    }

    #[test]
    fn threads_may_be_given_per_core() {
        assert_eq!(Kind::Threads.parse("2C"), Ok(Value::Threads { count: 2, per_core: true }));
        assert_eq!(Kind::Threads.parse("7"), Ok(Value::Threads { count: 7, per_core: false }));
        assert!(Kind::Threads.parse("0").is_err());
    }

    #[test]
    fn uris_have_scheme_host_and_a_good_port() {
        for good in ["http://localhost:8080", "https://trino", "http://[::1]:8080/", "http://a.b:1/x:y"] {
            assert!(Kind::Uri.parse(good).is_ok(), "{good}");
        }
        for bad in ["localhost:8080", "http://", "http://:8080", "http://h:99999", "ftp://h", "http://a b"] {
            assert!(Kind::Uri.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let kind = Kind::Double { min: 0.0, max: f64::MAX };
        for bad in ["NaN", "inf", "-1"] {
            assert!(kind.parse(bad).is_err(), "{bad}");
        }
    }
}
