//! Hearing of what others change: `LISTEN`, on a connection of its own.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::watch;

use super::server::Server;

/// How long to wait before listening again.
const PAUSE: Duration = Duration::from_millis(500);

/// Rings the bell when others changed something, and whenever something may have been missed; ends with the store.
pub(super) async fn listen(server: Arc<Server>, me: String, bell: Weak<watch::Sender<u64>>) {
    let ring = || match bell.upgrade() {
        Some(bell) => {
            bell.send_modify(|count| *count += 1);
            true
        }
        None => false,
    };
    loop {
        if let Err(error) = until_broken(&server, &me, &ring).await {
            tracing::debug!(%error, "changes of others are not heard of at the moment");
        }
        // Nothing is heard at the moment: let them look.
        if !ring() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn until_broken(server: &Server, me: &str, ring: &impl Fn() -> bool) -> sqlx::Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(server.options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(&server.channel()).await?;
    if !ring() {
        return Ok(());
    }
    while let Some(notification) = listener.try_recv().await? {
        if notification.payload() != me && !ring() {
            break;
        }
    }
    Ok(())
}
