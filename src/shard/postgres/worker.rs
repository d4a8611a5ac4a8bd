//! Which of the threads that serve clients this is.
//!
//! A socket is watched by the runtime that made it, and a task that waits for it is woken without leaving its thread when
//! both are of one runtime. So each worker has connections of its own, and takes another's only when it has none.

use std::cell::Cell;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Makes this thread the worker of that number, from 0.
pub fn become_worker(number: usize) {
    WORKER.set(number);
}

/// The number of this thread's worker; 0 for a thread that is none.
pub(super) fn current() -> usize {
    WORKER.get()
}
