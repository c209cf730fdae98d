//! A cluster's speakers in simulated time: a thousand nodes around two reflectors.

use std::{net::Ipv4Addr, time::Duration};

use bgp::prefix::Prefix;
use tests::sim::{Net, RouterId, reflectors};

const NODES: usize = 1_000;
const REFLECTORS: usize = 2;

/// The node's block of this number.
fn block(node: usize, number: usize) -> Prefix {
    let at = u32::try_from(node + number * NODES).expect("a cluster has fewer blocks");
    let first = Ipv4Addr::from_bits(0x0a80_0000 + 64 * at);
    Prefix::new(first.into(), 26).expect("a block")
}

fn nodes() -> impl Iterator<Item = RouterId> {
    (REFLECTORS..REFLECTORS + NODES).map(RouterId)
}

/// Whether every node but its own has the block in its kernel.
fn is_everywhere(net: &Net, block: Prefix, own: RouterId) -> bool {
    nodes().all(|node| node == own || net.router(node).table.contains_key(&block))
}

#[test]
fn a_new_block_is_in_the_kernel_of_a_thousand_nodes_within_a_second() {
    let mut net = reflectors(7, REFLECTORS, NODES);
    // Some have a block before; the new ones are what is watched.
    let early: Vec<_> = nodes().step_by(20).collect();
    for node in &early {
        net.originate(*node, block(node.0, 0));
    }
    net.start();
    net.advance(Duration::from_secs(20));
    assert!(net.is_established());
    for node in &early {
        assert!(is_everywhere(&net, block(node.0, 0), *node));
    }
    let mut slowest = Duration::ZERO;
    for node in [3, 250, 777].map(RouterId) {
        let (begun, block) = (net.now(), block(node.0, 1));
        net.originate(node, block);
        while !is_everywhere(&net, block, node) {
            net.advance(Duration::from_millis(1));
            assert!(net.now() - begun < Duration::from_secs(1), "the block of {node:?}");
        }
        slowest = slowest.max(net.now() - begun);
    }
    println!("the slowest of three new blocks: {slowest:?}");
}
