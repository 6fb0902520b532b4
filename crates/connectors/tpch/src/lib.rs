//! The tpch catalog: TPC-H data made on the fly.
//!
//! Nothing is stored: a split names a part of a table, and reading it makes the rows. The same split always has
//! the same rows.

#![forbid(unsafe_code)]

mod config;
mod generate;
mod handle;
mod statistics;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use base::{Error, ErrorCode, Result};
use connector::error::into_datafusion;
use connector::{
    ColumnMetadata, Connector, Scan, Split, SplitOptions, TableHandle, TableMetadata, TableStatistics,
};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::task::spawn_blocking;
use tpchgen::text::TextPool;

pub use config::PROPERTIES;
use config::TpchConfig;
use handle::{PartHandle, TpchHandle, schema_scale};
use table::Table;

/// The schemas that are listed. Others exist when asked for: `sf` and a scale factor.
const LISTED_SCHEMAS: [&str; 9] =
    ["tiny", "sf1", "sf100", "sf300", "sf1000", "sf3000", "sf10000", "sf30000", "sf100000"];

/// No table is cut into more parts than this, unless `tpch.splits-per-node` asks for it.
const MAX_DEFAULT_SPLITS: u64 = 100_000;

/// Splits are handed out in batches of this many.
const SPLITS_PER_BATCH: usize = 1_000;

/// Makes the connector of a catalog from its properties.
pub fn create(catalog: &str, properties: &BTreeMap<String, String>) -> Result<Arc<dyn Connector>> {
    Ok(Arc::new(TpchConnector { config: TpchConfig::read(catalog, properties)? }))
}

#[derive(Debug)]
struct TpchConnector {
    config: TpchConfig,
}

impl TpchConnector {
    /// How many parts to cut a table into.
    ///
    /// Parts per node are as configured. If they are not, parts grow in number with the table, so that a lost one
    /// costs no more than a split of the size aimed at.
    fn part_count(&self, handle: &TpchHandle, options: &SplitOptions) -> u32 {
        if !handle.table.is_divisible() {
            return 1;
        }
        let nodes = options.node_count.max(1) as u64;
        let count = match self.config.splits_per_node {
            Some(per_node) => nodes.saturating_mul(u64::from(per_node)),
            None => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
                let bytes = handle.table.total_bytes(handle.scale);
                let by_size = bytes.div_ceil(options.target_size_bytes.max(1)).min(MAX_DEFAULT_SPLITS);
                nodes.saturating_mul(cores).max(by_size)
            }
        };
        let most = handle.table.unit_count(handle.scale).clamp(1, i32::MAX as u64);
        count.clamp(1, most) as u32
    }
}

#[async_trait]
impl Connector for TpchConnector {
    async fn schemas(&self) -> Result<Vec<String>> {
        Ok(LISTED_SCHEMAS.iter().map(ToString::to_string).collect())
    }

    async fn schema_exists(&self, schema: &str) -> Result<bool> {
        Ok(schema_scale(schema).is_some())
    }

    async fn tables(&self, schema: &str) -> Result<Vec<String>> {
        if schema_scale(schema).is_none() {
            return Ok(Vec::new());
        }
        Ok(Table::ALL.iter().map(|table| table.name().to_string()).collect())
    }

    async fn table(&self, schema: &str, table: &str) -> Result<Option<TableMetadata>> {
        let (Some(scale), Some(table)) = (schema_scale(schema), Table::from_name(table)) else {
            return Ok(None);
        };
        let columns = table.columns().iter().map(|column| ColumnMetadata {
            name: self.config.naming.name(column).to_string(),
            column_type: column.column_type(self.config.money),
            nullable: false,
            comment: None,
        });
        Ok(Some(TableMetadata {
            handle: TpchHandle { table, scale }.encode(),
            columns: columns.collect(),
            comment: None,
            properties: Vec::new(),
        }))
    }

    async fn statistics(&self, table: &TableHandle) -> Result<TableStatistics> {
        let TpchHandle { table, scale } = TpchHandle::decode(table)?;
        Ok(statistics::of_table(table, scale, self.config.money))
    }

    fn is_parallel(&self, table: &TableHandle) -> bool {
        TpchHandle::decode(table).is_ok_and(|handle| handle.table.is_divisible())
    }

    async fn splits(
        &self,
        scan: &Scan,
        options: &SplitOptions,
    ) -> Result<BoxStream<'static, Result<Vec<Split>>>> {
        let handle = TpchHandle::decode(&scan.table)?;
        let count = self.part_count(&handle, options);
        let size_bytes = handle.table.total_bytes(handle.scale).div_ceil(u64::from(count));
        let splits = (1..=count)
            .map(move |number| Split { payload: PartHandle { number, count }.encode(), size_bytes });
        Ok(stream::iter(splits).chunks(SPLITS_PER_BATCH).map(Ok).boxed())
    }

    fn open(
        &self,
        scan: &Scan,
        split: &Split,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let handle = TpchHandle::decode(&scan.table)?;
        let part = PartHandle::decode(&split.payload)?;
        let columns = self.column_indices(&handle, &scan.schema)?;
        let types = scan.schema.fields().iter().map(|field| field.data_type().clone());
        let wanted = columns.into_iter().zip(types).collect();
        // The limit counts rows that the predicate accepts, and nothing here evaluates the predicate.
        let limit = scan.limit.filter(|_| scan.predicate.is_none());
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let batch_rows = context.session_config().batch_size().max(1);
        let pieces = generate::pieces(handle, part, wanted, limit, batch_rows);

        let schema = Arc::clone(&scan.schema);
        let batches_of_pieces = pieces.map(move |piece| {
            let piece = piece.map_err(into_datafusion)?;
            let options = RecordBatchOptions::new().with_row_count(Some(piece.row_count));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), piece.columns, &options)?)
        });
        // The first generator of a process makes a large pool of text. That takes a second or two, in which the
        // thread of an attempt could not be cancelled.
        let batches = stream::once(async move {
            // Should that fail, the generator makes the pool, and its failure is the attempt's.
            let _ = spawn_blocking(TextPool::get_or_init_default).await;
            stream::iter(batches_of_pieces)
        })
        .flatten()
        .boxed();
        // Rows are made as fast as they are asked for and never wait, so the stream must yield of itself.
        let batches = RecordBatchStreamAdapter::new(Arc::clone(&scan.schema), batches);
        Ok(Box::pin(cooperative(batches)))
    }
}

impl TpchConnector {
    /// Which of the table's columns a scan wants, in the scan's order.
    fn column_indices(&self, handle: &TpchHandle, wanted: &SchemaRef) -> Result<Vec<usize>> {
        let columns = handle.table.columns();
        let index = |name: &String| {
            columns.iter().position(|column| self.config.naming.name(column) == name).ok_or_else(|| {
                let text = format!("Table '{}' has no column '{name}'", handle.table.name());
                Error::new(ErrorCode::COLUMN_NOT_FOUND, text)
            })
        };
        wanted.fields().iter().map(|field| index(field.name())).collect()
    }
}
