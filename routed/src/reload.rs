//! Another `routed.toml` while the daemon runs.
//!
//! In: requests to read the file again, by SIGHUP or `routed reload`. Out: what differs from the
//! configuration in force, and, unless only that was asked for, the new one in force.
//!
//! All or nothing: a file with a fault, or an address that cannot be listened on, leaves everything
//! as it is. What needs a restart of the daemon is left out and said to be.

use std::path::PathBuf;

use bgp::session::Cease;
use tokio::sync::{mpsc, oneshot};

use crate::{
    admin::StopMode,
    bmp::Stations,
    config::{
        Config, Invalid, Loaded, Warning,
        diff::{self, Change, Effect},
    },
    drain::Drain,
    node::{self, NodeHandle, Stopped},
    origin::{Origin, Read},
    peering::{Peering, PeeringError},
};

/// The way to ask for a reload; cheap to clone.
#[derive(Clone, Debug)]
pub struct ReloadHandle(mpsc::Sender<Ask>);

/// A request with the place for its answer.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Read the file again.
    Reload { dry_run: bool, answer: oneshot::Sender<Result<Report, ReloadError>> },
    /// Be drained, or no longer.
    Drain {
        wanted: bool,
        /// Also after a restart of the daemon.
        lasting: bool,
        answer: oneshot::Sender<Result<Vec<String>, ReloadError>>,
    },
    /// End.
    Stop { mode: StopMode, answer: oneshot::Sender<Result<(), ReloadError>> },
}

/// What a reload came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file that was read.
    pub file: PathBuf,
    /// What differs from what was in force.
    pub changes: Vec<Change>,
    /// What is allowed in the new file and perhaps not meant.
    pub warnings: Vec<Warning>,
    /// What else an operator should know.
    pub remarks: Vec<String>,
    /// False if it was only asked what would change.
    pub applied: bool,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file has faults.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What it asks for cannot be had.
    #[error(transparent)]
    Peering(#[from] PeeringError),
    /// An operator wants the router back, and its file does not.
    #[error("{} has bgp.drain = true; remove it, then `routed reload`", .0.display())]
    DrainedByFile(PathBuf),
    /// The daemon is going down.
    #[error("the daemon is stopping; nothing is reloaded any more")]
    Stopping,
}

impl From<Stopped> for ReloadError {
    fn from(_: Stopped) -> Self {
        Self::Stopping
    }
}

/// What is running, with the configuration that it runs by.
pub(crate) struct Running {
    origin: Origin,
    /// The one in force: that of the file, but for what needs a restart.
    config: Config,
    peering: Peering,
    stations: Stations,
    node: Option<NodeHandle>,
    drain: Drain,
}

impl ReloadHandle {
    /// A handle, and where its requests arrive.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, arriving) = mpsc::channel(WAITING);
        (Self(asks), arriving)
    }

    /// A handle to a daemon that reloads nothing.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Reads the file again and goes on with it; with `dry_run` only tells what would change.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; then nothing has changed.
    pub async fn reload(&self, dry_run: bool) -> Result<Report, ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Reload { dry_run, answer }, answered).await
    }

    /// Has everything that peers are told marked with GRACEFUL_SHUTDOWN, or no longer
    /// (RFC 8326 §4.1); if `lasting`, after a restart of the daemon as well. Gives what else an operator should know.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; then nothing has changed.
    pub async fn drain(&self, wanted: bool, lasting: bool) -> Result<Vec<String>, ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Drain { wanted, lasting, answer }, answered).await
    }

    /// Has the daemon end; returns when it begins to.
    ///
    /// # Errors
    ///
    /// [`ReloadError::Stopping`] if it does so already.
    pub async fn stop(&self, mode: StopMode) -> Result<(), ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Stop { mode, answer }, answered).await
    }

    async fn ask<T>(
        &self,
        ask: Ask,
        answered: oneshot::Receiver<Result<T, ReloadError>>,
    ) -> Result<T, ReloadError> {
        self.0.send(ask).await.map_err(|_| ReloadError::Stopping)?;
        answered.await.map_err(|_| ReloadError::Stopping)?
    }
}

impl Running {
    pub(crate) const fn new(
        origin: Origin,
        config: Config,
        peering: Peering,
        stations: Stations,
        node: Option<NodeHandle>,
        drain: Drain,
    ) -> Self {
        Self { origin, config, peering, stations, node, drain }
    }

    /// Tells the cluster that the node has no network any more, if it ends so.
    pub(crate) async fn farewell(&self, mode: StopMode) {
        if mode == StopMode::Withdraw {
            self.origin.farewell().await;
        }
    }

    /// Leaves to others what the daemon does for all.
    pub(crate) async fn leave(&self) {
        self.origin.leave().await;
    }

