//! Requests to the API server that are answered within a time, or have failed.

use std::time::Duration;

use kube::{Client, Error, core::request};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::Failure;

/// The answer to a request about `what`, as in `ipblocks.slash32.dev`.
pub(crate) async fn ask<T: DeserializeOwned>(
    client: &Client,
    what: &str,
    patience: Duration,
    request: Result<http::Request<Vec<u8>>, request::Error>,
) -> Result<T, Failure> {
    let asked = async { client.request::<T>(request.map_err(Error::BuildRequest)?).await };
    in_time(what, patience, asked).await
}

/// The answer to whatever is asked.
pub(crate) async fn in_time<T>(
    what: &str,
    patience: Duration,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match timeout(patience, asked).await {
        Ok(answer) => answer.map_err(|error| Failure::new(what, &error)),
        Err(_) => {
            let seconds = patience.as_secs();
            let text = format!("{what}: no answer from the API server for {seconds} s");
            Err(Failure::silent(text))
        }
    }
}
