//! The context of what is being done now, for whoever asks others beneath an interface that knows nothing of traces.
//!
//! It is set around a question and read where the question leaves, and nothing is decided by it.

use std::future::Future;

use http::HeaderMap;
use tokio::task::futures::TaskLocalFuture;

use super::TraceContext;

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// Work whose questions belong to a context.
pub fn within<F: Future>(
    context: Option<TraceContext>,
    work: F,
) -> TaskLocalFuture<Option<TraceContext>, F> {
    CURRENT.scope(context, work)
}

/// What the work that is done now belongs to.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// Says to whoever gets these headers what the work that is done now belongs to.
pub fn propagate(headers: &mut HeaderMap) {
    let _ = CURRENT.try_with(|context| {
        if let Some(context) = context {
            context.write(headers);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_within_says_so_and_nothing_else_does() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut sent = HeaderMap::new();
        sent.insert("traceparent", parent.parse().unwrap());
        let said = || {
            let mut headers = HeaderMap::new();
            propagate(&mut headers);
            headers.get("traceparent").cloned()
        };
        assert_eq!(said(), None);
        within(TraceContext::from_headers(&sent), async {
            assert_eq!(said().unwrap(), parent);
            tokio::task::yield_now().await;
            assert_eq!(current().unwrap().span_id(), "b7ad6b7169203331");
            within(None, async { assert_eq!(said(), None) }).await;
        })
        .await;
        assert!(current().is_none());
    }
}
