//! The connections to the server: one that everybody shares, and one for each follower that is
//! waiting. Both come back by themselves; no verb waits longer than the timeout.

use std::fmt::{self, Debug};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisError, RedisResult, ServerErrorKind, TlsCertificates,
};
use tokio::time::timeout;

use crate::StoreError;

/// How to reach one server, and the connections to it that are open.
pub(super) struct Link {
    client: Client,
    timeout: Duration,
    shared: Arc<Mutex<Option<Shared>>>,
    /// Held by whoever connects: many verbs that find no connection make one, not many.
    connecting: tokio::sync::Mutex<()>,
    connections: AtomicU64,
    /// Connections for waiting on which nobody waits right now.
    idle: Mutex<Vec<MultiplexedConnection>>,
}

#[derive(Clone)]
struct Shared {
    number: u64,
    connection: MultiplexedConnection,
}

impl Link {
    pub(super) fn new(
        url: &str,
        ca: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        // SECURITY: the library's error is left out, it may quote the URL and its password.
        let client = client(url, ca).map_err(|_| StoreError::Internal {
            message: "`store.redis` has a URL or an authority that cannot be used".to_owned(),
            source: None,
        })?;
        Ok(Self {
            client,
            timeout,
            shared: Arc::default(),
            connecting: tokio::sync::Mutex::default(),
            connections: AtomicU64::new(0),
            idle: Mutex::default(),
        })
    }

    /// Asks on the shared connection, once: a write that failed half way is never repeated
    /// here, since it may have happened.
    pub(super) async fn run<T, Asking>(
        &self,
        ask: impl FnOnce(MultiplexedConnection) -> Asking,
    ) -> Result<T, StoreError>
    where
        Asking: Future<Output = RedisResult<T>>,
    {
        let mut used = None;
        let attempt = async {
            let shared = self.shared().await?;
            used = Some(shared.number);
            ask(shared.connection).await
        };
        let outcome = timeout(self.timeout, attempt).await;
        // After a timeout the connection may be dead without knowing it: the next verb makes a
        // new one. Verbs under way on the old one still get their answers.
        let suspect = match &outcome {
            Ok(Ok(_)) => false,
            Ok(Err(error)) => error.is_unrecoverable_error() || is_elsewhere(error),
            Err(_) => true,
        };
        if suspect && let Some(number) = used {
            forget(&self.shared, number);
        }
        match outcome {
            Ok(result) => result.map_err(store_error),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// Waits until the stream has something after an id, or until the time is over.
    pub(super) async fn wait_for_entry(
        &self,
        stream: &str,
        after: &str,
        wait: Duration,
    ) -> Result<(), StoreError> {
        let mut command = redis::cmd("XREAD");
        // No `BLOCK 0`: that is for ever.
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        command.arg("COUNT").arg(1).arg("BLOCK").arg(millis);
        command.arg("STREAMS").arg(stream).arg(after);
        let limit = wait.saturating_add(self.timeout);
        loop {
            let kept = lock(&self.idle).pop();
            let is_new = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => timeout(self.timeout, self.connect(None))
                    .await
                    .map_err(|_| StoreError::Timeout)?
                    .map_err(store_error)?,
            };
            match timeout(limit, command.query_async::<redis::Value>(&mut connection)).await {
                Ok(Ok(_)) => {
                    lock(&self.idle).push(connection);
                    return Ok(());
                }
                // One that was kept may have died meanwhile; they probably all have.
                Ok(Err(error)) if !is_new && error.is_unrecoverable_error() => {
                    lock(&self.idle).clear();
                }
                Ok(Err(error)) => return Err(store_error(error)),
                Err(_) => return Err(StoreError::Timeout),
            }
        }
    }

    async fn shared(&self) -> RedisResult<Shared> {
        if let Some(shared) = lock(&self.shared).clone() {
            return Ok(shared);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(shared) = lock(&self.shared).clone() {
            return Ok(shared);
        }
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let connection = self.connect(Some(number)).await?;
        let shared = Shared { number, connection };
        *lock(&self.shared) = Some(shared.clone());
        Ok(shared)
    }

    /// With a number: forgets the shared connection of that number as soon as it breaks, so
    /// that the next verb does not have to find out.
    async fn connect(&self, number: Option<u64>) -> RedisResult<MultiplexedConnection> {
        // `timeout` around each verb is the only one: it knows how long is long for which verb.
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None);
        if let Some(number) = number {
            let shared = Arc::downgrade(&self.shared);
            config = config.set_push_sender(move |push: PushInfo| -> Result<(), ()> {
                if push.kind == PushKind::Disconnection
                    && let Some(shared) = shared.upgrade()
                {
                    forget(&shared, number);
                }
                Ok(())
            });
        }
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

impl Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Link")
            .field("addr", &self.client.get_connection_info().addr())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// RESP3, because there the library says when a connection breaks.
fn client(url: &str, ca: Option<Vec<u8>>) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    let info = info
        .set_redis_settings(settings)
        .set_tcp_settings(TcpSettings::default().set_nodelay(true));
    if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        return Client::open(info);
    }
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race against somebody who installs the same one is fine.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    }
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: ca,
    };
    Client::build_with_tls(info, certificates)
}

fn forget(shared: &Mutex<Option<Shared>>, number: u64) {
    let mut shared = lock(shared);
    if shared
        .as_ref()
        .is_some_and(|shared| shared.number == number)
    {
        *shared = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server that answers, but no longer is the one that takes writes.
fn is_elsewhere(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    )
}

/// SECURITY: errors about an answer of the wrong shape quote the answer, which is a record;
/// they are passed on without their text.
fn store_error(error: RedisError) -> StoreError {
    if error.is_timeout() {
        return StoreError::Timeout;
    }
    let code_may_pass = matches!(
        error.code(),
        Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY" | "UNBLOCKED")
    );
    match error.kind() {
        _ if code_may_pass => StoreError::Unavailable(Some(error.into())),
        ErrorKind::Io
        | ErrorKind::Client
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => StoreError::Unavailable(Some(error.into())),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Internal {
            message: "redis gave an answer of the wrong shape".to_owned(),
            source: None,
        },
        ErrorKind::AuthenticationFailed => StoreError::Internal {
            message: "redis refused the credentials".to_owned(),
            source: Some(error.into()),
        },
        _ => StoreError::Internal {
            message: "redis refused a command".to_owned(),
            source: Some(error.into()),
        },
    }
}
