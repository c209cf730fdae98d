//! What the leader asks of the API server: listings, a page in memory at a time, and changes of exactly
//! what it saw.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Client,
    api::{DeleteParams, GetParams, Preconditions},
    core::Request,
};
use routed_api::BGPNodeStatusStatus;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{lease::MANAGER, orphans::Block};
use crate::{
    Failure,
    request::ask,
    watch::{Page, page_params},
};

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    node: String,
}

/// A kind of ours that people write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) kind: &'static str,
    plural: &'static str,
}

/// Those that have a condition `Accepted`.
pub(super) const KINDS: [Kind; 5] = [
    Kind { kind: "IPPool", plural: "ippools" },
    Kind { kind: "IPReservation", plural: "ipreservations" },
    Kind { kind: "BGPConfiguration", plural: "bgpconfigurations" },
    Kind { kind: "BGPPeer", plural: "bgppeers" },
    Kind { kind: "BGPPolicy", plural: "bgppolicies" },
];

/// `metadata`, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) resource_version: String,
    pub(super) generation: Option<i64>,
}

/// An object with conditions.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Judged {
    pub(super) metadata: Meta,
    #[serde(default)]
    pub(super) status: JudgedStatus,
}

/// Its status; sessions are a BGPPeer's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JudgedStatus {
    pub(super) sessions: Option<i32>,
    pub(super) established: Option<i32>,
    pub(super) conditions: Vec<Condition>,
}

/// A claim.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawBlock {
    pub(super) metadata: Meta,
    pub(super) spec: BlockSpec,
    #[serde(default)]
    pub(super) status: JudgedStatus,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct BlockSpec {
    pub(super) pool: String,
    pub(super) node: String,
}

impl RawBlock {
    /// The claim, and its conditions.
    pub(super) fn into_block(self) -> (Block, Vec<Condition>) {
        let orphaned = self.status.conditions.iter();
        let orphaned = orphaned.filter(|it| it.type_ == ORPHANED && it.status == "True");
        let orphaned = orphaned.map(|condition| condition.reason.clone()).next();
        let Meta { name, uid, resource_version: version, .. } = self.metadata;
        let BlockSpec { pool, node } = self.spec;
        (Block { name, uid, version, node, pool, orphaned }, self.status.conditions)
    }
}

/// What a node says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct RawReport {
    pub(super) metadata: Meta,
    #[serde(default)]
    pub(super) status: BGPNodeStatusStatus,
}

/// An object of which the name alone matters.
#[derive(Debug, Deserialize)]
struct Named {
    metadata: Meta,
}

/// An answer of which nothing is read.
#[derive(Debug, Deserialize)]
struct Anything {}

impl Api {
    pub(super) fn new(client: Client, node: &str) -> Self {
        Self { client, node: node.to_owned() }
    }

    /// Every claim.
    pub(super) async fn blocks(&self, mut take: impl FnMut(RawBlock)) -> Result<(), Failure> {
        self.pages("ipblocks.slash32.dev", &path("ipblocks"), false, &mut take).await
    }

    /// What every node says of itself.
    pub(super) async fn reports(&self, mut take: impl FnMut(RawReport)) -> Result<(), Failure> {
        let name = "bgpnodestatuses.slash32.dev";
        self.pages(name, &path("bgpnodestatuses"), false, &mut take).await
    }

    /// The names of all nodes.
    pub(super) async fn nodes(&self) -> Result<BTreeSet<String>, Failure> {
        let mut names = BTreeSet::new();
        let mut take = |node: Named| {
            names.insert(node.metadata.name);
        };
        self.pages("nodes", NODES, true, &mut take).await?;
        Ok(names)
    }

