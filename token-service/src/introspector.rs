//! [`TokenIntrospector`] in the same process, acting as one configured credential.

use std::sync::Arc;

use async_trait::async_trait;
use oauth::{Introspection, IntrospectionError, OpaqueToken, ResourceId, TokenIntrospector};
use service_kit::traces;

use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::phantom::{self, Resolved};

/// Acts as `server`, and can do no more than it could over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct LocalIntrospector {
    pub(crate) core: Arc<Core>,
    pub(crate) server: String,
}

#[async_trait]
impl TokenIntrospector for LocalIntrospector {
    async fn introspect(
        &self,
        token: &OpaqueToken,
        resource: &ResourceId,
    ) -> Result<Introspection, IntrospectionError> {
        let started = tokio::time::Instant::now();
        let span = traces::current().and_then(|within| within.part("introspect"));
        let within = span.as_ref().map(|span| span.context().clone());
        let within = within.or_else(traces::current);
        let answer = traces::within(within, self.answer(token, resource)).await;
        self.core.meter.introspected(started.elapsed());
        let outcome = match &answer {
            Ok(Introspection::Active(_)) => "active",
            Ok(Introspection::Inactive) => "inactive",
            Err(_) => "error",
        };
        self.core.meter.request("introspect_local", outcome);
        if let Some(mut span) = span {
            span.set("cedargate.outcome", outcome);
            if answer.is_err() {
                span.fail("unavailable");
            }
            span.finish();
        }
        answer
    }
}

impl LocalIntrospector {
    async fn answer(
        &self,
        token: &OpaqueToken,
        resource: &ResourceId,
    ) -> Result<Introspection, IntrospectionError> {
        let core = &*self.core;
        let registry = core.registry();
        let id = resource.as_str();
        let resource = registry
            .resource_server(&self.server)
            .filter(|server| server.fronts(id))
            .and_then(|_| registry.resource(id))
            .ok_or_else(|| IntrospectionError::Rejected {
                message: format!("`{}` may not ask about `{id}`", self.server),
            })?;
        match phantom::resolve(core, &registry, token.reveal(), resource).await? {
            Resolved::Live(live) => {
                let swapped = phantom::swap(core, &live, resource)?;
                Ok(Introspection::Active(Arc::new(swapped)))
            }
            Resolved::Inactive(reason) => {
                audit!(
                    "inactive",
                    caller = self.server,
                    resource = id,
                    reason = reason
                );
                Ok(Introspection::Inactive)
            }
        }
    }
}

impl From<Trouble> for IntrospectionError {
    fn from(trouble: Trouble) -> Self {
        if trouble.is_outage() {
            Self::Unavailable(Some(Box::new(trouble)))
        } else {
            Self::Internal {
                message: trouble.chain(),
            }
        }
    }
}
