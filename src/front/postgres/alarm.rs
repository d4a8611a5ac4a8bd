//! Wakes a client's task at a deadline, or before it.

use std::pin::Pin;
use std::task::Context;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep};

/// It is set anew only when it has gone off: a task that is woken for nothing costs less than a timer for each statement.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The task is woken when it goes off.
    is_set: bool,
}

impl Alarm {
    /// Whether it will go off between `now` and `until`: then there is nothing to do before it has.
    #[inline]
    pub(super) fn is_set_before(&self, until: Instant, now: Instant) -> bool {
        let deadline = self.sleep.as_ref().filter(|_| self.is_set).map(|sleep| sleep.deadline());
        deadline.is_some_and(|deadline| now < deadline && deadline <= until)
    }

    /// Whether it is `until` already; otherwise the task is woken then.
    pub(super) fn is_late(&mut self, until: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.is_elapsed() || sleep.deadline() > until {
            sleep.as_mut().reset(until);
        }
        loop {
            // A task whose turn is over is not told to the timer.
            self.is_set = has_budget_remaining();
            if sleep.as_mut().poll(context).is_pending() {
                return false;
            }
            if Instant::now() >= until {
                self.is_set = false;
                return true;
            }
            sleep.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_alarm_that_goes_off_earlier_is_not_set_anew() {
        let mut alarm = Alarm::default();
        let now = Instant::now();
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        assert!(!alarm.is_set_before(after(20), now));
        assert!(!poll_fn(|context| Poll::Ready(alarm.is_late(after(20), context))).await);
        assert!(alarm.is_set_before(after(30), now), "the task looks again in 20 ms");
        assert!(!alarm.is_set_before(after(10), now), "that would be too late");
        assert!(!alarm.is_set_before(after(60), after(20)), "it has gone off");
        let until = after(60);
        poll_fn(|context| if alarm.is_late(until, context) { Poll::Ready(()) } else { Poll::Pending }).await;
        assert!(Instant::now() >= until);
        assert!(!alarm.is_set_before(until + Duration::from_secs(1), Instant::now()));
    }
}
