//! Who polls: the loop thread, or a caller that waits anyway.
//!
//! # Why
//!
//! A wake-up across cores costs more than everything else a small task needs. If a dedicated
//! thread did all the polling, a result would wake that thread, which would wake the caller. So a
//! caller that waits polls itself: the result wakes it directly. There is one poll role; leader
//! and followers is the pattern's name.
//!
//! # Protocol
//!
//! * The role is held by the loop thread, by one caller (the leader), or by nobody for a moment.
//! * A caller that wants to wait takes the role unless another caller has it. If the loop thread
//!   has it, the loop thread is kicked: it wakes, sees that it lost the role and stands by. If it
//!   had begun to look it acts on what it finds, and then wakes the new holder: the wake-up that it
//!   took may have been meant for that one.
//! * A caller that finds another caller leading follows: it parks until its promise is done or
//!   until the leader, on leaving, hands it the role. The leader hands over before it returns to
//!   its own business, so followers are never left without a leader.
//! * A leader that leaves without followers leaves the role to nobody. The loop thread, standing
//!   by, looks again every `STANDBY` and takes the role once nobody has led in between. A caller
//!   in a submit-and-wait loop thus never wakes it. When one caller leads for long, the loop
//!   thread sleeps without looking; the leader then wakes it on leaving.
//! * A deadline or readiness that comes up while nobody polls waits at most `STANDBY`.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::limits::STANDBY;
use crate::poller::Poller;
use crate::wait::Waiter;

/// Who polls.
#[derive(Default)]
pub(crate) struct PollRole {
    state: Mutex<RoleState>,
    changed: Condvar,
}

#[derive(Default)]
struct RoleState {
    holder: Holder,
    /// Callers that wait for their promise while another caller polls.
    followers: VecDeque<Arc<Waiter>>,
    /// How often callers have taken the role; unchanged means that nobody did.
    taken: u64,
    /// The loop thread sleeps until it is told; it no longer looks by itself.
    loop_sleeps: bool,
    /// There is something that only the loop thread can do.
    errand: bool,
    closed: bool,
}

/// What the loop thread is to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Poll: the role is its own.
    Poll,
    /// Do what only the loop thread can do.
    Errand,
    /// End.
    Close,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    #[default]
    Nobody,
    Loop,
    Caller,
}

impl PollRole {
    fn state(&self) -> MutexGuard<'_, RoleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A caller begins to wait. It leads if `waiter.is_polling()` afterwards, else it follows.
    pub(crate) fn join(&self, waiter: &Arc<Waiter>, poller: &Poller) {
        let mut state = self.state();
        match state.holder {
            Holder::Caller => {
                state.followers.push_back(Arc::clone(waiter));
                return;
            }
            Holder::Loop => poller.kick_loop(),
            Holder::Nobody => {}
        }
        state.holder = Holder::Caller;
        state.taken += 1;
        waiter.set_polling();
    }

    /// A caller no longer waits.
    pub(crate) fn leave(&self, waiter: &Arc<Waiter>) {
        let mut state = self.state();
        if !waiter.is_polling() {
            state.followers.retain(|other| !Arc::ptr_eq(other, waiter));
            return;
        }
        assert_eq!(state.holder, Holder::Caller, "only the leader polls");
        waiter.stop_polling();
        if let Some(next) = state.followers.pop_front() {
            next.promote();
        } else {
            state.holder = Holder::Nobody;
            if state.loop_sleeps {
                self.changed.notify_one();
            }
        }
    }

    /// The loop thread waits until the role is its own or it has another turn.
    pub(crate) fn stand_by(&self) -> Turn {
        let mut state = self.state();
        loop {
            if state.closed {
                return Turn::Close;
            }
            if std::mem::take(&mut state.errand) {
                return Turn::Errand;
            }
            let taken = state.taken;
            match state.holder {
                Holder::Loop => return Turn::Poll,
                Holder::Nobody if taken == 0 => state.holder = Holder::Loop,
                holder => {
                    state = self
                        .changed
                        .wait_timeout(state, STANDBY)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                    if state.taken != taken
                        || state.holder != holder
                        || state.errand
                        || state.closed
                    {
                        continue;
                    }
                    if holder == Holder::Nobody {
                        state.holder = Holder::Loop;
                    } else {
                        state.loop_sleeps = true;
                        state = self
                            .changed
                            .wait(state)
                            .unwrap_or_else(PoisonError::into_inner);
                        state.loop_sleeps = false;
                    }
                }
            }
        }
    }

