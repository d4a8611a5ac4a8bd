//! Room on the stack for what recurses with a statement's depth.
//!
//! A tree's depth is bounded (see `tokens`), but a thread's stack may be smaller than what walking to that depth needs.

/// Runs a step of a recursion over a tree, on a new piece of stack when the thread's own is nearly used up.
pub fn with_stack<T>(step: impl FnOnce() -> T) -> T {
    /// What one step may need.
    const RED_ZONE_BYTES: usize = 256 << 10;
    const GROWTH_BYTES: usize = 4 << 20;
    stacker::maybe_grow(RED_ZONE_BYTES, GROWTH_BYTES, step)
}
