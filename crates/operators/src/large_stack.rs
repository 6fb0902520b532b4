//! Deep plans need a deep stack.

/// Stack for work that recurses over a plan, in bytes. A thousand nested expressions use a few megabytes of it; the
/// rest is address space only.
const LARGE_STACK_BYTES: usize = 256 << 20;

/// To decode a plan takes at most so many bytes of stack for each byte of it: what is nested takes some ten bytes, and
/// is decoded in a call or two.
const STACK_PER_ENCODED_BYTE: usize = 1 << 10;

/// Runs what recurses over a whole plan on a stack that is large enough for any plan a statement can make: here, if so
/// much is left of it.
///
/// Another stack costs some 10 µs. A panic goes on in the caller.
pub fn on_large_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LARGE_STACK_BYTES / 2, LARGE_STACK_BYTES, work)
}

/// Runs what decodes a plan of so many bytes: here, if there is stack enough for any plan of that length.
pub(crate) fn on_stack_for_decoding<T>(encoded_bytes: usize, work: impl FnOnce() -> T) -> T {
    let enough = encoded_bytes.saturating_mul(STACK_PER_ENCODED_BYTE).min(LARGE_STACK_BYTES);
    stacker::maybe_grow(enough, LARGE_STACK_BYTES, work)
}
