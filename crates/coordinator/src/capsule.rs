//! Capsules: a statement that no store holds, sealed into the address of its result.
//!
//! A short query is not recorded. Its client is given an address that carries all that is needed to run it again. The
//! coordinator that answered never looks at it; if that one dies before the client has fetched its rows, the next one
//! opens the capsule and runs the statement again. Nothing was delivered before, so nobody can tell.

use base::QueryId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngCore;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

use crate::state::QueryRecord;

/// A statement with its session that is longer than this many bytes is recorded instead: addresses must fit into what
/// proxies take for a line.
const CONTENT_BYTES_MAX: usize = 2048;
/// The longest text of a capsule.
const TEXT_LENGTH_MAX: usize = (CONTENT_BYTES_MAX + NONCE_LEN + 16).div_ceil(3) * 4;

/// What all lives of a coordinator seal capsules with.
///
/// Each query has a key of its own, made of this one and of the query's id. So a capsule opens for its query only, and
/// however many there are, the random nonces under one key are few.
pub struct CapsuleKey([u8; CapsuleKey::LENGTH]);

impl CapsuleKey {
    /// The length of a key, in bytes.
    pub const LENGTH: usize = 32;

    /// A new random key.
    pub fn random() -> Self {
        let mut key = [0; CapsuleKey::LENGTH];
        rand::rng().fill_bytes(&mut key);
        CapsuleKey(key)
    }

    /// A key that was made before.
    pub fn of(key: [u8; CapsuleKey::LENGTH]) -> Self {
        CapsuleKey(key)
    }

    /// The key, for the lives after this one.
    pub fn bytes(&self) -> &[u8; CapsuleKey::LENGTH] {
        &self.0
    }

    /// The capsule of a statement, as it stands in an address. None if the statement is too long for one.
    pub fn seal(&self, query: QueryId, record: &QueryRecord) -> Option<String> {
        let content = record.encode();
        if content.len() > CONTENT_BYTES_MAX {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let mut content = content.to_vec();
        let sealed = self.key_of(query).seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut content,
        );
        sealed.ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &content].concat()))
    }

    /// The statement in a capsule, if it was sealed for that query by a coordinator of this cluster.
    pub fn open(&self, query: QueryId, text: &str) -> Option<QueryRecord> {
        if text.len() > TEXT_LENGTH_MAX {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, content) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut content = content.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let content = self.key_of(query).open_in_place(nonce, Aad::empty(), &mut content).ok()?;
        QueryRecord::decode(query, content).ok()
    }

    fn key_of(&self, query: QueryId) -> LessSafeKey {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        code.update(query.as_str().as_bytes());
        let key = code.finalize().into_bytes();
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("the key has the length of the cipher's"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use protocol::client::ClientContext;

    use super::*;
    use crate::slug::Slug;

    fn record(text: &str) -> QueryRecord {
        QueryRecord {
            text: text.into(),
            client: ClientContext { user: "anna".into(), ..ClientContext::default() },
            slug_key: *Slug::random().key(),
            created: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000),
        }
    }

    fn query(number: u32) -> QueryId {
        format!("20261120_061411_{number:05}_abcde").parse().unwrap()
    }

    #[test]
    fn a_capsule_opens_for_its_query_under_its_key_only() {
        let (key, record) = (CapsuleKey::random(), record("SELECT 'ä'"));
        let text = key.seal(query(7), &record).unwrap();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        assert_eq!(CapsuleKey::of(*key.bytes()).open(query(7), &text), Some(record.clone()));
        assert_eq!(key.open(query(8), &text), None);
        assert_eq!(CapsuleKey::random().open(query(7), &text), None);
        assert_ne!(key.seal(query(7), &record), Some(text), "it is sealed under the same nonce");
    }

    #[test]
    fn a_capsule_that_was_changed_does_not_open() {
        let key = CapsuleKey::random();
        let text = key.seal(query(7), &record("SELECT 1")).unwrap();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open(query(7), std::str::from_utf8(&changed).unwrap()), None, "{at}");
            assert_eq!(key.open(query(7), &text[..at]), None, "{at}");
        }
        assert_eq!(key.open(query(7), "ä"), None);
    }

    #[test]
    fn a_long_statement_has_no_capsule_and_the_longest_one_opens() {
        let key = CapsuleKey::random();
        assert_eq!(key.seal(query(7), &record(&"x".repeat(CONTENT_BYTES_MAX))), None);
        let longest = (0..CONTENT_BYTES_MAX)
            .rev()
            .map(|length| record(&"x".repeat(length)))
            .find(|record| record.encode().len() <= CONTENT_BYTES_MAX)
            .unwrap();
        let text = key.seal(query(7), &longest).unwrap();
        assert!(text.len() <= TEXT_LENGTH_MAX);
        assert_eq!(key.open(query(7), &text), Some(longest));
        assert_eq!(key.open(query(7), &"A".repeat(TEXT_LENGTH_MAX + 4)), None);
    }
}
