//! Dumps: every path is met once, however small the slices are.

use super::*;

/// The whole walk, with slices of this many destinations.
fn walk(rib: &Rib, budget: usize) -> Vec<Dumped> {
    let (mut all, mut cursor) = (Vec::new(), Some(DumpCursor::default()));
    while let Some(at) = cursor {
        let (some, next) = rib.dump(at, budget);
        assert!(some.len() <= budget);
        all.extend(some);
        cursor = next;
    }
    all
}

#[test]
fn every_path_is_met_once_as_it_was_received() {
    let mut rib = router();
    rib.set_time(Timestamp::from_seconds(100));
    rib.peer_up(PeerId(1), peer(1, 65001));
    let mut rejecting = peer(2, 65002);
    rejecting.config.import = None;
    rib.peer_up(PeerId(2), rejecting);
    for n in [1, 2] {
        let attrs = path(n, &[65000 + u32::from(n)]);
        rib.update(PeerId(n.into()), &announce(&["10.1.0.0/16", "10.2.0.0/16"], attrs));
    }
    rib.originate(prefix("fd00:1::/64"), Arc::new(Attrs::originated(hop("10.0.0.1"))));
    let whole = walk(&rib, 1000);
    let found: Vec<_> = whole
        .iter()
        .map(|dumped| {
            let mut peers: Vec<_> =
                dumped.paths.iter().map(|path| path.peer.map(|peer| peer.0)).collect();
            peers.sort_unstable();
            (dumped.prefix.to_string(), peers)
        })
        .collect();
    assert_eq!(
        found,
        [
            ("10.1.0.0/16".to_owned(), vec![Some(1), Some(2)]),
            ("10.2.0.0/16".to_owned(), vec![Some(1), Some(2)]),
            ("fd00:1::/64".to_owned(), vec![None]),
        ],
        "rejected ones too"
    );
    assert!(
        whole.iter().flat_map(|dumped| &dumped.paths).all(|path| path.learned.seconds() == 100)
    );
    assert_eq!(whole[2].paths[0].attrs.next_hop, hop("::"));
    for budget in 1..4 {
        assert_eq!(walk(&rib, budget), whole);
    }
    assert!(rib.sessions().map(|session| session.id).eq([PeerId(1), PeerId(2)]));
}

#[test]
fn changes_while_a_walk_lasts_do_not_disturb_it() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    let texts: Vec<_> = (0..10).map(|n| format!("10.{n}.0.0/16")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    rib.update(PeerId(1), &announce(&texts, path(1, &[65001])));
    let (first, cursor) = rib.dump(DumpCursor::default(), 5);
    rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::Closed, Timestamp::UNKNOWN);
    drain_best(&mut rib);
    assert_eq!(first.len(), 5);
    let (rest, cursor) = rib.dump(cursor.unwrap(), 100);
    assert_eq!(rest, []);
    let end = cursor.and_then(|cursor| rib.dump(cursor, 100).1);
    assert_eq!(end, None);
}
