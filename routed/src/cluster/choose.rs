//! Which addresses a pod gets.
//!
//! In: the pod as its runtime names it. Out: pools and addresses, from what is known of the cluster: no
//! question goes to the API server. Where the pod itself is not known yet, it is waited for a little, for
//! the runtime may hear of it sooner than we do.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use plugin::cni::{Error, code};
use routed_cluster::{Choice, Known, choose};
use routed_core::ipam::Wish;
use tokio::time::timeout;

use super::Cluster;
use crate::cni::{self, Chooser, Promise};

/// The node's cluster as the one that says which addresses pods get.
pub(crate) fn chooser(cluster: &Cluster) -> Arc<dyn Chooser> {
    Arc::new(cluster.clone())
}

impl Chooser for Cluster {
    fn choose<'a>(
        &'a self,
        args: &'a BTreeMap<String, String>,
    ) -> Promise<'a, Result<Wish, Error>> {
        Box::pin(self.wish(args))
    }

    fn used(&self) {
        self.0.used.notify_one();
    }

    fn more(&self, until: Instant) -> Promise<'_, bool> {
        Box::pin(async move {
            let mut blocks = self.0.blocks.clone();
            let before = blocks.borrow_and_update().leasable.len();
            self.used();
            let more = blocks.wait_for(|blocks| blocks.leasable.len() > before);
            if timeout(until.saturating_duration_since(Instant::now()), more).await.is_err() {
                return false;
            }
            // The reload that brings it to the pods comes a moment later.
            tokio::time::sleep(super::SETTLE * 2).await;
            true
        })
    }
}

impl Cluster {
    async fn wish(&self, args: &BTreeMap<String, String>) -> Result<Wish, Error> {
        let argument =
            |key: &str| args.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let (Some(namespace), Some(name)) =
            (argument("K8S_POD_NAMESPACE"), argument("K8S_POD_NAME"))
        else {
            return self.of(None, true);
        };
        let (pod, uid) = (format!("{namespace}/{name}"), argument("K8S_POD_UID"));
        let is_known = |known: &Known| {
            let objects = known.objects.as_ref();
            let pod = objects.and_then(|objects| objects.pods.get(&pod));
            pod.is_some_and(|pod| uid.is_none_or(|uid| pod.has_uid(uid)))
        };
        let mut known = self.0.known.clone();
        // Who is not watched is not waited for.
        let settled = known.wait_for(|known| is_known(known) || known.connection.since.is_none());
        match timeout(WAIT, settled).await {
            Ok(Ok(known)) if !is_known(&known) => tracing::warn!(
                pod,
                "the API server is not watched and the pod is not known; it gets an address by what \
                 is known of its namespace"
            ),
            Ok(_) => {}
            Err(_) => {
                let seconds = WAIT.as_secs();
                let details = format!(
                    "the pod {pod} (uid {}) has not come from the API server within {seconds} s; \
                     it is tried again",
                    uid.unwrap_or("not given")
                );
                return Err(cni::error(code::TRY_AGAIN, "the pod is not known yet", &details));
            }
        }
        let is_known = is_known(&self.0.known.borrow());
        self.of(Some(&pod), is_known)
    }

    /// Of a pod, or of what is none and gets what any may have.
    fn of(&self, pod: Option<&str>, is_known: bool) -> Result<Wish, Error> {
        let known = self.0.known.borrow();
        let Some(objects) = &known.objects else { return Ok(Wish::default()) };
        let blocks = self.0.blocks.borrow().leasable.clone();
        let choice = choose(objects, &self.0.node, &blocks, pod.unwrap_or("/")).map_err(|why| {
            cni::error(code::ADDRESS_REFUSED, "the pod's addresses cannot be had", &why)
        })?;
        let Choice { pools, families, addresses } = choice;
        let is_ours = |address: &IpAddr| blocks.iter().any(|block| block.prefix.contains(*address));
        if !is_known && let Some(address) = addresses.iter().find(|address| !is_ours(address)) {
            // Its name says that the address is its own; but it may have been replaced on another node.
            let details = format!(
                "{address} is kept for {}, but the API server does not say that this pod is to run here; \
                 it is tried again",
                pod.unwrap_or_default()
            );
            return Err(cni::error(code::TRY_AGAIN, "the pod is not known yet", &details));
        }
        Ok(Wish { pools, families, addresses, delegated: false })
    }
}

/// How long a pod's object is waited for.
const WAIT: Duration = Duration::from_secs(2);
