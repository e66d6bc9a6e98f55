//! A lock that cannot be held while Python runs.
//!
//! Any allocation of a Python object may run the garbage collector, that runs code of the program,
//! and that may give up the interpreter's lock: to a thread that then waits for this lock while it
//! holds the interpreter's. So what happens under a lock of this crate is a closure which the
//! compiler lets have no Python token: it must be `Send`, and a token is not.
//!
//! What the compiler does not see is a reference to a Python object that is dropped in there. Hand
//! it out instead.

use std::sync::{Mutex, PoisonError, TryLockError};

/// What several threads change, none of them with the help of Python.
#[derive(Default)]
pub struct Locked<T>(Mutex<T>);

impl<T> Locked<T> {
    pub fn new(value: T) -> Locked<T> {
        Locked(Mutex::new(value))
    }

    /// Does something with it. What is returned is dropped after it is unlocked.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R + Send) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// For the garbage collector, which runs no code while it looks and must not wait: looks at it
    /// unless it is locked.
    pub fn traverse<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        match self.0.try_lock() {
            Ok(value) => Some(look(&value)),
            Err(TryLockError::Poisoned(poisoned)) => Some(look(&poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
