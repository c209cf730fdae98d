//! Where connections come in: the listening sockets, with the keys that they know.
//!
//! In: the addresses to listen on and the MD5 keys of peers. Out: a listener for each address,
//! changed as a whole or not at all. Knows nothing of sessions: those that came in through a
//! socket go on when it is closed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
};

use bgp::prefix::Prefix;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::keyring::{Keyring, Keys, Whereabouts};

use crate::{
    config::Config,
    peering::{
        listener::{Doors, Listener},
        socket::{self, SocketError},
    },
};

/// The listening sockets. Dropping them closes all.
pub(in crate::peering) struct Entrances {
    open: BTreeMap<SocketAddr, Entrance>,
    keyring: Keyring,
    /// Those of the keyring that the sockets know.
    keys: Keys,
    doors: watch::Receiver<Arc<Doors>>,
}

struct Entrance {
    socket: Arc<TcpListener>,
    /// The listener, once it serves.
    task: JoinSet<()>,
}

impl Entrances {
    /// Opens every listening socket of a configuration; connections wait until [`Self::serve`].
    ///
    /// # Errors
    ///
    /// [`SocketError`] of the first that cannot be had; then none is left open.
    pub(in crate::peering) fn new(
        config: &Config,
        doors: watch::Receiver<Arc<Doors>>,
    ) -> Result<Self, SocketError> {
        let keyring = Keyring::default().change(config);
        let keys = keyring.keys();
        let entrance = |address: &SocketAddr| Ok((*address, Entrance::open(*address, &keys)?));
        let open = config.speaker.listen.iter().map(entrance).collect::<Result<_, _>>()?;
        Ok(Self { open, keyring, keys, doors })
    }

    /// Takes connections from now on.
    pub(super) fn serve(&mut self) {
        for entrance in self.open.values_mut().filter(|entrance| entrance.task.is_empty()) {
            let listener = Listener::new(Arc::clone(&entrance.socket), self.doors.clone());
            entrance.task.spawn(listener.run());
        }
    }

    /// Listens on what another configuration says, with its keys. Sockets that it has too stay
    /// open throughout.
    ///
    /// # Errors
    ///
    /// [`SocketError`] of what cannot be had; then everything is as it was before.
    pub(super) async fn change(&mut self, config: &Config) -> Result<(), SocketError> {
        let keyring = self.keyring.change(config);
        let keys = keyring.keys();
        let wanted: BTreeSet<_> = config.speaker.listen.iter().copied().collect();
        let mut opened = BTreeMap::new();
        let mut blocked = Vec::new();
        for address in wanted.iter().filter(|address| !self.open.contains_key(address)) {
            match Entrance::open(*address, &keys) {
                Ok(entrance) => drop(opened.insert(*address, entrance)),
                // Perhaps by one that is to be closed, such as [::]:179 for [fd00::1]:179.
                Err(error) if is_in_use(&error) => blocked.push(*address),
                Err(error) => return Err(error),
            }
        }
        self.set_keys(&self.keys, &keys)?;
        let gone: Vec<_> =
            self.open.keys().copied().filter(|address| !wanted.contains(address)).collect();
        for address in &gone {
            self.close(*address).await;
        }
        let outcome = blocked.into_iter().try_for_each(|address| {
            opened.insert(address, Entrance::open(address, &keys)?);
            Ok(())
        });
        match outcome {
            Ok(()) => {
                self.open.append(&mut opened);
                (self.keyring, self.keys) = (keyring, keys);
            }
            Err(_) => {
                drop(opened);
                self.reopen(&gone, &keys);
            }
        }
        self.serve();
        outcome
    }

    /// An unnumbered peer was found or lost: the sockets learn its key, or forget it.
    ///
    /// # Errors
    ///
    /// [`SocketError`] if they do not; it is tried again with the next change.
    pub(super) fn learn(&mut self, whereabouts: Whereabouts) -> Result<(), SocketError> {
        self.keyring.learn(whereabouts);
        let keys = self.keyring.keys();
        self.set_keys(&self.keys, &keys)?;
        self.keys = keys;
        Ok(())
    }

    /// Takes no connections any more.
    pub(super) async fn shutdown(&mut self) {
        for entrance in self.open.values_mut() {
            entrance.task.shutdown().await;
        }
        self.open.clear();
    }

    async fn close(&mut self, address: SocketAddr) {
        if let Some(mut entrance) = self.open.remove(&address) {
            // The listener holds the socket as well.
            entrance.task.shutdown().await;
        }
    }

    /// Undoes a change that could not be finished: `gone` were closed, and the others have `keys`.
    fn reopen(&mut self, gone: &[SocketAddr], keys: &Keys) {
        if let Err(error) = self.set_keys(keys, &self.keys) {
            tracing::error!(%error, "the former TCP MD5 keys cannot be set again; reload once more");
        }
        for address in gone {
            match Entrance::open(*address, &self.keys) {
                Ok(entrance) => drop(self.open.insert(*address, entrance)),
                Err(error) => tracing::error!(%error, "the former address cannot be had again"),
            }
        }
    }

    /// Changes the keys of every open socket, or of none.
    fn set_keys(&self, old: &Keys, new: &Keys) -> Result<(), SocketError> {
        let all: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
        let changed: Vec<_> = all.into_iter().filter(|key| old.get(key) != new.get(key)).collect();
        let set = |whose: &Prefix, before: &Keys, keys: &Keys| {
            let fits = |address: &SocketAddr| address.is_ipv4() == whose.addr().is_ipv4();
            let mut sockets = self.open.iter().filter(|(address, _)| fits(address));
            sockets.try_for_each(|(_, entrance)| {
                socket::change_key(&entrance.socket, *whose, before.get(whose), keys.get(whose))
            })
        };
        for (done, whose) in changed.iter().enumerate() {
            if let Err(error) = set(whose, old, new) {
                for whose in &changed[..=done] {
                    // What could not be set cannot always be unset; the first error says why.
                    let _ = set(whose, new, old);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Entrance {
    fn open(address: SocketAddr, keys: &Keys) -> Result<Self, SocketError> {
        let keys = keys.iter().map(|(whose, key)| (*whose, key));
        let socket = Arc::new(socket::listen(address, keys)?);
        Ok(Self { socket, task: JoinSet::new() })
    }
}

fn is_in_use(error: &SocketError) -> bool {
    matches!(error, SocketError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}
