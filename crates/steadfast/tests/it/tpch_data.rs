//! TPC-H as tables of the catalog `hive`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use steadfast::client::Client;
use testing::{hive_statements, write_tpch_files};

/// Rows of a row group: few enough for every worker to have some.
const ROW_GROUP_ROWS: usize = 250_000;

/// The directory with the Parquet files at scale factor 1, written once for all tests of a process.
fn parquet_sf1() -> &'static Path {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tpch");
        write_tpch_files(&directory, 1.0, ROW_GROUP_ROWS).unwrap()
    })
}

/// Declares the tables in `hive.tpch`.
pub async fn create_hive_tables(client: &mut Client) {
    for statement in hive_statements("tpch", parquet_sf1()) {
        client.query(&statement).await.unwrap();
    }
}
