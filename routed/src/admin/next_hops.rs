//! Answers about next-hop groups in the kernel.

use routed_core::fib::{Fib, nexthop_group::NextHopStatus};

use super::{Refusal, answer::of_part, why::hop_view};
use crate::{show::view::NextHopView, sources::Sources};

/// Every next-hop object of ours; none on a router that installs nothing.
pub(super) async fn all(sources: &Sources) -> Result<Vec<NextHopView>, Refusal> {
    let Some(kernel) = &sources.kernel else { return Ok(Vec::new()) };
    let look =
        |fib: &Fib| fib.next_hop_objects().map(|(status, routes)| view(&status, routes)).collect();
    kernel.ask(look).await.map_err(of_part("kernel's routes"))
}

fn view(status: &NextHopStatus<'_>, routes: usize) -> NextHopView {
    NextHopView {
        id: status.id.0,
        kind: if status.is_group { "group" } else { "hop" }.to_owned(),
        state: status.state.to_string(),
        routes,
        hops: status.hops.as_slice().iter().map(hop_view).collect(),
        error: status.error.map(ToString::to_string),
    }
}
