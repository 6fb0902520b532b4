//! Statistics of a table, from the footers of its files.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::compute::sum;
use arrow::datatypes::SchemaRef;
use base::Result;
use connector::{ColumnStatistics, TableStatistics};
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;

use crate::footer::{FOOTER_CONCURRENCY, Footers};
use crate::footer_statistics::FooterStatistics;

/// The footers of no more files than this are read; what they say is taken to hold of the others.
const SAMPLE_MAX_FILES: usize = 100;

/// Statistics of a table with these files.
pub(crate) async fn of_files(
    footers: &Footers,
    files: &[ObjectMeta],
    schema: &SchemaRef,
) -> Result<TableStatistics> {
    let sample = sample(files);
    let all = sample.len() == files.len();
    let sampled_bytes: u64 = sample.iter().map(|file| file.size).sum();
    let all_bytes: u64 = files.iter().map(|file| file.size).sum();

    let mut collected =
        Collected { row_count: 0, columns: vec![CollectedColumn::default(); schema.fields().len()] };
    let mut read =
        stream::iter(sample).map(|file| footer_statistics(footers, file)).buffered(FOOTER_CONCURRENCY);
    while let Some(footer) = read.try_next().await? {
        collected.add(&footer, schema);
    }

    let scale = |sampled: u64| match (all, sampled_bytes) {
        (true, _) | (_, 0) => sampled,
        _ => (sampled as f64 * (all_bytes as f64 / sampled_bytes as f64)) as u64,
    };
    let total_bytes = collected.columns.iter().map(|column| scale(column.bytes)).sum();
    let column = |column: CollectedColumn| {
        // Bounds of some files are none of all.
        let bounds = column.bounds.filter(|_| all && !column.unknown_bounds);
        let (min, max) = bounds.unzip();
        let null_count = column.null_count.filter(|_| !column.unknown_null_count).map(scale);
        ColumnStatistics { distinct_count: None, null_count, min, max }
    };
    Ok(TableStatistics {
        row_count: Some(scale(collected.row_count)),
        total_bytes: Some(total_bytes),
        columns: collected.columns.into_iter().map(column).collect(),
    })
}

/// Some of the files, from all over the list.
fn sample(files: &[ObjectMeta]) -> Vec<ObjectMeta> {
    let step = files.len().div_ceil(SAMPLE_MAX_FILES).max(1);
    files.iter().step_by(step).cloned().collect()
}

async fn footer_statistics(footers: &Footers, file: ObjectMeta) -> Result<FooterStatistics> {
    let footer = footers.of(&file).await?;
    FooterStatistics::new(&format!("/{}", file.location), footer)
}

struct Collected {
    row_count: u64,
    columns: Vec<CollectedColumn>,
}

#[derive(Clone, Debug, Default)]
struct CollectedColumn {
    bytes: u64,
    null_count: Option<u64>,
    unknown_null_count: bool,
    bounds: Option<(ScalarValue, ScalarValue)>,
    unknown_bounds: bool,
}

impl Collected {
    fn add(&mut self, footer: &FooterStatistics, schema: &SchemaRef) {
        let row_counts = footer.row_counts();
        self.row_count += sum(&row_counts).unwrap_or_default();
        for (column, field) in self.columns.iter_mut().zip(schema.fields()) {
            column.bytes +=
                footer.row_groups().iter().map(|group| footer.value_bytes(group, field)).sum::<u64>();
            let null_counts = footer.null_counts(field);
            match &null_counts {
                Some(counts) if counts.null_count() == 0 => {
                    *column.null_count.get_or_insert(0) += sum(counts).unwrap_or_default();
                }
                _ => column.unknown_null_count = true,
            }
            let (mins, maxes) = (footer.mins(field), footer.maxes(field));
            for group in 0..row_counts.len() {
                // Where all is NULL there are no bounds to know.
                let rows = row_counts.value(group);
                if null_counts
                    .as_ref()
                    .is_some_and(|nulls| nulls.is_valid(group) && nulls.value(group) == rows)
                {
                    continue;
                }
                match (value(mins.as_ref(), group), value(maxes.as_ref(), group)) {
                    (Some(min), Some(max)) => column.widen(min, max),
                    _ => column.unknown_bounds = true,
                }
            }
        }
    }
}

fn value(values: Option<&ArrayRef>, group: usize) -> Option<ScalarValue> {
    ScalarValue::try_from_array(values?, group).ok().filter(|value| !value.is_null())
}

impl CollectedColumn {
    fn widen(&mut self, min: ScalarValue, max: ScalarValue) {
        let Some((least, greatest)) = &mut self.bounds else {
            self.bounds = Some((min, max));
            return;
        };
        if min.partial_cmp(least) == Some(Ordering::Less) {
            *least = min;
        }
        if max.partial_cmp(greatest) == Some(Ordering::Greater) {
            *greatest = max;
        }
    }
}