    /// Ends stations and sessions.
    pub(crate) async fn stop(self, mode: StopMode) {
        let cease = match mode {
            StopMode::Graceful => Cease::GracefulStop,
            StopMode::Withdraw => Cease::AdminShutdown(String::new()),
        };
        self.stations.stop().await;
        self.peering.stop(cease).await;
    }

    /// Does what was asked for and answers. Gives how to end, if that was it.
    pub(crate) async fn answer(&mut self, ask: Ask) -> Option<StopMode> {
        // Who asked may have gone.
        match ask {
            Ask::Reload { dry_run, answer } => drop(answer.send(self.reload(dry_run).await)),
            Ask::Drain { wanted, lasting, answer } => {
                drop(answer.send(self.order_drain(wanted, lasting).await));
            }
            Ask::Stop { mode, answer } => {
                drop(answer.send(Ok(())));
                return Some(mode);
            }
        }
        None
    }

    /// The same for a signal, which nobody answers but the log.
    pub(crate) async fn reload_by_signal(&mut self) {
        match self.reload(false).await {
            Ok(Report { file, warnings, .. }) => {
                let file = file.display();
                for Warning { place, caution } in warnings {
                    tracing::warn!("{file}{place}{caution}");
                }
            }
            Err(ReloadError::Invalid(invalid)) => {
                let file = invalid.file.display();
                for fault in &invalid.faults {
                    tracing::error!("{file}{}{}", fault.place, fault.problem);
                }
                let faults = invalid.faults.len();
                tracing::error!(faults, "the configuration is not reloaded; nothing has changed");
            }
            Err(error) => {
                tracing::error!(%error, "the configuration is not reloaded; nothing has changed");
            }
        }
    }

    async fn reload(&mut self, dry_run: bool) -> Result<Report, ReloadError> {
        let Read { loaded: Loaded { mut config, warnings }, text } = self.origin.read()?;
        let drained_by_file = config.speaker.drain;
        self.drain.put_in_force(&mut config);
        let changes = diff::between(&self.config, &config);
        let mut remarks = Vec::new();
        if !dry_run {
            for change in &changes {
                tracing::info!("configuration: {change}");
            }
            let config = diff::without_restart(&self.config, config);
            self.apply(&config, &mut remarks).await?;
            self.config = config;
            self.origin.is_in_force(text);
            self.drain.file_says(drained_by_file);
            let resets = count(&changes, Effect::Reset);
            let restarts = count(&changes, Effect::Restart);
            let changes = changes.len();
            tracing::info!(changes, resets, restarts, "configuration reloaded");
        }
        for remark in &remarks {
            tracing::warn!("{remark}");
        }
        let (file, applied) = (self.origin.file().to_owned(), !dry_run);
        Ok(Report { file, changes, warnings, remarks, applied })
    }

    async fn order_drain(
        &mut self,
        wanted: bool,
        lasting: bool,
    ) -> Result<Vec<String>, ReloadError> {
        if !wanted && self.drain.is_by_file() {
            return Err(ReloadError::DrainedByFile(self.origin.file().to_owned()));
        }
        let mut config = self.config.clone();
        config.speaker.drain = wanted;
        self.peering.apply(&config).await?;
        self.config = config;
        let ordered = if lasting { self.drain.order(wanted) } else { Ok(()) };
        let remark = ordered.err().map(|error| {
            let next = if wanted { "will not be" } else { "will be" };
            format!(
                "the next run of routed {next} drained, since its mark cannot be changed: {error}"
            )
        });
        if wanted {
            tracing::info!("drained: peers are told GRACEFUL_SHUTDOWN with every route");
        } else {
            tracing::info!("no longer drained");
        }
        if let Some(remark) = &remark {
            tracing::warn!("{remark}");
        }
        Ok(remark.into_iter().collect())
    }

    /// What can fail comes first.
    async fn apply(
        &mut self,
        config: &Config,
        remarks: &mut Vec<String>,
    ) -> Result<(), ReloadError> {
        self.peering.apply(config).await?;
        self.stations.apply(config).await;
        let (Some(node), Some(settings)) = (&self.node, node::settings(config)) else {
            return Ok(());
        };
        if self.config.pods == config.pods {
            return Ok(());
        }
        node.reconfigure(settings).await?;
        remarks.extend(node.former_ranges().await?.into_iter().map(|(range, leased)| {
            format!(
                "{range} is no longer in [pods] but pods have {leased} of its addresses: it stays \
                 announced and gets no new pods until those are gone",
            )
        }));
        Ok(())
    }
}

fn count(changes: &[Change], effect: Effect) -> usize {
    changes.iter().filter(|change| change.effect == effect).count()
}

/// Requests that may wait: operators at once, not more than a few.
const WAITING: usize = 4;
