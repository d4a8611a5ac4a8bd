//! Several pieces of work at the same time, all of them to their end.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Runs all of them, and gives what each gave, in their order. None is dropped because another one failed.
pub(super) async fn side_by_side<F: Future>(work: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut pieces: Vec<(Pin<Box<F>>, _)> = work.into_iter().map(|piece| (Box::pin(piece), None)).collect();
    poll_fn(|context| {
        let mut all = true;
        for (piece, output) in pieces.iter_mut().filter(|(_, output)| output.is_none()) {
            match piece.as_mut().poll(context) {
                Poll::Ready(value) => *output = Some(value),
                Poll::Pending => all = false,
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    pieces.into_iter().filter_map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn all_run_at_once_and_come_back_in_order() {
        let begun = tokio::time::Instant::now();
        let work = [30_u64, 10, 20].map(|time| async move {
            tokio::time::sleep(Duration::from_millis(time)).await;
            time
        });
        assert_eq!(side_by_side(work).await, [30, 10, 20]);
        assert!(begun.elapsed() < Duration::from_millis(55), "one after the other they take 60 ms");
        assert!(side_by_side(Vec::<std::future::Ready<()>>::new()).await.is_empty());
    }
}
