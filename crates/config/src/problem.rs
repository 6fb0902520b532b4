//! What may be wrong with a configuration.

use std::fmt;
use std::sync::Arc;

use base::ErrorCode;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file, as the user knows it.
    pub file: Arc<str>,
    /// The line, counted from 1. None: the file as a whole.
    pub line: Option<u32>,
}

impl Position {
    /// A file as a whole.
    pub fn of_file(file: impl Into<Arc<str>>) -> Self {
        Position { file: file.into(), line: None }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// One thing that is wrong. Its text is what the user reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub position: Option<Position>,
    /// What.
    pub kind: ProblemKind,
}

/// The kinds of [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// A file that cannot be read.
    Unreadable {
        /// What the operating system said.
        reason: String,
    },
    /// A line that is not a property.
    Syntax {
        /// What is wrong with it.
        reason: String,
    },
    /// A name that nothing uses.
    NotUsed {
        /// The name.
        name: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    /// A name that Trino had once and removed.
    Defunct {
        /// The name.
        name: String,
    },
    /// A value that cannot be read, or is out of range.
    InvalidValue {
        /// The property.
        name: String,
        /// Its value, hidden if it is a secret.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// `${ENV:NAME}` of a variable that is not set.
    UnsetVariable {
        /// The property.
        name: String,
        /// The variable.
        variable: String,
    },
    /// `${provider:key}` of a provider that does not exist.
    UnknownProvider {
        /// The property.
        name: String,
        /// The provider.
        provider: String,
    },
    /// A property and its former name, both set, to different values.
    Conflict {
        /// The former name.
        alias: String,
        /// The name.
        name: String,
    },
    /// A property that has to be set.
    Missing {
        /// The property.
        name: String,
        /// Why it has to be set.
        reason: String,
    },
    /// Properties that do not go together.
    Inconsistent {
        /// Which, and why.
        reason: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        match &self.kind {
            ProblemKind::Unreadable { reason } => write!(f, "Cannot read file: {reason}"),
            ProblemKind::Syntax { reason } => f.write_str(reason),
            ProblemKind::NotUsed { name, suggestion } => {
                write!(f, "Configuration property '{name}' was not used")?;
                match suggestion {
                    Some(suggestion) => write!(f, ". Did you mean to use '{suggestion}'?"),
                    None => Ok(()),
                }
            }
            ProblemKind::Defunct { name } => write!(f, "Defunct property '{name}' cannot be configured"),
            ProblemKind::InvalidValue { name, value, reason } => {
                write!(f, "Invalid value '{value}' for property '{name}': {reason}")
            }
            ProblemKind::UnsetVariable { name, variable } => {
                write!(f, "Property '{name}' uses environment variable {variable}, which is not set")
            }
            ProblemKind::UnknownProvider { name, provider } => {
                write!(f, "Property '{name}' uses secret provider '{provider}'; only ENV is available")
            }
            ProblemKind::Conflict { alias, name } => {
                write!(f, "Configuration property '{alias}' conflicts with property '{name}'")
            }
            ProblemKind::Missing { name, reason } => write!(f, "Property '{name}' must be set: {reason}"),
            ProblemKind::Inconsistent { reason } => f.write_str(reason),
        }
    }
}

/// Something that does not stop the start, but that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub position: Option<Position>,
    /// What.
    pub kind: WarningKind,
}

/// The kinds of [`Warning`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// A property that Trino has and that does nothing here.
    NoEffect {
        /// The property.
        name: String,
    },
    /// A property that Trino uses to keep people out, and that does nothing here.
    NoProtection {
        /// The property.
        name: String,
    },
    /// A property under its former name.
    Renamed {
        /// The former name.
        alias: String,
        /// The name.
        name: String,
    },
    /// A property that is set more than once in a file. The last one counts, as in Trino.
    SetAgain {
        /// The property.
        name: String,
    },
    /// A file of Trino's that is not read.
    FileNotRead,
    /// A catalog of a connector that Trino has and we do not.
    CatalogLeftOut {
        /// The catalog.
        catalog: String,
        /// The connector.
        connector: String,
    },
    /// A connector under its former name.
    ConnectorRenamed {
        /// The former name.
        alias: String,
        /// The name.
        name: String,
    },
    /// A property of the other role.
    OtherRole {
        /// The property.
        name: String,
        /// The role that would use it.
        role: &'static str,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        match &self.kind {
            WarningKind::NoEffect { name } => {
                write!(f, "Configuration property '{name}' is accepted but has no effect")
            }
            WarningKind::NoProtection { name } => write!(
                f,
                "Configuration property '{name}' is accepted but has no effect: this server lets everybody in"
            ),
            WarningKind::Renamed { alias, name } => {
                write!(f, "Configuration property '{alias}' has been replaced. Use '{name}' instead.")
            }
            WarningKind::SetAgain { name } => {
                write!(f, "Configuration property '{name}' is set more than once; this line counts")
            }
            WarningKind::FileNotRead => f.write_str("This file is not read"),
            WarningKind::CatalogLeftOut { catalog, connector } => {
                write!(f, "Catalog '{catalog}' is left out: there is no connector '{connector}' yet")
            }
            WarningKind::ConnectorRenamed { alias, name } => {
                write!(f, "Connector '{alias}' has been renamed. Use '{name}' instead.")
            }
            WarningKind::OtherRole { name, role } => {
                write!(f, "Configuration property '{name}' has no effect: this node is not a {role}")
            }
        }
    }
}

/// Everything that is wrong with a configuration, found in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    /// What is wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// What is not wrong but noteworthy.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        writeln!(f, "The configuration has {count} error{}:", if count == 1 { "" } else { "s" })?;
        for (at, problem) in self.problems.iter().enumerate() {
            write!(f, "\n{}) {problem}", at + 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for base::Error {
    fn from(errors: ConfigErrors) -> Self {
        base::Error::new(ErrorCode::CONFIGURATION_INVALID, errors.to_string())
    }
}
