//! What outlives the coordinator: which one leads, and what is known of every query.

mod leadership;
mod plan_record;
mod query_record;
mod store;

pub use leadership::{Identity, Leadership};
pub use plan_record::PlanRecord;
pub use query_record::QueryRecord;
pub use store::{StateStore, StoredQuery};
