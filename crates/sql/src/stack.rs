//! Room for statements with many operators.

/// The stack for parsing and planning, in bytes. Memory is taken as it is used.
const STACK_BYTES: usize = 128 << 20;

/// How many operators may follow each other in an expression: `a OR b OR …`.
pub(crate) const MAX_EXPRESSION_DEPTH: usize = 2000;

/// How many set operations may follow each other: `a UNION b UNION …`.
pub(crate) const MAX_SET_OPERATIONS: usize = 500;

/// Runs work that recurses into statements or plans, on a stack that holds the deepest of them: here, if so much is left
/// of it.
///
/// Whatever walks over the plan of a query should run on it: a long chain of operators is a deep tree, and the stack of
/// a runtime's thread is small.
pub fn on_large_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES, STACK_BYTES, work)
}
