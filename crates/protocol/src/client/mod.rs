//! The client protocol: documents and headers as Trino's clients know them.
//!
//! Every document can be written and read, so that the server, our own client and the tests share one definition.

pub mod error;
pub mod headers;
pub mod node_state;
pub mod prepared;
pub mod query_info;
pub mod request;
pub mod results;
pub mod roles;
pub mod server_info;
pub mod session_update;
pub mod stats;
pub mod succinct;
mod url;

pub use error::{ErrorInfo, ErrorLocation, FailureInfo, QueryError};
pub use headers::HeaderPrefix;
pub use query_info::{BasicQueryInfo, BasicQueryStats, QueryInfo, SessionInfo};
pub use request::{BadRequest, ClientContext, ClientTransaction, ResourceEstimates};
pub use results::{Column, QueryResults, Warning, WarningCode, rows_as_data};
pub use roles::SelectedRole;
pub use server_info::{MemoryInfo, MemoryPoolInfo, NodeStatus, NodeVersion, ServerInfo};
pub use session_update::SessionUpdate;
pub use stats::{StageStats, StatementStats};
pub use types::ClientCapabilities;
