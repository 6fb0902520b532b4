//! Failures that tests inject into tasks.

use std::ops::RangeInclusive;

use base::{Duration, ErrorType};

/// Attempts that are made to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureInjection {
    /// The stage. None: every stage.
    pub stage: Option<u32>,
    /// The partition of the stage. None: every partition.
    pub partition: Option<u32>,
    /// The numbers of the attempts.
    pub attempts: RangeInclusive<u32>,
    /// Whose fault it looks like.
    pub class: ErrorType,
    /// How long the attempt runs before it fails. None: it fails at once.
    pub delay: Option<Duration>,
}

impl FailureInjection {
    /// Whether this attempt is to fail.
    pub fn matches(&self, stage: u32, partition: u32, attempt: u32) -> bool {
        self.stage.is_none_or(|wanted| wanted == stage)
            && self.partition.is_none_or(|wanted| wanted == partition)
            && self.attempts.contains(&attempt)
    }
}

/// Reads failures such as `stage=1,partition=0,attempts=0-1,class=INTERNAL,delay=2s`, separated by `;`.
///
/// Without `stage`, `partition` or `attempts`, all of them fail; `class` has to be there.
///
/// # Errors
/// What was expected instead, as the end of a sentence.
pub fn parse_failure_injections(text: &str) -> Result<Vec<FailureInjection>, String> {
    text.split(';').map(str::trim).filter(|one| !one.is_empty()).map(parse_one).collect()
}

fn parse_one(text: &str) -> Result<FailureInjection, String> {
    let mut class = None;
    let mut injection = FailureInjection {
        stage: None,
        partition: None,
        attempts: 0..=u32::MAX,
        class: ErrorType::InternalError,
        delay: None,
    };
    for part in text.split(',').map(str::trim) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("expected key=value at '{part}'"))?;
        match key.trim() {
            "stage" => injection.stage = Some(number(value)?),
            "partition" => injection.partition = Some(number(value)?),
            "attempts" => {
                let (first, last) = value.split_once('-').unwrap_or((value, value));
                injection.attempts = number(first)?..=number(last)?;
                if injection.attempts.is_empty() {
                    return Err(format!("attempts {value} has its ends the wrong way round"));
                }
            }
            "class" => class = Some(error_type(value)?),
            "delay" => {
                let delay =
                    value.trim().parse().map_err(|_| format!("expected a delay such as 2s at '{value}'"))?;
                injection.delay = Some(delay);
            }
            key => {
                return Err(format!("unknown key '{key}' (known: stage, partition, attempts, class, delay)"));
            }
        }
    }
    injection.class = class.ok_or_else(|| format!("expected a class at '{text}'"))?;
    Ok(injection)
}

fn number(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| format!("expected a number at '{text}'"))
}

fn error_type(text: &str) -> Result<ErrorType, String> {
    match text.trim() {
        "USER" | "USER_ERROR" => Ok(ErrorType::UserError),
        "INTERNAL" | "INTERNAL_ERROR" => Ok(ErrorType::InternalError),
        "EXTERNAL" => Ok(ErrorType::External),
        "INSUFFICIENT_RESOURCES" => Ok(ErrorType::InsufficientResources),
        other => {
            Err(format!("unknown class '{other}' (known: USER, INTERNAL, EXTERNAL, INSUFFICIENT_RESOURCES)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injections_are_read_and_matched() {
        let text =
            "stage=1,partition=0,attempts=0-1,class=INTERNAL; class=USER_ERROR, attempts=2, delay=1.5s;";
        let injections = parse_failure_injections(text).unwrap();
        let [first, second] = injections.as_slice() else { panic!("two injections") };
        assert_eq!((first.class, first.delay), (ErrorType::InternalError, None));
        assert!(first.matches(1, 0, 0) && first.matches(1, 0, 1));
        assert!(!first.matches(1, 0, 2) && !first.matches(1, 1, 0) && !first.matches(2, 0, 0));
        assert_eq!((second.class, second.delay), (ErrorType::UserError, Some(Duration::millis(1500))));
        assert!(second.matches(7, 7, 2) && !second.matches(7, 7, 3));
        assert_eq!(parse_failure_injections(" ; "), Ok(Vec::new()));
    }

    #[test]
    fn bad_injections_say_what_was_expected() {
        for (text, expected) in [
            ("stage=1", "expected a class at 'stage=1'"),
            ("stage=x,class=USER", "expected a number at 'x'"),
            ("class=SOME", "unknown class 'SOME' (known: USER, INTERNAL, EXTERNAL, INSUFFICIENT_RESOURCES)"),
            ("class=USER,attempts=3-1", "attempts 3-1 has its ends the wrong way round"),
            ("class=USER,speed=9", "unknown key 'speed' (known: stage, partition, attempts, class, delay)"),
            ("class", "expected key=value at 'class'"),
            ("class=USER,delay=soon", "expected a delay such as 2s at 'soon'"),
        ] {
            assert_eq!(parse_failure_injections(text), Err(expected.to_owned()), "{text}");
        }
    }
}
