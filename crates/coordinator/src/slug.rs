//! Slugs: the secrets in the addresses of result pages.
//!
//! Whoever knows a page's address may read it, so each address holds a code that only the coordinator can make:
//! an HMAC over the token and the position, under a random key of the query.

use hmac::{Hmac, KeyInit, Mac};
use rand::RngCore;
use sha2::Sha256;

use crate::query::Position;

/// The token of the first page.
pub const FIRST_TOKEN: u64 = 0;

/// Makes and checks the slugs of one query.
pub struct Slug {
    key: [u8; Slug::KEY_LENGTH],
}

impl Slug {
    /// The length of a key, in bytes.
    pub const KEY_LENGTH: usize = 16;
    /// How many bytes of the code stand in the address.
    const CODE_LENGTH: usize = 20;

    /// Slugs under a new random key.
    pub fn random() -> Self {
        let mut key = [0; Slug::KEY_LENGTH];
        rand::rng().fill_bytes(&mut key);
        Slug { key }
    }

    /// Slugs under a key that was made before.
    pub fn of(key: [u8; Slug::KEY_LENGTH]) -> Self {
        Slug { key }
    }

    /// The key, for another coordinator that is to serve the same addresses.
    pub fn key(&self) -> &[u8; Slug::KEY_LENGTH] {
        &self.key
    }

    /// A secret that belongs to the query and is no slug; the same in every life of the coordinator.
    pub fn secret(&self, purpose: &str) -> u128 {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        // What a slug is the code of starts with a token, and no token is that great.
        code.update(&u64::MAX.to_be_bytes());
        code.update(purpose.as_bytes());
        let code = code.finalize().into_bytes();
        code[..16].iter().fold(0, |secret, byte| secret << 8 | u128::from(*byte))
    }

    /// The slug of a token and a position.
    pub fn make(&self, token: u64, position: Option<Position>) -> String {
        let code = self.code(token, position).finalize().into_bytes();
        let mut slug = String::with_capacity(1 + 2 * Slug::CODE_LENGTH);
        slug.push('y');
        for byte in &code[..Slug::CODE_LENGTH] {
            slug.push_str(&format!("{byte:02x}"));
        }
        slug
    }

    /// Whether a slug is the one of that token and position, in time that does not depend on where it differs.
    pub fn is_valid(&self, token: u64, position: Option<Position>, slug: &str) -> bool {
        let Some(code) = slug.strip_prefix('y').and_then(decode_hex) else {
            return false;
        };
        let expected = self.code(token, position);
        code.len() == Slug::CODE_LENGTH && expected.verify_truncated_left(&code).is_ok()
    }

    fn code(&self, token: u64, position: Option<Position>) -> Hmac<Sha256> {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        code.update(&token.to_be_bytes());
        if let Some(position) = position {
            code.update(position.to_string().as_bytes());
        }
        code
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_opens_its_own_token_and_position_only() {
        let slug = Slug::random();
        let position = Position { task: 1, generation: 0, batch: 2, row: 3 };
        let text = slug.make(7, Some(position));
        assert!(text.starts_with('y') && text.len() == 41);
        assert!(slug.is_valid(7, Some(position), &text));
        assert!(Slug::of(*slug.key()).is_valid(7, Some(position), &text));
        assert!(!slug.is_valid(8, Some(position), &text));
        assert!(!slug.is_valid(7, Some(Position { row: 4, ..position }), &text));
        assert!(!slug.is_valid(7, None, &text));
        assert!(!Slug::random().is_valid(7, Some(position), &text));
        assert_eq!(slug.secret("a"), Slug::of(*slug.key()).secret("a"));
        assert_ne!(slug.secret("a"), slug.secret("b"));
        assert_ne!(slug.secret("a"), Slug::random().secret("a"));
        for bad in ["", "y", "x", "yzz", "y00", "yé"] {
            assert!(!slug.is_valid(7, None, bad), "{bad}");
        }
    }
}
