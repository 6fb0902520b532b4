//! Every configuration property as data, and the readers of Trino's `etc` directory and session properties built on it.
//!
//! One [`Property`] says all there is to say about a property: its name, kind, default, session name and what it
//! does. Checking, typed access, `SHOW SESSION` and `docs/configuration.md` all follow from that table.

#![forbid(unsafe_code)]

mod catalog;
mod check;
mod cross_check;
mod direct_exchange;
mod failure_injection;
mod files;
mod jvm;
mod kind;
mod load;
mod local;
mod logging;
mod markdown;
mod problem;
mod properties_file;
mod property;
mod secret;
mod server;
mod session;
mod session_settings;
mod suggest;
mod table;
mod values;

pub use catalog::{CONNECTOR_NAME, CONNECTORS, CatalogConfig, Connector, Setting};
pub use direct_exchange::{DataIntegrityVerification, DirectExchangeConfig};
pub use failure_injection::{FailureInjection, parse_failure_injections};
pub use files::{DiskFiles, Files, MemoryFiles};
pub use kind::{Choice, Kind, MemoryShare, Value};
pub use load::Source;
pub use local::LocalNode;
pub use logging::{Level, LogConfig, LoggerLevel};
pub use markdown::markdown;
pub use problem::{ConfigErrors, Position, Problem, ProblemKind, Warning, WarningKind};
pub use properties_file::{Entry, escape, parse as parse_properties};
pub use property::{DefaultValue, Property, PropertyFile, Status, Topic};
pub use secret::Secret;
pub use server::{
    CompressionCodec, ExchangeManagerConfig, FaultToleranceConfig, MemoryConfig, NodeConfig, QueryConfig,
    RetryConfig, RetryPolicy, ServerConfig, SqlConfig, TaskConfig,
};
pub use session::{SessionProperty, SessionPropertyTable, SessionRow};
pub use session_settings::{JoinDistributionType, JoinReorderingStrategy, SessionSettings};
pub use table::{accepted_without_effect, properties, property};