    /// Is there no such node? Asked of the API server's own store, not of its memory.
    pub(super) async fn is_gone(&self, node: &str) -> Result<bool, Failure> {
        let get = Request::new(NODES).get(node, &GetParams::default());
        match self.ask::<Anything>("nodes", get).await {
            Ok(_) => Ok(false),
            Err(Failure { code: Some(404), .. }) => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    /// Every object of a kind.
    pub(super) async fn objects(&self, kind: Kind) -> Result<Vec<Judged>, Failure> {
        let mut objects = Vec::new();
        let mut take = |object| objects.push(object);
        self.pages(&name_of(kind.plural), &path(kind.plural), false, &mut take).await?;
        Ok(objects)
    }

    /// Writes a status, if the object still is as it was seen. False if it is not.
    pub(super) async fn write_status(
        &self,
        kind: Kind,
        object: &Meta,
        status: Value,
    ) -> Result<bool, Failure> {
        self.patch_status(
            kind.plural,
            (&object.name, &object.uid, &object.resource_version),
            status,
        )
        .await
    }

    /// Writes the conditions of a block.
    pub(super) async fn write_conditions(
        &self,
        block: &Block,
        conditions: &[Condition],
    ) -> Result<bool, Failure> {
        let Block { name, uid, version, .. } = block;
        self.patch_status("ipblocks", (name, uid, version), json!({"conditions": conditions})).await
    }

    async fn patch_status(
        &self,
        plural: &str,
        (name, uid, version): (&str, &str, &str),
        status: Value,
    ) -> Result<bool, Failure> {
        let patch = json!({
            "metadata": {"uid": uid, "resourceVersion": version}, "status": status,
        });
        let uri = format!("{}/{name}/status?fieldManager={MANAGER}", path(plural));
        let what = format!("{plural}/status.slash32.dev");
        let patched = self.send(&what, http::Method::PATCH, &uri, MERGE, &patch).await;
        unless_changed(patched)
    }

    /// Deletes a claim, if it still is as it was seen. False if it is not.
    pub(super) async fn free(&self, block: &Block) -> Result<bool, Failure> {
        let preconditions = Some(Preconditions {
            uid: Some(block.uid.clone()),
            resource_version: Some(block.version.clone()),
        });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        let delete = Request::new(path("ipblocks")).delete(&block.name, &params);
        let deleted = self.ask::<Anything>("ipblocks.slash32.dev", delete).await;
        unless_changed(deleted)
    }

    /// Makes an event about a claim.
    pub(super) async fn event(
        &self,
        block: &Block,
        reason: &str,
        action: &str,
        note: &str,
    ) -> Result<(), Failure> {
        let wall = Timestamp::now();
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {
                "name": format!("{}.{:x}", block.name, wall.as_nanosecond()), "namespace": "default",
            },
            "eventTime": wall.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            "reportingController": "slash32.dev/routed",
            "reportingInstance": self.node.get(..128).unwrap_or(&self.node),
            "action": action,
            "reason": reason,
            "regarding": {
                "apiVersion": "slash32.dev/v1alpha1", "kind": "IPBlock", "name": block.name,
                "uid": block.uid,
            },
            "type": "Warning",
            "note": note,
        });
        let uri = format!("{EVENTS}?fieldManager={MANAGER}");
        let kind = "application/json";
        self.send("events.events.k8s.io", http::Method::POST, &uri, kind, &event).await.map(drop)
    }

    async fn pages<R: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        metadata: bool,
        take: &mut impl FnMut(R),
    ) -> Result<(), Failure> {
        let mut params = page_params();
        loop {
            let request = Request::new(path);
            let request = match metadata {
                true => request.list_metadata(&params),
                false => request.list(&params),
            };
            let page: Page<R> = self.ask(what, request).await?;
            params.continue_token = page.token();
            page.into_items().into_iter().for_each(&mut *take);
            if params.continue_token.is_none() {
                return Ok(());
            }
        }
    }

    async fn send(
        &self,
        what: &str,
        method: http::Method,
        uri: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Anything, Failure> {
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header(http::header::CONTENT_TYPE, kind)
            .body(body.to_string().into_bytes());
        self.ask(what, request.map_err(kube::core::request::Error::BuildRequest)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, Failure> {
        ask(&self.client, what, ANSWER, request).await
    }
}

/// False if what was to be changed is gone, or another version of it is there.
fn unless_changed<T>(outcome: Result<T, Failure>) -> Result<bool, Failure> {
    match outcome {
        Ok(_) => Ok(true),
        Err(Failure { code: Some(404 | 409), .. }) => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn path(plural: &str) -> String {
    format!("/apis/slash32.dev/v1alpha1/{plural}")
}

fn name_of(plural: &str) -> String {
    format!("{plural}.slash32.dev")
}

const NODES: &str = "/api/v1/nodes";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const MERGE: &str = "application/merge-patch+json";
/// Condition of an IPBlock.
pub(super) const ORPHANED: &str = "Orphaned";
/// How long an answer may take: less than the time from the end of a leader to the next one's begin.
const ANSWER: Duration = Duration::from_secs(5);
