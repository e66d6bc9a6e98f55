//! The loop thread: it polls when no caller does, and starts the process that workers are forked from.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lineshaft_core::Time;

use crate::poll_role::Turn;
use crate::shared::{Shared, text_of};
use crate::{process, signals};

impl Shared {
    /// What the loop thread does until the engine closes or breaks.
    pub(crate) fn run_loop(&self) {
        signals::block_all();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.take_turns())) {
            self.break_down(text_of(&*panic));
        }
    }

    fn take_turns(&self) {
        while !self.is_poisoned() {
            match self.role.stand_by() {
                Turn::Close => return,
                Turn::Errand => self.start_zygote(),
                Turn::Poll => {
                    if let Err(error) = self.poller.wait_in_loop() {
                        self.break_down(&error.to_string());
                    } else if self.role.is_loop() {
                        self.poll(Some(Time(0)));
                        if !self.role.is_loop() {
                            // A caller took the role meanwhile, and fell asleep: this look may have
                            // taken the wake-up that was meant for it.
                            self.poller.wake();
                        }
                    }
                }
            }
        }
    }

    /// Starts the zygote if one is wanted. Only on the loop thread: the kernel ends a process that
    /// asked to die with its parent when the *thread* that started it ends.
    fn start_zygote(&self) {
        let wanted = self.with_state(|state| state.processes.zygote_to_start());
        let Some((number, socket)) = wanted.flatten() else {
            return;
        };
        let started = match &self.options.zygote {
            Some(program) => process::start(program, socket),
            None => Err(io::Error::other(
                "this engine was set up without worker processes",
            )),
        };
        let mut unknown = None;
        match started {
            Ok(child) => {
                unknown = Some(child);
                self.with_state(|state| state.processes.zygote_started(number, &mut unknown));
            }
            Err(error) => {
                self.with_state(|state| state.zygote_not_started(self, number, &error));
            }
        }
        // It ended, or said what makes no sense, before we had noted its process, or the engine broke.
        if let Some(child) = unknown {
            drop(process::Dying::kill(child));
        }
    }
}
