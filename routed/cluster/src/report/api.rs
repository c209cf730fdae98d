//! What the node says of itself, as requests to the API server.

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

use super::{
    TAINT,
    events::Notice,
    life::{Found, Said},
    picture::short,
    pruned,
};
use crate::{Failure, request::ask, watch::Head};

/// Asks for one node. Cheap to clone.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    node: String,
}

/// Our object, as far as it is read.
#[derive(Debug, Deserialize)]
struct RawStatus {
    metadata: Owned,
    #[serde(default)]
    status: Conditions,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owned {
    uid: String,
    #[serde(default)]
    owner_references: Vec<Uid>,
}

#[derive(Debug, Deserialize)]
struct Uid {
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// The Node object, as far as it is read.
#[derive(Debug, Deserialize)]
struct RawNode {
    metadata: Head,
    #[serde(default)]
    spec: Taints,
    #[serde(default)]
    status: NodeConditions,
}

#[derive(Debug, Default, Deserialize)]
struct Taints {
    #[serde(default)]
    taints: Vec<Taint>,
}

#[derive(Debug, Deserialize)]
struct Taint {
    key: String,
}

#[derive(Debug, Default, Deserialize)]
struct NodeConditions {
    #[serde(default)]
    conditions: Vec<NodeCondition>,
}

#[derive(Debug, Deserialize)]
struct NodeCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// An answer of which nothing is read.
#[derive(Debug, Deserialize)]
struct Anything {}

/// Our object after a write, as far as it is read.
#[derive(Debug, Deserialize)]
struct Kept {
    #[serde(default)]
    status: Value,
}

/// What stands in our object now.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) conditions: Vec<Condition>,
    /// What the API server did not keep, as [`pruned::fields`] names it.
    pub(super) missing: BTreeSet<String>,
}

impl Api {
    pub(super) fn new(client: Client, node: &str) -> Self {
        Self { client, node: node.to_owned() }
    }

    /// Writes the status into the node's object, which is made unless it is known to be that of this
    /// Node. Without a Node it goes with nothing: that the machine is there still is told all the same.
    /// Gives what stands there then.
    pub(super) async fn write(
        &self,
        mut status: BGPNodeStatusStatus,
        node_uid: Option<&str>,
        is_known: bool,
    ) -> Result<Written, Failure> {
        if !is_known {
            let before = self.own(node_uid).await?;
            keep_times(&mut status.conditions, &before);
        }
        let patch = json!([{"op": "add", "path": "/status", "value": status}]);
        let path = format!("{STATUSES}/{}/status", self.node);
        let kept: Kept = self.patch(STATUS, path, JSON, &patch).await?;
        let missing = pruned::fields(&patch[0]["value"], &kept.status);
        Ok(Written { conditions: status.conditions, missing })
    }

