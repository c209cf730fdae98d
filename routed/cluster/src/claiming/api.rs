//! Claims as objects of the API server.

use std::{collections::BTreeSet, time::Duration};

use bgp::prefix::Prefix;
use kube::{
    Client,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
    core::Request,
};
use routed_api::{IPBlock, IPBlockSpec};
use routed_core::claims::{Event, Saved};
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    Failure,
    watch::{Head, Page, Target, Watched, ours, page_params},
};

/// Asks for one node. Cheap to clone.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    node: String,
}

/// A claim, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawClaim {
    metadata: Head,
    spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
struct Spec {
    cidr: String,
    pool: String,
    node: String,
}

/// A claim.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) uid: String,
    /// `None`: somebody has written it by hand, and it is none.
    pub(super) block: Option<Prefix>,
    pool: String,
    node: String,
    is_leaving: bool,
}

impl Claim {
    pub(super) fn saved(self) -> Option<Saved> {
        // One that is being deleted is as good as gone.
        let block = self.block.filter(|_| !self.is_leaving)?;
        Some(Saved { block, pool: self.pool, uid: self.uid, lost: false })
    }
}

impl Watched for RawClaim {
    type Kept = Claim;

    fn head(&self) -> (String, Option<&str>) {
        self.metadata.head()
    }

    fn keep(self) -> Claim {
        let Spec { cidr, pool, node } = self.spec;
        let block = cidr.parse().ok();
        let is_leaving = self.metadata.is_leaving();
        Claim { uid: self.metadata.into_uid(), block, pool, node, is_leaving }
    }
}

/// The name of the claim to a block.
pub(super) fn name_of(block: Prefix) -> String {
    IPBlock::name_of(&(&*block.to_string()).into())
}

impl Api {
    pub(super) fn new(client: Client, node: &str) -> Self {
        Self { client, node: node.to_owned() }
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The claims of this node, to be watched. A listing that is empty need not be doubted: a claim that
    /// has vanished is only asked for again.
    pub(super) fn own(&self) -> Target {
        Target { fields: Some(self.fields()), doubts_nothing: false, ..ours::<IPBlock>() }
    }

    fn fields(&self) -> String {
        format!("spec.node={}", self.node)
    }

    pub(super) async fn list_own(&self) -> Result<Vec<Claim>, Failure> {
        let mut own = Vec::new();
        self.pages(Some(self.fields()), |claim| own.push(claim.keep())).await?;
        Ok(own)
    }

    /// Blocks that nodes have in the range of a pool, whatever pool they are of: one that was deleted
    /// and made anew may have had other blocks.
    pub(super) async fn list(
        &self,
        pool: String,
        cidr: Option<Prefix>,
    ) -> (Event, Option<Failure>) {
        let mut blocks = BTreeSet::new();
        let listed = self.pages(None, |claim| {
            let block = claim.keep().block;
            let shares =
                |block: &Prefix| cidr.is_none_or(|cidr| cidr.covers(*block) || block.covers(cidr));
            blocks.extend(block.filter(shares));
        });
        match listed.await {
            Ok(()) => {
                let mut widest: Option<Prefix> = None;
                // A wider one stands before those inside of it.
                blocks.retain(|block| {
                    let is_inside = widest.is_some_and(|widest| widest.covers(*block));
                    if !is_inside {
                        widest = Some(*block);
                    }
                    !is_inside
                });
                (Event::Occupied { pool, blocks }, None)
            }
            Err(failure) => (Event::ListFailed(pool), Some(failure)),
        }
    }

    async fn pages(
        &self,
        fields: Option<String>,
        mut take: impl FnMut(RawClaim),
    ) -> Result<(), Failure> {
        let mut params = ListParams { field_selector: fields, ..page_params() };
        loop {
            let request = Request::new(PATH).list(&params).map_err(kube::Error::BuildRequest);
            let page = async { self.client.request::<Page<RawClaim>>(request?).await };
            let page = self.in_time(page).await?;
            params.continue_token = page.token();
            page.into_items().into_iter().for_each(&mut take);
            if params.continue_token.is_none() {
                return Ok(());
            }
        }
    }

    pub(super) async fn create(
        &self,
        block: Prefix,
        pool: &str,
        node_uid: Option<String>,
    ) -> (Event, Option<Failure>) {
        let spec = IPBlockSpec {
            cidr: (&*block.to_string()).into(),
            pool: pool.into(),
            node: (&*self.node).into(),
            node_uid,
        };
        let claim = IPBlock::new(&name_of(block), spec);
        let blocks = kube::Api::<IPBlock>::all(self.client.clone());
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match self.in_time(blocks.create(&params, &claim)).await {
            Ok(IPBlock { metadata, .. }) => {
                (Event::Created { block, uid: metadata.uid.unwrap_or_default() }, None)
            }
            Err(Failure { code: Some(409), .. }) => self.look(block).await,
            Err(failure) => (Event::CreateFailed(block), Some(failure)),
        }
    }

    /// Whose claim that is which exists already.
    async fn look(&self, block: Prefix) -> (Event, Option<Failure>) {
        let get = Request::new(PATH).get(&name_of(block), &kube::api::GetParams::default());
        let get = get.map_err(kube::Error::BuildRequest);
        let there = async { self.client.request::<RawClaim>(get?).await };
        match self.in_time(there).await.map(RawClaim::keep) {
            // Soon it is gone.
            Ok(Claim { is_leaving: true, .. }) => (Event::CreateFailed(block), None),
            Ok(Claim { node, uid, .. }) => {
                let ours = (node == self.node).then_some(uid);
                (Event::Exists { block, ours }, None)
            }
            Err(failure) => (Event::CreateFailed(block), Some(failure)),
        }
    }

    pub(super) async fn delete(&self, block: Prefix, uid: String) -> (Event, Option<Failure>) {
        let blocks = kube::Api::<IPBlock>::all(self.client.clone());
        let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        match self.in_time(blocks.delete(&name_of(block), &params)).await {
            // It is gone, or another one is there.
            Ok(_) | Err(Failure { code: Some(404 | 409), .. }) => (Event::Deleted(block), None),
            Err(failure) => (Event::DeleteFailed(block), Some(failure)),
        }
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        match timeout(ANSWER, asked).await {
            Ok(answer) => answer.map_err(|error| Failure::new(NAME, &error)),
            Err(_) => {
                let seconds = ANSWER.as_secs();
                Err(Failure::silent(format!(
                    "{NAME}: no answer from the API server for {seconds} s"
                )))
            }
        }
    }
}

const PATH: &str = "/apis/slash32.dev/v1alpha1/ipblocks";
const NAME: &str = "ipblocks.slash32.dev";
/// Who the API server notes as the author.
const MANAGER: &str = "routed";
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);
