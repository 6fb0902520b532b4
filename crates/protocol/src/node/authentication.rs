//! How nodes prove that they know `internal-communication.shared-secret`.
//!
//! The secret itself never travels. A proof is bound to the node, to its life and to what it is for, so that it
//! serves nobody else and for nothing else.

use std::fmt;

use base::{Incarnation, NodeId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What the key is derived for.
const KEY_CONTEXT: &[u8] = b"steadfast internal communication v1";

/// What a proof is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A worker attaches to a coordinator.
    Attach,
    /// A coordinator answers a worker.
    Welcome,
    /// A node reads the output of an attempt of another one.
    Fetch,
}

impl Purpose {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Purpose::Attach => b"attach",
            Purpose::Welcome => b"welcome",
            Purpose::Fetch => b"fetch",
        }
    }
}

/// A proof, as it travels.
pub type Proof = [u8; 32];

/// The key derived from the shared secret.
#[derive(Clone)]
pub struct SharedSecret(Hmac<Sha256>);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// A code keyed with bytes of any length.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl SharedSecret {
    /// Derives the key from the secret.
    pub fn new(secret: &str) -> Self {
        let mut derivation = keyed(secret.as_bytes());
        derivation.update(KEY_CONTEXT);
        SharedSecret(keyed(&derivation.finalize().into_bytes()))
    }

    /// The code of what is proved. Lengths stand before texts: no two different things have the same bytes.
    fn code(&self, purpose: Purpose, node: &NodeId, incarnation: Incarnation) -> Hmac<Sha256> {
        let mut code = self.0.clone();
        for text in [purpose.as_bytes(), node.as_str().as_bytes()] {
            code.update(&(text.len() as u64).to_be_bytes());
            code.update(text);
        }
        code.update(&incarnation.0.to_be_bytes());
        code
    }

    /// Proves that this node knows the secret.
    pub fn prove(&self, purpose: Purpose, node: &NodeId, incarnation: Incarnation) -> Proof {
        self.code(purpose, node, incarnation).finalize().into_bytes().into()
    }

    /// Whether a proof is right. Takes the same time whatever is wrong with it.
    pub fn verify(&self, purpose: Purpose, node: &NodeId, incarnation: Incarnation, proof: &[u8]) -> bool {
        self.code(purpose, node, incarnation).verify_slice(proof).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_serves_one_node_life_and_purpose() {
        let secret = SharedSecret::new("secret");
        let (node, life) = (NodeId::new("worker-1"), Incarnation(7));
        let proof = secret.prove(Purpose::Attach, &node, life);
        assert!(SharedSecret::new("secret").verify(Purpose::Attach, &node, life, &proof));
        assert!(!SharedSecret::new("Secret").verify(Purpose::Attach, &node, life, &proof));
        assert!(!secret.verify(Purpose::Welcome, &node, life, &proof));
        assert!(!secret.verify(Purpose::Attach, &NodeId::new("worker-2"), life, &proof));
        assert!(!secret.verify(Purpose::Attach, &node, Incarnation(8), &proof));
        assert!(!secret.verify(Purpose::Attach, &node, life, &proof[..31]));
        assert!(!secret.verify(Purpose::Attach, &node, life, &[]));
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", SharedSecret::new("hunter2")).contains("hunter2"));
    }
}
