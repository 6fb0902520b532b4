//! What coordinators keep in the store: for themselves after a restart, and for those after them.
//!
//! Every record is framed with a checksum, so that one that rotted is noticed and never believed.

mod record;
mod shape;

use base::{Error, ErrorCode, Result};
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

pub use record::{KnownSplit, TasksContent, record_from_content, record_to_content};
pub use shape::{shape_from_stages, stages_of_shape};

use crate::node::InvalidMessage;

/// The generated messages.
#[allow(missing_docs, clippy::all, reason = "generated from state.proto, where the comments are")]
pub mod wire {
    tonic::include_proto!("steadfast.state.v1");
}

/// How every record starts: its name, and the version of its frame.
const MAGIC: [u8; 5] = *b"SFST\x01";
/// How much of the SHA-256 of its content follows, in bytes.
const CHECKSUM_BYTES: usize = 8;

/// A record as it is stored.
pub fn encode(message: &impl Message) -> Bytes {
    let content = message.encode_to_vec();
    let mut framed = Vec::with_capacity(MAGIC.len() + CHECKSUM_BYTES + content.len());
    framed.extend_from_slice(&MAGIC);
    framed.extend_from_slice(&checksum(&content));
    framed.extend_from_slice(&content);
    framed.into()
}

/// Reads what [`encode`] wrote. `key` names the record for people.
///
/// # Errors
///
/// `EXCHANGE_DATA_LOST` if the content is damaged.
pub fn decode<M: Message + Default>(key: &str, stored: &[u8]) -> Result<M> {
    let unreadable = |what: &str| {
        Error::new(ErrorCode::EXCHANGE_DATA_LOST, format!("The record {key} is unreadable: {what}"))
    };
    let framed = stored.strip_prefix(&MAGIC).and_then(|rest| rest.split_first_chunk::<CHECKSUM_BYTES>());
    let (sum, content) = framed.ok_or_else(|| unreadable("it does not start as one"))?;
    if *sum != checksum(content) {
        return Err(unreadable("its checksum does not match"));
    }
    M::decode(content).map_err(|_| unreadable("it is of another build"))
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(content);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    checksum
}

/// The record has the right form and means nothing.
fn senseless(key: &str, error: &InvalidMessage) -> Error {
    Error::new(ErrorCode::EXCHANGE_DATA_LOST, format!("The record {key} is unreadable: {}", error.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_noticed() {
        let record = wire::QueryRecord { text: "SELECT 1".into(), ..Default::default() };
        let stored = encode(&record);
        assert_eq!(decode::<wire::QueryRecord>("q/query", &stored).unwrap(), record);
        for at in 0..stored.len() {
            let mut flipped = stored.to_vec();
            flipped[at] ^= 4;
            let error = decode::<wire::QueryRecord>("q/query", &flipped).unwrap_err();
            assert_eq!(error.code(), ErrorCode::EXCHANGE_DATA_LOST);
            assert!(decode::<wire::QueryRecord>("q/query", &stored[..at]).is_err());
        }
    }
}
