//! What tests of several crates share: expected answers, TPC-H, and the Python client.

#![forbid(unsafe_code)]

mod answers;
mod python;
mod shared;
mod tpch;
mod tpch_files;

pub use answers::Answer;
pub use python::install_python_client;
pub use shared::shared;
pub use tpch::{TpchQuery, tpch_query};
pub use tpch_files::{TPCH_TABLES, hive_statements, write_tpch_files};