    /// Whether the loop thread still has the role.
    pub(crate) fn is_loop(&self) -> bool {
        let state = self.state();
        state.holder == Holder::Loop && !state.closed
    }

    /// Gives the loop thread an errand.
    pub(crate) fn send_errand(&self, poller: &Poller) {
        self.state().errand = true;
        self.changed.notify_all();
        poller.kick_loop();
    }

    /// Lets the loop thread end.
    pub(crate) fn close(&self, poller: &Poller) {
        self.state().closed = true;
        self.changed.notify_all();
        poller.kick_loop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{PollRole, Turn};
    use crate::poller::Poller;
    use crate::wait::Waiter;

    const CALLERS: usize = 6;
    const ROUNDS: usize = 4_000;
    /// A follower that is not promoted in this time never will be.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Stage {
        role: PollRole,
        poller: Poller,
        /// Callers that lead now; the loop thread may overlap for a moment, by design.
        leaders: AtomicUsize,
        callers_left: AtomicUsize,
    }

    /// Joins, waits until it leads or has enough of following, and leaves.
    fn call(stage: &Stage, seed: usize) {
        let mut random = seed;
        for _ in 0..ROUNDS {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // One in four follows until it is promoted: it never leaves by itself.
            let stays = (random >> 40).is_multiple_of(4);
            let waiter = Waiter::new(None);
            stage.role.join(&waiter, &stage.poller);
            let began = Instant::now();
            while stays && !waiter.is_polling() {
                thread::park_timeout(PATIENCE);
                assert!(began.elapsed() < PATIENCE, "followers without a leader");
            }
            // Others may promote it at any time until it has left, so this is looked at once.
            if waiter.is_polling() {
                let before = stage.leaders.fetch_add(1, Ordering::SeqCst);
                assert_eq!(before, 0, "two lead");
                if (random >> 44).is_multiple_of(3) {
                    thread::yield_now();
                }
                stage.leaders.fetch_sub(1, Ordering::SeqCst);
            }
            stage.role.leave(&waiter);
        }
        stage.callers_left.fetch_sub(1, Ordering::SeqCst);
    }

    /// Rather than by loom, which would need every lock and descriptor of the poller replaced: many
    /// seeded rounds of callers that join, follow, lead and leave beside a loop thread.
    #[test]
    fn one_leads_and_nobody_is_left_alone() {
        let stage = Arc::new(Stage {
            role: PollRole::default(),
            poller: Poller::new().expect("descriptors"),
            leaders: AtomicUsize::new(0),
            callers_left: AtomicUsize::new(CALLERS),
        });
        let polled = Arc::new(AtomicBool::new(false));
        let in_loop = {
            let (stage, polled) = (Arc::clone(&stage), Arc::clone(&polled));
            thread::spawn(move || {
                loop {
                    match stage.role.stand_by() {
                        Turn::Close => return,
                        Turn::Errand => {}
                        Turn::Poll => {
                            if stage.callers_left.load(Ordering::SeqCst) == 0 {
                                polled.store(true, Ordering::SeqCst);
                            }
                            stage.poller.wait_in_loop().expect("a healthy poller");
                        }
                    }
                }
            })
        };
        let callers: Vec<_> = (0..CALLERS)
            .map(|seed| {
                let stage = Arc::clone(&stage);
                thread::spawn(move || call(&stage, seed))
            })
            .collect();
        for caller in callers {
            caller.join().expect("no panic");
        }
        // With nobody else there, the loop thread takes the role again.
        let began = Instant::now();
        while !polled.load(Ordering::SeqCst) {
            assert!(began.elapsed() < PATIENCE, "nobody polls");
            thread::yield_now();
        }
        stage.role.close(&stage.poller);
        in_loop.join().expect("no panic");
    }
}
