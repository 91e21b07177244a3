//! Memory that follows from what an image holds: one sum for everything that is done with it.
//!
//! A number in an image is bounded where it is read; but many things of a bearable size together may still be too much.
//! So whatever grows with the image (names of a directory, blocks of a journal, staged writes, notes of a check) takes
//! its bytes from a [`Budget`] first and gives them back when it goes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that a caller grants who says nothing: every sound image of a machine is worked on in a part of them, and any
/// machine has them.
pub const DEFAULT_MEMORY: u64 = 256 << 20;

/// A sum of bytes that may be held at a time. Cloning it shares it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: u64,
    used: AtomicU64,
}

impl Default for Budget {
    /// [`DEFAULT_MEMORY`], shared with nobody yet.
    fn default() -> Self {
        Self::new(DEFAULT_MEMORY)
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Account { limit, used: AtomicU64::new(0) }))
    }

    /// Bytes that may be held at a time.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes that are held now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Nothing yet, to grow: `what` needs the memory, in words for a message.
    pub fn hold(&self, what: &'static str) -> Held {
        Held { budget: self.clone(), what, bytes: 0 }
    }

    /// Takes `bytes` for `what`.
    pub fn take(&self, what: &'static str, bytes: u64) -> Result<Held, OutOfBudget> {
        let mut held = self.hold(what);
        held.grow(bytes)?;
        Ok(held)
    }
}

/// Bytes of a budget, given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    what: &'static str,
    bytes: u64,
}

impl Held {
    /// Takes so many bytes more, or none of them.
    pub fn grow(&mut self, bytes: u64) -> Result<(), OutOfBudget> {
        let limit = self.budget.limit();
        let add = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        match self.budget.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(used) => {
                let elsewhere = used.saturating_sub(self.bytes);
                Err(OutOfBudget { what: self.what, asked: self.bytes.saturating_add(bytes), elsewhere, limit })
            }
        }
    }

    /// Holds so many bytes, be that more or fewer than now; what cannot be had leaves it as it is.
    pub fn set(&mut self, bytes: u64) -> Result<(), OutOfBudget> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.budget.0.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
                self.bytes = bytes;
                Ok(())
            }
        }
    }

    /// Nothing yet of the same budget, to grow for something else.
    pub fn beside(&self, what: &'static str) -> Self {
        self.budget.hold(what)
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Something needs more memory than is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfBudget {
    what: &'static str,
    asked: u64,
    elsewhere: u64,
    limit: u64,
}

impl OutOfBudget {
    /// Bytes that were asked for, with what the same thing held already.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Bytes that are granted to everything together.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

impl fmt::Display for OutOfBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, asked, elsewhere, limit } = self;
        write!(f, "{what} would take {asked} bytes of memory or more, of {limit} that are granted")?;
        if *elsewhere > 0 { write!(f, " and {elsewhere} that are in use") } else { Ok(()) }
    }
}

impl std::error::Error for OutOfBudget {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_there_again() {
        let budget = Budget::new(100);
        let mut first = budget.take("the first", 60).unwrap();
        let shared = budget.clone();
        let error = shared.take("the second", 50).unwrap_err();
        let text = "the second would take 50 bytes of memory or more, of 100 that are granted and 60 that are in use";
        assert_eq!(error.to_string(), text);
        assert_eq!((error.asked(), error.limit()), (50, 100));
        let second = shared.take("the second", 40).unwrap();
        assert!(first.grow(1).is_err());
        drop(second);
        first.grow(40).unwrap();
        let text = "the first would take 101 bytes of memory or more, of 100 that are granted";
        assert_eq!(first.grow(1).unwrap_err().to_string(), text);
        assert_eq!(first.grow(u64::MAX).unwrap_err().asked(), u64::MAX);
        assert_eq!((first.bytes(), budget.used()), (100, 100));
        first.set(30).unwrap();
        assert!(first.set(101).is_err());
        assert_eq!((first.bytes(), budget.used()), (30, 30));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn threads_together_never_hold_more_than_there_is() {
        let budget = Budget::new(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let held = budget.take("a thread", 300);
                        assert!(budget.used() <= 1000);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
