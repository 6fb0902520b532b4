//! The form in which a fragment travels.
//!
//! Plans travel in DataFusion's own protobuf form, our nodes as extensions of it ([`codec`]). It is bound to the
//! build: coordinator and workers of a query must be the same.

mod codec;
mod limits;
mod messages;
#[cfg(test)]
mod tests;

use base::{Error, Result};
use connector::error::from_datafusion;
use datafusion::error::DataFusionError;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message;

use crate::large_stack::on_stack_for_decoding;
use crate::session::decoding_context;
use crate::{Fragment, Sink, on_large_stack};
use codec::OperatorCodec;
use messages::{FragmentMessage, OptionMessage};

/// The fragment as bytes. Fails if it has an operator or an expression that cannot travel.
pub fn encode_fragment(fragment: &Fragment) -> Result<Vec<u8>> {
    on_large_stack(|| {
        let plan = limits::replace_wide_limits(&fragment.plan).map_err(|error| from_datafusion(&error))?;
        let plan = physical_plan_to_bytes_with_extension_codec(plan, &OperatorCodec)
            .map_err(|error| from_datafusion(&error))?;
        let (sink_keys, sink_partitions) = match &fragment.sink {
            Sink::Single => (Vec::new(), 0),
            Sink::Hash { keys, partitions } => {
                let keys: Result<Vec<_>, DataFusionError> = keys
                    .iter()
                    .map(|key| Ok(serialize_physical_expr(key, &OperatorCodec)?.encode_to_vec()))
                    .collect();
                (keys.map_err(|error| from_datafusion(&error))?, *partitions)
            }
        };
        let options = fragment
            .options
            .iter()
            .map(|(name, value)| OptionMessage { name: name.clone(), value: value.clone() })
            .collect();
        let message = FragmentMessage { plan: plan.to_vec(), sink_keys, sink_partitions, options };
        Ok(message.encode_to_vec())
    })
}

/// The fragment that [`encode_fragment`] wrote: a fresh plan that shares nothing with any other.
///
/// It may name all functions that workers know.
pub fn decode_fragment(bytes: &[u8]) -> Result<Fragment> {
    on_stack_for_decoding(bytes.len(), || {
        let message = FragmentMessage::decode(bytes)
            .map_err(|error| Error::internal("a fragment cannot be decoded").caused_by(error))?;
        let options: Vec<(String, String)> =
            message.options.into_iter().map(|option| (option.name, option.value)).collect();
        // Some expressions take options, such as the time zone, when they are made.
        let context = decoding_context(&options)?;
        let plan = physical_plan_from_bytes_with_extension_codec(&message.plan, &context, &OperatorCodec)
            .map_err(|error| from_datafusion(&error))?;
        let sink = if message.sink_partitions == 0 {
            Sink::Single
        } else {
            let mut keys = Vec::with_capacity(message.sink_keys.len());
            for key in &message.sink_keys {
                let key = PhysicalExprNode::decode(key.as_slice())
                    .map_err(|error| Error::internal("a key cannot be decoded").caused_by(error))?;
                let key = parse_physical_expr(&key, &context, &plan.schema(), &OperatorCodec)
                    .map_err(|error| from_datafusion(&error))?;
                keys.push(key);
            }
            Sink::Hash { keys, partitions: message.sink_partitions }
        };
        Ok(Fragment { plan, sink, options })
    })
}
