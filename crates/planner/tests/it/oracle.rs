//! The same query on the same rows, by DataFusion in one piece.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use tokio::sync::OnceCell;

use crate::harness::{SCHEMA, TABLES, all_splits, connector, full_scan};

static TABLE_ROWS: OnceCell<Vec<(&'static str, Arc<MemTable>)>> = OnceCell::const_new();

async fn table_rows() -> &'static Vec<(&'static str, Arc<MemTable>)> {
    let load = || async {
        let connector = connector();
        let mut tables = Vec::new();
        for name in TABLES {
            let metadata = connector.table(SCHEMA, name).await.unwrap().unwrap();
            let scan = full_scan(&metadata);
            let mut batches: Vec<RecordBatch> = Vec::new();
            for split in all_splits(&connector, &scan).await {
                let rows = connector.open(&scan, &split, Arc::default()).unwrap();
                batches.extend(rows.try_collect::<Vec<_>>().await.unwrap());
            }
            tables.push((name, Arc::new(MemTable::try_new(scan.schema, vec![batches]).unwrap())));
        }
        tables
    };
    TABLE_ROWS.get_or_init(load).await
}

/// What DataFusion answers with one partition.
pub async fn answer(sql: &str) -> Vec<RecordBatch> {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.default_null_ordering = "nulls_last".into();
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    for (name, table) in table_rows().await {
        context.register_table(*name, Arc::clone(table) as _).unwrap();
    }
    context.sql(sql).await.unwrap().collect().await.unwrap()
}
