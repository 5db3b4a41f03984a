//! What has come already of a body, mostly of one whose length nobody has said: looked at before anything goes to the
//! upstream, so that a message that is bad and short never begins there.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use http_body::Body as _;

use super::{BodyError, RequestBody};

/// What is held back at most; more of it is a stream.
const ENOUGH: usize = 64 << 10;
/// So often whoever reads the connection gets to go on, and has read nothing more when there is nothing.
const ROUNDS: usize = 2;

impl RequestBody {
    /// Takes in what is there, without waiting for more. Where that is all of it, its length is known then, and it
    /// can be sent twice. `even_known`: also where its length was said.
    pub(crate) async fn gather(&mut self, even_known: bool) -> Result<(), BodyError> {
        let is_known = self.size_hint().exact().is_some();
        if self.is_end_stream() || (is_known && !even_known) {
            return Ok(());
        }
        self.take().await
    }

    /// The same of a body whose length was said, if that is no more than `most`: for whoever wants a copy.
    pub(crate) async fn gather_short(&mut self, most: usize) -> Result<(), BodyError> {
        if self.is_within(most) && !self.is_at_hand() {
            return self.take().await;
        }
        Ok(())
    }

    /// Whether its length is known, and no more than that.
    pub(crate) fn is_within(&self, most: usize) -> bool {
        let length = self.size_hint().exact();
        length.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length <= most))
    }

    async fn take(&mut self) -> Result<(), BodyError> {
        let (mut early, mut gathered, mut rounds) = (VecDeque::new(), 0, 0);
        while gathered < ENOUGH && rounds < ROUNDS {
            let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut *self).poll_frame(context)));
            match polled.await {
                Poll::Ready(None) => break,
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame?.into_data() {
                        gathered += data.len();
                        early.push_back(data);
                    }
                    rounds = 0;
                }
                Poll::Pending => {
                    rounds += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        self.0.early = early;
        Ok(())
    }
}
