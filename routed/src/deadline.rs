//! Waiting for a deadline that there may not be, as tasks do beside other things.

use std::time::Instant;

/// Sleeps until then; forever if there is no deadline. May be dropped at any point.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
