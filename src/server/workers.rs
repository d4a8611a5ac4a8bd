//! The threads that serve the Postgres door's clients.
//!
//! Each has a runtime of its own, so that a client, its task and the connections it uses stay on one thread: what arrives on
//! one socket leaves on the other without waking anybody, and a commit's answers wake each thread once.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::shard::postgres::become_worker;

/// Running threads, which end when this is dropped.
pub(super) struct Workers {
    handles: Vec<Handle>,
    ends: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Workers {
    /// # Errors
    /// The system gives no thread or no event queue.
    pub(super) fn start(count: usize) -> io::Result<Workers> {
        let mut workers = Workers { handles: Vec::with_capacity(count), ends: Vec::with_capacity(count) };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.handles.push(runtime.handle().clone());
            let (end, ended) = oneshot::channel::<()>();
            let thread = std::thread::Builder::new().name(format!("worker {number}")).spawn(move || {
                become_worker(number);
                let _ = runtime.block_on(ended);
            })?;
            workers.ends.push((end, thread));
        }
        Ok(workers)
    }

    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (end, thread) in self.ends.drain(..) {
            let _ = end.send(());
            let _ = thread.join();
        }
    }
}
