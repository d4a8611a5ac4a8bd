//! Room on the stack for what recurses with a statement's depth.
//!
//! A tree's depth is bounded (see `tokens`), but a thread's stack is smaller than what walking, copying or comparing a
//! tree of that depth takes, since most of that code is derived and cannot look after itself.

/// Runs a step of a recursion over a tree, on a new piece of stack when the thread's own is nearly used up.
pub fn with_stack<T>(step: impl FnOnce() -> T) -> T {
    /// What one step may need.
    const RED_ZONE_BYTES: usize = 256 << 10;
    const GROWTH_BYTES: usize = 4 << 20;
    stacker::maybe_grow(RED_ZONE_BYTES, GROWTH_BYTES, step)
}

/// Runs work on a tree with a stack on which any tree that was parsed can be walked, copied and dropped. `deep`: what
/// [`Parsed::deep`](super::Parsed::deep) says of the tree; others need no more than the thread has.
pub fn with_deep_stack<T>(deep: bool, work: impl FnOnce() -> T) -> T {
    /// Measured: a build without optimisation copies a nested query with 40 KiB, and there may be 250.
    const NEEDED_BYTES: usize = 24 << 20;
    const STACK_BYTES: usize = 32 << 20;
    if deep { stacker::maybe_grow(NEEDED_BYTES, STACK_BYTES, work) } else { work() }
}
