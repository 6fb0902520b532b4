//! Our nodes as extensions of DataFusion's protobuf form.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use connector::{Scan, TableHandle};
use datafusion::common::{Result, Statistics};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion_proto::physical_plan::from_proto::parse_physical_sort_exprs;
use datafusion_proto::physical_plan::to_proto::serialize_physical_sort_exprs;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use prost::Message;

use super::limits::{WideLimit, limit_from};
use super::messages::{AtMostOneRowMessage, ExchangeMessage, Node, NodeMessage, ScanMessage};
use crate::{AtMostOneRowExec, ExchangeSourceExec, SplitScanExec};

/// Encodes and decodes our nodes. Functions travel by name only.
#[derive(Debug)]
pub(super) struct OperatorCodec;

impl PhysicalExtensionCodec for OperatorCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let only_input = || match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => Err(undecodable("a node has the wrong number of inputs")),
        };
        let decode = Decode { context: &PhysicalPlanDecodeContext::new(context, self), converter };
        match NodeMessage::decode(bytes).map_err(undecodable)?.node {
            Some(Node::Scan(message)) => decode.scan(message),
            Some(Node::Exchange(message)) => decode.exchange(message),
            Some(Node::AtMostOneRow(_)) => Ok(Arc::new(AtMostOneRowExec::new(only_input()?))),
            Some(Node::WideLimit(message)) => limit_from(&message, only_input()?),
            None => Err(undecodable("a node is of no known kind")),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let message = if let Some(scan) = node.downcast_ref::<SplitScanExec>() {
            Node::Scan(self.scan_message(scan, converter)?)
        } else if let Some(source) = node.downcast_ref::<ExchangeSourceExec>() {
            Node::Exchange(self.exchange_message(source, converter)?)
        } else if node.is::<AtMostOneRowExec>() {
            Node::AtMostOneRow(AtMostOneRowMessage {})
        } else if let Some(limit) = node.downcast_ref::<WideLimit>() {
            Node::WideLimit(limit.message)
        } else {
            return Err(DataFusionError::NotImplemented(format!(
                "{} cannot be sent to a worker",
                node.name()
            )));
        };
        NodeMessage { node: Some(message) }.encode(bytes).map_err(undecodable)
    }
}

impl OperatorCodec {
    fn scan_message(
        &self,
        node: &SplitScanExec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<ScanMessage> {
        let scan = node.scan();
        let Some(number) = node.number() else {
            return Err(DataFusionError::Internal("a scan travels that is not part of a fragment".into()));
        };
        let predicate = match &scan.predicate {
            Some(predicate) => Some(converter.physical_expr_to_proto(predicate, self)?.encode_to_vec()),
            None => None,
        };
        Ok(ScanMessage {
            number,
            catalog: node.catalog().to_owned(),
            table_name: node.table_name().to_owned(),
            table: scan.table.0.to_vec(),
            schema: schema_bytes(&scan.schema)?,
            predicate,
            limit: scan.limit,
            parallel: node.is_parallel(),
        })
    }

    fn exchange_message(
        &self,
        node: &ExchangeSourceExec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<ExchangeMessage> {
        let sort_exprs = node.ordering().into_iter().flatten().cloned();
        let ordering = serialize_physical_sort_exprs(sort_exprs, self, converter)?;
        Ok(ExchangeMessage {
            input: node.input(),
            schema: schema_bytes(&node.schema())?,
            ordering: ordering.iter().map(Message::encode_to_vec).collect(),
            rows_max: node.rows_max(),
        })
    }
}

struct Decode<'a> {
    context: &'a PhysicalPlanDecodeContext<'a>,
    converter: &'a dyn PhysicalProtoConverterExtension,
}

impl Decode<'_> {
    fn scan(&self, message: ScanMessage) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = schema_from(&message.schema)?;
        let predicate: Option<Arc<dyn PhysicalExpr>> = match &message.predicate {
            Some(predicate) => {
                let node = protobuf::PhysicalExprNode::decode(predicate.as_slice()).map_err(undecodable)?;
                Some(self.converter.proto_to_physical_expr(&node, &schema, self.context)?)
            }
            None => None,
        };
        let statistics = Arc::new(Statistics::new_unknown(&schema));
        let table = TableHandle(Bytes::from(message.table));
        let scan = Scan { table, schema, predicate, limit: message.limit };
        let node =
            SplitScanExec::new(message.catalog, message.table_name, scan, message.parallel, statistics);
        Ok(Arc::new(node.in_fragment(message.number)))
    }

    fn exchange(&self, message: ExchangeMessage) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = schema_from(&message.schema)?;
        let sort_exprs: Result<Vec<_>, _> = message
            .ordering
            .iter()
            .map(|sort| protobuf::PhysicalSortExprNode::decode(sort.as_slice()))
            .collect();
        let sort_exprs = parse_physical_sort_exprs(
            &sort_exprs.map_err(undecodable)?,
            self.context,
            &schema,
            self.converter,
        )?;
        let source = ExchangeSourceExec::new(message.input, schema).with_rows_max(message.rows_max);
        Ok(Arc::new(match LexOrdering::new(sort_exprs) {
            Some(ordering) => source.with_ordering(ordering),
            None => source,
        }))
    }
}

fn schema_bytes(schema: &SchemaRef) -> Result<Vec<u8>> {
    let message: protobuf::Schema = schema.as_ref().try_into()?;
    Ok(message.encode_to_vec())
}

fn schema_from(bytes: &[u8]) -> Result<SchemaRef> {
    let message = protobuf::Schema::decode(bytes).map_err(undecodable)?;
    Ok(Arc::new(Schema::try_from(&message)?))
}

fn undecodable(error: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Internal(format!("a plan node cannot be decoded: {error}"))
}
