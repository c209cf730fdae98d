//! Claims as objects of the API server.

use std::{collections::BTreeSet, time::Duration};

use bgp::prefix::Prefix;
use kube::{
    Client,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
    core::Request,
};
use routed_api::{IPBlock, IPBlockSpec};
use routed_core::claims::{Event, Saved, Scope};
use serde::Deserialize;

use crate::{
    Failure,
    request::in_time,
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

/// The size of blocks of a range, as the label has it: `ipv4-26`.
fn size_of(range: Prefix, size: u8) -> String {
    format!("{}-{size}", if range.addr().is_ipv4() { "ipv4" } else { "ipv6" })
}

/// Selects claims of the family that are not of this size, and those without the label.
fn other_sizes(range: Prefix, size: u8) -> String {
    let others = if range.addr().is_ipv4() { ("ipv6", 112..=128) } else { ("ipv4", 16..=32) };
    let (family, sizes) = others;
    let others: Vec<_> = sizes.map(|size: u8| format!("{family}-{size}")).collect();
    format!("{SIZE} notin ({},{})", size_of(range, size), others.join(","))
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
        let params = ListParams { field_selector: Some(self.fields()), ..page_params() };
        self.pages(params, |claim| own.push(claim.keep())).await?;
        Ok(own)
    }

    /// Blocks that nodes have in the range of a pool, whatever pool they are of: one that was deleted
    /// and made anew may have had other blocks.
    pub(super) async fn list(
        &self,
        pool: String,
        range: Option<(Prefix, u8)>,
        scope: Scope,
    ) -> (Event, Option<Failure>) {
        let cidr = range.map(|(cidr, _)| cidr);
        let mut params = page_params();
        if let Some((cidr, size)) = range.filter(|_| scope == Scope::OtherSizes) {
            // Without pages it comes from the memory of the API server.
            params.limit = None;
            params.label_selector = Some(other_sizes(cidr, size));
        }
        let mut blocks = BTreeSet::new();
        let listed = self.pages(params, |claim| {
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
                (Event::Occupied { pool, scope, blocks }, None)
            }
            Err(failure) => (Event::ListFailed(pool), Some(failure)),
        }
    }

    async fn pages(
        &self,
        mut params: ListParams,
        mut take: impl FnMut(RawClaim),
    ) -> Result<(), Failure> {
        loop {
            let request = Request::new(PATH).list(&params).map_err(kube::Error::BuildRequest);
            let page = async { self.client.request::<Page<RawClaim>>(request?).await };
            let page = in_time(NAME, ANSWER, page).await?;
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
        let mut claim = IPBlock::new(&name_of(block), spec);
        claim.metadata.labels = Some([(SIZE.to_owned(), size_of(block, block.len()))].into());
        let blocks = kube::Api::<IPBlock>::all(self.client.clone());
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match in_time(NAME, ANSWER, blocks.create(&params, &claim)).await {
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
        match in_time(NAME, ANSWER, there).await.map(RawClaim::keep) {
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
        match in_time(NAME, ANSWER, blocks.delete(&name_of(block), &params)).await {
            // It is gone, or another one is there.
            Ok(_) | Err(Failure { code: Some(404 | 409), .. }) => (Event::Deleted(block), None),
            Err(failure) => (Event::DeleteFailed(block), Some(failure)),
        }
    }
}

/// Label of a claim.
const SIZE: &str = "slash32.dev/block-size";
const PATH: &str = "/apis/slash32.dev/v1alpha1/ipblocks";
const NAME: &str = "ipblocks.slash32.dev";
/// Who the API server notes as the author.
const MANAGER: &str = "routed";
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);
