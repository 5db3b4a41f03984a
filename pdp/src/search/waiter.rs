//! Whether anybody still waits for a page. Nothing else ends work that is on a thread of its own.

use std::sync::{Arc, Weak};

/// Somebody who waits for a page. It is gone when this is dropped, as with the future of a request
/// whose client has hung up.
#[derive(Debug, Default)]
pub(crate) struct Waiter(Arc<()>);

/// Tells the work whether the waiter is still there.
#[derive(Debug)]
pub(crate) struct Waited(Weak<()>);

impl Waiter {
    pub(crate) fn waited(&self) -> Waited {
        Waited(Arc::downgrade(&self.0))
    }
}

impl Waited {
    pub(super) fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}
