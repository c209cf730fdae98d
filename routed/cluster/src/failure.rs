//! Why the API server did not do what was asked for, in words for the one who must mend it.

use std::{error::Error as _, fmt, time::Duration};

use kube::core::Status;

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened, and the remedy if there is one.
    pub text: String,
    /// HTTP status; `None`: there was no answer.
    pub code: Option<u16>,
    /// How long the server asks to be left alone.
    pub wait: Option<Duration>,
}

impl Failure {
    /// One without an answer.
    pub(crate) fn silent(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: None, wait: None }
    }

    /// An answer that is none, to a request about `what` (`ippools.slash32.dev`).
    pub(crate) fn answered(what: &str, status: &Status) -> Self {
        let said = if status.message.is_empty() { &status.reason } else { &status.message };
        let remedy = match status.code {
            401 => {
                "; the API server does not know our credentials: is the service account there, and the clock right?"
            }
            403 => "; apply the ClusterRole of the manifest, which allows it",
            404 if what.ends_with(GROUP) => {
                "; is the kind defined? routed crds | kubectl apply --server-side -f -"
            }
            _ => "",
        };
        let wait = status.details.as_ref().map(|details| details.retry_after_seconds);
        Self {
            text: format!("{what}: {} ({}){remedy}", said.trim(), status.code),
            code: Some(status.code),
            wait: wait.filter(|wait| *wait > 0).map(|wait| Duration::from_secs(wait.into())),
        }
    }

    /// What the client makes of a request about `what`.
    pub(crate) fn new(what: &str, error: &kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::answered(what, status);
        }
        // The innermost cause is what an operator can do something about.
        let mut cause = error.source();
        while let Some(next) = cause.and_then(std::error::Error::source) {
            cause = Some(next);
        }
        let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
        let unreadable = matches!(error, kube::Error::SerdeError(_));
        let kind =
            if unreadable { "the answer cannot be read" } else { "no answer from the API server" };
        Self::silent(format!("{what}: {kind}: {cause}"))
    }

    /// What was asked for is older than what the server remembers.
    pub(crate) fn is_expired(&self) -> bool {
        self.code == Some(410)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The API group of our kinds.
const GROUP: &str = "slash32.dev";

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> Status {
        Status::failure(message, "Reason").with_code(code)
    }

    #[test]
    fn the_text_names_what_was_asked_for_and_the_remedy() {
        let text = |what, code, message| Failure::answered(what, &status(code, message)).text;
        let missing = text("ippools.slash32.dev", 404, "404 page not found\n");
        assert_eq!(
            missing,
            "ippools.slash32.dev: 404 page not found (404); is the kind defined? routed crds | \
             kubectl apply --server-side -f -"
        );
        assert!(text("nodes", 403, "nodes is forbidden").contains("ClusterRole of the manifest"));
        assert_eq!(text("nodes", 500, ""), "nodes: Reason (500)");
    }

    #[test]
    fn a_server_that_is_busy_says_how_long() {
        let details = serde_json::from_str(r#"{"retryAfterSeconds": 3}"#).unwrap();
        let busy = status(429, "too many requests").with_details(details);
        assert_eq!(Failure::answered("pods", &busy).wait, Some(Duration::from_secs(3)));
        assert_eq!(Failure::answered("pods", &status(429, "too many")).wait, None);
    }
}
