//! `log.properties`: a level for each logger.

use crate::problem::{Problem, ProblemKind};
use crate::properties_file::Entry;

/// How much a logger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// What happens.
    Info,
    /// What happens inside.
    Debug,
    /// Everything.
    Trace,
}

const LEVELS: [(&str, Level); 7] = [
    ("OFF", Level::Off),
    ("ERROR", Level::Error),
    ("WARN", Level::Warn),
    ("INFO", Level::Info),
    ("DEBUG", Level::Debug),
    ("TRACE", Level::Trace),
    ("ALL", Level::Trace),
];

/// A line of `log.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggerLevel {
    /// The logger, such as `io.trino`. Empty: all of them.
    pub logger: String,
    /// Its level.
    pub level: Level,
}

/// What `log.properties` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The levels, in the order of the file.
    pub levels: Vec<LoggerLevel>,
}

impl LogConfig {
    pub(crate) fn read(entries: &[Entry], problems: &mut Vec<Problem>) -> Self {
        let mut levels = Vec::new();
        for Entry { name, value, position } in entries {
            let known = LEVELS.iter().find(|(word, _)| word.eq_ignore_ascii_case(value));
            match known {
                Some((_, level)) => {
                    let logger = if name == "ROOT" { String::new() } else { name.clone() };
                    levels.push(LoggerLevel { logger, level: *level });
                }
                None => problems.push(Problem {
                    position: Some(position.clone()),
                    kind: ProblemKind::InvalidValue {
                        name: name.clone(),
                        value: value.clone(),
                        reason: "expected one of OFF, ERROR, WARN, INFO, DEBUG, TRACE".to_owned(),
                    },
                }),
            }
        }
        LogConfig { levels }
    }

    /// The same as directives of the `tracing` crate, such as `info,exchange=debug`.
    ///
    /// Trino's own loggers (`io.trino`) stand for the whole server. Loggers of other Java packages say nothing here.
    pub fn directives(&self) -> String {
        let mut root = "info";
        let mut directives = String::new();
        for LoggerLevel { logger, level } in &self.levels {
            let level = match level {
                Level::Off => "off",
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                Level::Debug => "debug",
                Level::Trace => "trace",
            };
            match logger.as_str() {
                "" | "io.trino" => root = level,
                logger if logger.contains('.') => {}
                logger => directives.push_str(&format!(",{logger}={level}")),
            }
        }
        format!("{root}{directives}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties_file::parse;

    #[test]
    fn levels_become_directives() {
        let (entries, _) = parse("etc/log.properties", "io.trino=DEBUG\norg.eclipse=OFF\nexchange=trace\n");
        let mut problems = Vec::new();
        let config = LogConfig::read(&entries, &mut problems);
        assert_eq!(problems, []);
        assert_eq!(config.directives(), "debug,exchange=trace");
        assert_eq!(LogConfig::default().directives(), "info");
    }
}