    /// Makes sure that the object is there and goes with this Node; its conditions.
    async fn own(&self, node_uid: Option<&str>) -> Result<Vec<Condition>, Failure> {
        let get = Request::new(STATUSES).get(&self.node, &GetParams::default());
        let there: RawStatus = match self.ask(STATUS, get).await {
            Ok(there) => there,
            Err(Failure { code: Some(404), .. }) => {
                return self.create(node_uid).await.map(|()| Vec::new());
            }
            Err(failure) => return Err(failure),
        };
        let owners = &there.metadata.owner_references;
        if node_uid.is_none_or(|uid| owners.iter().any(|owner| owner.uid == uid)) {
            return Ok(there.status.conditions);
        }
        // If it was of another Node of this name, it would vanish with that one at any moment.
        let preconditions =
            Some(Preconditions { uid: Some(there.metadata.uid), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        let delete = Request::new(STATUSES).delete(&self.node, &params);
        match self.ask::<Anything>(STATUS, delete).await {
            Ok(_) | Err(Failure { code: Some(404), .. }) => {}
            Err(failure) => return Err(failure),
        }
        self.create(node_uid).await?;
        Ok(there.status.conditions)
    }

    async fn create(&self, node_uid: Option<&str>) -> Result<(), Failure> {
        let owner =
            |uid| json!({"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid});
        let owners: Vec<_> = node_uid.into_iter().map(owner).collect();
        let object = json!({
            "apiVersion": "slash32.dev/v1alpha1", "kind": "BGPNodeStatus",
            "metadata": {"name": self.node, "ownerReferences": owners},
            "spec": {"node": self.node},
        });
        let _: Anything = self.post(STATUS, STATUSES, &object).await?;
        Ok(())
    }

    pub(super) async fn look(&self) -> Result<Found, Failure> {
        self.node().await.map(Found::from)
    }

    async fn node(&self) -> Result<RawNode, Failure> {
        let get = Request::new(NODES).get(&self.node, &GetParams::default());
        self.ask("nodes", get).await
    }

    /// Writes the condition. `turned`: it has another status than before.
    pub(super) async fn say(
        &self,
        said: &Said,
        node_uid: Option<&str>,
        turned: bool,
    ) -> Result<(), Failure> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut condition = json!({
            "type": CONDITION,
            "status": if said.unavailable { "True" } else { "False" },
            "reason": said.reason,
            "message": said.message,
            "lastHeartbeatTime": now,
        });
        if turned {
            condition["lastTransitionTime"] = json!(now);
        }
        let mut patch = json!({"status": {"conditions": [condition]}});
        if let Some(uid) = node_uid {
            patch["metadata"] = json!({"uid": uid});
        }
        let path = format!("{NODES}/{}/status", self.node);
        let _: Anything = self.patch("nodes/status", path, STRATEGIC, &patch).await?;
        Ok(())
    }

    /// Takes our taint off, and no other: others may change the list at the same time.
    pub(super) async fn untaint(&self, node_uid: &str) -> Result<Found, Failure> {
        let node = self.node().await?;
        let mut patch = vec![json!({"op": "test", "path": "/metadata/uid", "value": node_uid})];
        // From the end, so that the places before it stay what they are.
        for (at, _) in node.spec.taints.iter().enumerate().rev().filter(|(_, it)| it.key == TAINT) {
            let path = format!("/spec/taints/{at}");
            patch.push(json!({"op": "test", "path": format!("{path}/key"), "value": TAINT}));
            patch.push(json!({"op": "remove", "path": path}));
        }
        if patch.len() > 1 {
            let path = format!("{NODES}/{}", self.node);
            let _: Anything = self.patch("nodes", path, JSON, &json!(patch)).await?;
        }
        Ok(Found { is_tainted: false, ..node.into() })
    }

    /// Makes an event, or counts the one that there is; its name.
    pub(super) async fn send(&self, notice: &Notice, node_uid: &str) -> Result<String, Failure> {
        let wall = Timestamp::now();
        let now = wall.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        if let Some((name, count)) = &notice.series {
            let patch = json!({"series": {"count": count, "lastObservedTime": now}});
            let path = format!("{EVENTS}/{name}");
            let _: Anything = self.patch("events.events.k8s.io", path, MERGE, &patch).await?;
            return Ok(name.clone());
        }
        let name = format!("{}.{:x}", clipped(&self.node, 200), wall.as_nanosecond());
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "eventTime": now,
            "reportingController": "slash32.dev/routed",
            "reportingInstance": clipped(&self.node, 128),
            "action": action(notice.about.reason),
            "reason": notice.about.reason,
            "regarding": {"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": node_uid},
            "type": if notice.is_warning { "Warning" } else { "Normal" },
            "note": short(&notice.note, 1000),
        });
        let _: Anything = self.post("events.events.k8s.io", EVENTS, &event).await?;
        Ok(name)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        object: &Value,
    ) -> Result<T, Failure> {
        self.send_json(what, http::Method::POST, path.to_owned(), "application/json", object).await
    }

    async fn patch<T: DeserializeOwned>(
        &self,
        what: &str,
        path: String,
        kind: &str,
        patch: &Value,
    ) -> Result<T, Failure> {
        self.send_json(what, http::Method::PATCH, path, kind, patch).await
    }

    async fn send_json<T: DeserializeOwned>(
        &self,
        what: &str,
        method: http::Method,
        path: String,
        kind: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{path}?fieldManager={MANAGER}"))
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

impl From<RawNode> for Found {
    fn from(node: RawNode) -> Self {
        let condition = node.status.conditions.into_iter().find(|it| it.kind == CONDITION);
        // A status that nobody knows is to be written anew.
        let condition = condition.filter(|it| it.status != "Unknown").map(|it| Said {
            unavailable: it.status != "False",
            reason: it.reason,
            message: it.message,
        });
        let is_tainted = node.spec.taints.iter().any(|taint| taint.key == TAINT);
        Self { uid: node.metadata.into_uid(), condition, is_tainted }
    }
}

/// Conditions that hold as before do so since then.
fn keep_times(conditions: &mut [Condition], before: &[Condition]) {
    for condition in conditions {
        let same = |it: &&Condition| it.type_ == condition.type_ && it.status == condition.status;
        if let Some(before) = before.iter().find(same) {
            condition.last_transition_time = before.last_transition_time.clone();
        }
    }
}

/// As many octets of a name as there is room for; names of nodes are ASCII.
fn clipped(name: &str, most: usize) -> &str {
    name.get(..most).unwrap_or(name)
}

/// What was being done, in a word.
fn action(reason: &str) -> &'static str {
    match reason {
        "BlocksExhausted" | "BlockLost" => "ClaimBlocks",
        "ConfigurationRefused" | "ObjectNotHeeded" => "Configure",
        _ => "Peer",
    }
}

const STATUSES: &str = "/apis/slash32.dev/v1alpha1/bgpnodestatuses";
const STATUS: &str = "bgpnodestatuses.slash32.dev";
const NODES: &str = "/api/v1/nodes";
/// Where events about what is in no namespace are.
const NAMESPACE: &str = "default";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const CONDITION: &str = "NetworkUnavailable";
const JSON: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
/// Who the API server notes as the author.
const MANAGER: &str = "routed";
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);
