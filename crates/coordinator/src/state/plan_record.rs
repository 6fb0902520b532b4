//! The record of a planned query: what its stages run. Whoever goes on with the query runs exactly this.

use std::io::Cursor;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base::{Epoch, Error, ErrorCode, QueryId, Result, StageId};
use bytes::Bytes;
use connector::SplitOptions;
use exchange::ObjectKey;
use planner::explain::{OutlineLine, PlanPart};
use protocol::state::{self, shape_from_stages, stages_of_shape, wire};
use scheduler::QueryShape;
use sql::OutputColumn;

/// A planned query.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRecord {
    /// The fragment of each stage, encoded by the operators crate.
    pub fragments: Vec<Bytes>,
    /// What the scheduler knows of it.
    pub shape: QueryShape,
    /// How scans are divided.
    pub split_options: SplitOptions,
    /// The columns of the result as the client sees them.
    pub columns: Vec<OutputColumn>,
    /// The columns of the result as the root stage writes them.
    pub schema: SchemaRef,
    /// `EXPLAIN ANALYZE`: the rows are for nobody, and what happened is told in these lines.
    pub outline: Option<Vec<OutlineLine>>,
    /// The life of the coordinator that planned it. What attempts of earlier lives wrote is of another plan.
    pub epoch: Epoch,
}

impl PlanRecord {
    /// The record as it is stored.
    pub fn encode(&self) -> Result<Bytes> {
        let options = &self.split_options;
        let column = |column: &OutputColumn| wire::Column {
            name: column.name.clone(),
            column_type: column.column_type.to_string(),
        };
        Ok(state::encode(&wire::PlanRecord {
            stages: stages_of_shape(&self.shape, &self.fragments),
            split_options: Some(wire::SplitOptions {
                target_size_bytes: options.target_size_bytes,
                node_count: options.node_count as u64,
                slot_count: options.slot_count as u64,
            }),
            columns: self.columns.iter().map(column).collect(),
            schema: encode_schema(&self.schema)?,
            outline: self.outline.iter().flatten().map(line_to_wire).collect(),
            epoch: self.epoch.0,
        }))
    }

    /// Reads the record of a query. Fails with `EXCHANGE_DATA_LOST` if it is damaged.
    pub fn decode(query: QueryId, stored: &[u8]) -> Result<Self> {
        let key = ObjectKey::Plan(query).to_string();
        let unreadable = |what: String| {
            Error::new(ErrorCode::EXCHANGE_DATA_LOST, format!("The record {key} is unreadable: {what}"))
        };
        let message: wire::PlanRecord = state::decode(&key, stored)?;
        let column = |column: wire::Column| {
            let column_type = column.column_type.parse();
            let column_type =
                column_type.map_err(|_| unreadable(format!("a type '{}'", column.column_type)))?;
            Ok(OutputColumn { name: column.name, column_type })
        };
        let options = message.split_options.unwrap_or_default();
        Ok(PlanRecord {
            shape: shape_from_stages(&key, &message.stages)?,
            fragments: message.stages.into_iter().map(|stage| stage.fragment).collect(),
            split_options: SplitOptions {
                target_size_bytes: options.target_size_bytes,
                node_count: usize::try_from(options.node_count).unwrap_or(usize::MAX),
                slot_count: usize::try_from(options.slot_count).unwrap_or(usize::MAX),
            },
            columns: message.columns.into_iter().map(column).collect::<Result<_>>()?,
            schema: decode_schema(&message.schema).map_err(|error| unreadable(error.to_string()))?,
            outline: (!message.outline.is_empty())
                .then(|| message.outline.into_iter().map(line_from_wire).collect()),
            epoch: Epoch(message.epoch),
        })
    }
}

fn line_to_wire(line: &OutlineLine) -> wire::OutlineLine {
    let part = |part: PlanPart| wire::PlanPart {
        stage: part.stage.0,
        operator: part.operator.map(|number| number as u32),
    };
    wire::OutlineLine { depth: line.depth as u32, text: line.text.clone(), part: line.part.map(part) }
}

fn line_from_wire(line: wire::OutlineLine) -> OutlineLine {
    let part = |part: wire::PlanPart| PlanPart {
        stage: StageId(part.stage),
        operator: part.operator.map(|number| number as usize),
    };
    OutlineLine { depth: line.depth as usize, text: line.text, part: line.part.map(part) }
}

fn encode_schema(schema: &SchemaRef) -> Result<Bytes> {
    let unwritable = |error| Error::internal("the schema of a result cannot be written").caused_by(error);
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(unwritable)?;
    writer.finish().map_err(unwritable)?;
    Ok(Bytes::from(writer.into_inner().map_err(unwritable)?))
}

fn decode_schema(bytes: &Bytes) -> Result<SchemaRef, arrow::error::ArrowError> {
    Ok(StreamReader::try_new(Cursor::new(bytes), None)?.schema())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;
    use scheduler::{Distribution, StageShape};
    use std::sync::Arc;
    use types::Type;

    fn line(text: &str, depth: usize, operator: Option<Option<usize>>) -> OutlineLine {
        let part = operator.map(|operator| PlanPart { stage: StageId(0), operator });
        OutlineLine { depth, text: text.into(), part }
    }

    #[test]
    fn a_plan_comes_back_as_it_was() {
        let types = [
            "varchar(7)",
            "decimal(38,10)",
            "timestamp(3) with time zone",
            "array(row(a bigint))",
            "unknown",
        ];
        let columns: Vec<OutputColumn> = types
            .iter()
            .map(|text| OutputColumn { name: "x".into(), column_type: text.parse::<Type>().unwrap() })
            .collect();
        let fields: Vec<_> =
            columns.iter().map(|column| types::arrow_field("x", &column.column_type, true)).collect();
        let stage = StageShape {
            distribution: Distribution::Single,
            inputs: Vec::new(),
            scans: 1,
            output_partitions: 1,
            determinate: true,
        };
        let record = PlanRecord {
            fragments: vec![Bytes::from_static(b"fragment")],
            shape: QueryShape { stages: vec![stage] },
            split_options: SplitOptions { target_size_bytes: 7, node_count: 2, slot_count: 4 },
            columns,
            schema: Arc::new(Schema::new(fields)),
            outline: Some(vec![
                line("Fragment 0", 0, Some(None)),
                line("", 1, None),
                line("Scan", 2, Some(Some(3))),
            ]),
            epoch: Epoch(3),
        };
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        assert_eq!(PlanRecord::decode(query, &record.encode().unwrap()).unwrap(), record);
        // Who finds his own bytes under the key has written them: nobody else has his epoch.
        let of_another = PlanRecord { epoch: Epoch(4), ..record.clone() };
        assert_ne!(of_another.encode().unwrap(), record.encode().unwrap());
    }
}
