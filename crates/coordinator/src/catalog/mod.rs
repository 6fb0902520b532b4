//! What the coordinator adds to the catalogs: `information_schema` in each, and the catalog `system`.

pub mod information_schema;
mod metadata;
pub mod rows;
mod system;
mod tasks;

pub use metadata::{CoordinatorMetadata, catalog_not_found};
pub use system::{SYSTEM_CATALOG, SystemSources, SystemTables};
