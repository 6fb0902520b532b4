//! What each command does.

mod drill;
mod drill_report;
mod local;
mod replay;
mod server;
mod sql;

pub use drill::drill;
pub use local::local;
pub use replay::replay;
pub use server::server;
pub use sql::sql;
