//! Recursion over plans that may be as deep as a statement is long.

/// When less stack than this is left, more is taken.
const RED_ZONE_BYTES: usize = 256 << 10;
/// How much is taken at a time.
const SEGMENT_BYTES: usize = 4 << 20;

/// Does one step of a recursion over a plan, on more stack if there is little left.
pub(crate) fn on_enough_stack<T>(step: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(RED_ZONE_BYTES, SEGMENT_BYTES, step)
}
