//! One question for many waiters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use service_kit::traces;
use tokio::sync::oneshot;

/// Questions that are being asked. A question is identified by its hash and by what had been heard
/// when it was first asked: who comes after a change does not get an answer from before it.
#[derive(Debug)]
pub(crate) struct Flights<T: Clone>(Rc<RefCell<Asked<T>>>);

type Asked<T> = HashMap<Flight, Shared<oneshot::Receiver<T>>>;

/// The hash of a question, and two counts of what was heard: what voids all, and what voids some.
pub(crate) type Flight = (u128, u64, u64);

impl<T: Clone> Default for Flights<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T: Clone + 'static> Flights<T> {
    /// The answer to a question, asked by `ask` if nobody is asking it. None where the asking
    /// ended without an answer.
    ///
    /// The asking is a task of its own: a waiter that goes away takes nothing from the others.
    pub(crate) async fn join<F>(&self, key: Flight, ask: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + 'static,
    {
        let asked = self.0.borrow().get(&key).cloned();
        let answer = match asked {
            Some(answer) => answer,
            None => self.launch(key, ask()),
        };
        answer.await.ok()
    }

    fn launch(
        &self,
        key: Flight,
        question: impl Future<Output = T> + 'static,
    ) -> Shared<oneshot::Receiver<T>> {
        let (sender, receiver) = oneshot::channel();
        let receiver = receiver.shared();
        self.0.borrow_mut().insert(key, receiver.clone());
        let asked = self.0.clone();
        // It is asked for whoever asked first.
        let question = traces::within(traces::current(), question);
        tokio::task::spawn_local(async move {
            let answer = question.await;
            asked.borrow_mut().remove(&key);
            let _ = sender.send(answer);
        });
        receiver
    }
}
