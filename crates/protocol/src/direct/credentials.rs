//! How a node proves to another that it may read its outputs.

use base::{Incarnation, NodeId};
use prost::Message;
use tonic::Status;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

use crate::node::{Purpose, SharedSecret, wire};

/// The header that carries the credentials.
const HEADER: &str = "steadfast-credentials-bin";

/// What a node shows with every request. It serves no other purpose, node or life.
#[derive(Clone)]
pub struct Credentials(BinaryMetadataValue);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// The credentials of a life of a node.
    pub fn new(secret: Option<&SharedSecret>, node: &NodeId, incarnation: Incarnation) -> Self {
        let proof = secret.map(|secret| secret.prove(Purpose::Fetch, node, incarnation));
        let credentials = wire::Credentials {
            node_id: node.as_str().to_owned(),
            incarnation: incarnation.0,
            authentication: proof.map(|proof| proof.to_vec().into()).unwrap_or_default(),
        };
        Credentials(BinaryMetadataValue::from_bytes(&credentials.encode_to_vec()))
    }

    pub(super) fn attach(&self, metadata: &mut MetadataMap) {
        metadata.insert_bin(HEADER, self.0.clone());
    }

    /// Looks at the credentials of a request. A node that has no secret takes everybody's.
    pub(super) fn verify(metadata: &MetadataMap, secret: Option<&SharedSecret>) -> Result<(), Status> {
        let Some(secret) = secret else {
            return Ok(());
        };
        let shown = metadata.get_bin(HEADER).and_then(|value| value.to_bytes().ok());
        let shown = shown.and_then(|bytes| wire::Credentials::decode(bytes).ok());
        let is_right = shown.is_some_and(|shown| {
            let (node, incarnation) = (NodeId::new(shown.node_id), Incarnation(shown.incarnation));
            secret.verify(Purpose::Fetch, &node, incarnation, &shown.authentication)
        });
        let refused = || Status::unauthenticated("internal-communication.shared-secret is not the same here");
        if is_right { Ok(()) } else { Err(refused()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_secret_is_let_in() {
        let (ours, other) = (SharedSecret::new("ours"), SharedSecret::new("other"));
        let node = NodeId::new("worker-1");
        let mut metadata = MetadataMap::new();
        assert!(Credentials::verify(&metadata, None).is_ok());
        assert!(Credentials::verify(&metadata, Some(&ours)).is_err());
        for (shown, is_right) in [(None, false), (Some(&other), false), (Some(&ours), true)] {
            Credentials::new(shown, &node, Incarnation(3)).attach(&mut metadata);
            assert_eq!(Credentials::verify(&metadata, Some(&ours)).is_ok(), is_right);
        }
        metadata.insert_bin(HEADER, BinaryMetadataValue::from_bytes(b"\xff\xff"));
        assert!(Credentials::verify(&metadata, Some(&ours)).is_err());
    }
}
