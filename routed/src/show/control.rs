//! `routed reload`, `routed drain`, `routed stop` and `routed peer …`: asks the running daemon to change something.
//!
//! In: what to change, and the path of the administrator's socket. Out: text for stdout, or an
//! error that says what to do.

use std::{
    fmt::Write as _,
    io,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use plugin::rpc::RpcError;
use serde::Serialize;

use super::{
    Format, ShowError, ask,
    table::{Align, Table},
};
use crate::{
    admin::{PeerAction, ReloadRow, Request, StopMode},
    config::diff::{Change, Effect},
};

/// What a reload came to, or would.
#[derive(Debug, Serialize)]
pub struct ReloadView {
    /// False with `--dry-run`.
    pub applied: bool,
    /// What differs.
    pub changes: Vec<Change>,
    /// What is allowed and perhaps not meant.
    pub warnings: Vec<String>,
    /// What else there is to know.
    pub remarks: Vec<String>,
}

/// Has the daemon read its configuration again. Also gives what belongs on stderr, line by line.
///
/// # Errors
///
/// [`ShowError`].
pub fn reload(
    dry_run: bool,
    format: Format,
    socket: &Path,
) -> Result<(String, Vec<String>), ShowError> {
    let mut view = ReloadView {
        applied: !dry_run,
        changes: Vec::new(),
        warnings: Vec::new(),
        remarks: Vec::new(),
    };
    for row in ask(socket, &Request::Reload { dry_run })? {
        match row {
            ReloadRow::Change(change) => view.changes.push(change),
            ReloadRow::Warning(text) => view.warnings.push(text),
            ReloadRow::Remark(text) => view.remarks.push(text),
        }
    }
    match format {
        Format::Json => Ok((serde_json::to_string_pretty(&view)? + "\n", Vec::new())),
        Format::Table => {
            let warnings = view.warnings.iter().map(|text| format!("warning: {text}"));
            let notes = warnings.chain(view.remarks.iter().cloned()).collect();
            Ok((view.text(), notes))
        }
    }
}

/// Has the daemon do something with a peer's session.
///
/// # Errors
///
/// [`ShowError`].
pub fn peer(name: &str, action: PeerAction, socket: &Path) -> Result<(), ShowError> {
    let request = Request::Peer { peer: name.to_owned(), action };
    ask::<()>(socket, &request).map(drop)
}

/// Has the router drained, or no longer; if `lasting`, after a restart of the daemon as well. Gives what belongs on stderr, line by line.
///
/// # Errors
///
/// [`ShowError`].
pub fn drain(wanted: bool, lasting: bool, socket: &Path) -> Result<Vec<String>, ShowError> {
    ask(socket, &Request::Drain { wanted, lasting })
}

/// Has the daemon end and waits until it has, so long at most. False if it has not.
///
/// # Errors
///
/// [`ShowError`].
pub fn stop(mode: StopMode, patience: Duration, socket: &Path) -> Result<bool, ShowError> {
    match ask::<()>(socket, &Request::Stop(mode)) {
        // It was quicker to end than to answer.
        Err(ShowError::Answer(RpcError::Io(error)))
            if error.kind() == io::ErrorKind::UnexpectedEof => {}
        outcome => drop(outcome?),
    }
    let start = Instant::now();
    // It takes the socket away last of all.
    while UnixStream::connect(socket).is_ok() {
        if start.elapsed() >= patience {
            return Ok(false);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(true)
}

/// Waits until every peer with a session has taken what it is to be told, so long at most; the
/// names of those that have not.
///
/// # Errors
///
/// [`ShowError`].
pub fn told(patience: Duration, socket: &Path) -> Result<Vec<String>, ShowError> {
    let start = Instant::now();
    let mut quiet = false;
    loop {
        let owed: Vec<String> = ask(socket, &Request::Owed)?;
        // Twice: in between, news may be on its way from the RIB to a session.
        if owed.is_empty() && quiet || start.elapsed() >= patience {
            return Ok(owed);
        }
        quiet = owed.is_empty();
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Between two looks at what peers have taken.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl ReloadView {
    /// The table, and what it comes to in a line or two.
    fn text(&self) -> String {
        if self.changes.is_empty() {
            return "no changes\n".to_owned();
        }
        let mut table = Table::new()
            .column("EFFECT", Align::Left)
            .column("SETTING", Align::Left)
            .column("OLD", Align::Left)
            .column("NEW", Align::Left);
        for Change { place, old, new, effect } in &self.changes {
            let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            table.row([effect.to_string(), place.clone(), or_dash(old), or_dash(new)]);
        }
        let mut text = table.to_string();
        let outcome = if self.applied { "applied" } else { "nothing applied: this was a dry run" };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "\n{outcome}");
        if self.changes.iter().any(|change| change.effect == Effect::Restart) {
            let _ = writeln!(
                text,
                "what has the effect restart holds only from the next start of routed on; pods and \
                 their routes outlive a restart"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(place: &str, old: Option<&str>, new: Option<&str>, effect: Effect) -> Change {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Change { place: place.to_owned(), old: owned(old), new: owned(new), effect }
    }

    #[test]
    fn changes_have_a_line_each_and_what_is_left_out_is_said() {
        let mut view = ReloadView {
            applied: true,
            changes: vec![
                change("peers[tor-a].hold_time", Some("90"), Some("9"), Effect::Reset),
                change("peers[tor-b]", None, Some("10.1.2.0 AS external"), Effect::None),
            ],
            warnings: Vec::new(),
            remarks: Vec::new(),
        };
        assert_eq!(
            view.text(),
            "EFFECT  SETTING                 OLD  NEW\n\
             reset   peers[tor-a].hold_time  90   9\n\
             none    peers[tor-b]            -    10.1.2.0 AS external\n\
             \napplied\n"
        );
        view.applied = false;
        view.changes = vec![change("kernel.table", Some("254"), Some("100"), Effect::Restart)];
        let text = view.text();
        assert!(text.contains("nothing applied: this was a dry run"), "{text}");
        assert!(text.contains("only from the next start of routed on"), "{text}");
        view.changes.clear();
        assert_eq!(view.text(), "no changes\n");
    }
}
