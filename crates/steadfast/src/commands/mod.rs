//! What each command does.

mod drill;
mod drill_report;
mod local;
mod server;
mod sql;

pub use drill::drill;
pub use local::local;
pub use server::server;
pub use sql::sql;
