//! The exact text of each table.

use super::*;

fn attrs(next_hop: Option<&str>, as_path: &str) -> AttrsView {
    AttrsView {
        next_hop: next_hop.map(|next_hop| next_hop.parse().unwrap()),
        next_hop_link_local: None,
        next_hop_interface: None,
        as_path: as_path.to_owned(),
        origin: "igp".to_owned(),
        weight: 0,
        local_preference: None,
        med: None,
        communities: Vec::new(),
        large_communities: Vec::new(),
        extended_communities: Vec::new(),
        originator_id: None,
        cluster_list: Vec::new(),
    }
}

fn path(peer: Option<&str>, status: PathStatus, reason: &str, attributes: AttrsView) -> PathView {
    let peer = peer.map(str::to_owned);
    PathView { peer, path_id: 0, status, reason: reason.to_owned(), attributes }
}

fn two_tors() -> Vec<RouteView> {
    let a = attrs(Some("10.1.1.0"), "4200000001 4200000012");
    let b = attrs(Some("10.1.2.0"), "4200000002 4200000012");
    let c = AttrsView { med: Some(5), ..attrs(Some("10.1.3.0"), "65000 65000 65001") };
    vec![
        RouteView {
            prefix: "10.244.1.0/24".parse().unwrap(),
            kernel: None,
            paths: vec![path(None, PathStatus::Best, "best", attrs(None, ""))],
        },
        RouteView {
            prefix: "10.244.2.0/24".parse().unwrap(),
            kernel: Some("installed".to_owned()),
            paths: vec![
                path(Some("tor-a"), PathStatus::Best, "best", a),
                path(Some("tor-b"), PathStatus::Multipath, "used beside the best", b.clone()),
                path(Some("far"), PathStatus::Eligible, "lost: longer AS path", c),
                path(Some("bad"), PathStatus::Ineligible, "next hop unreachable", b),
            ],
        },
    ]
}

#[test]
fn routes_have_their_markers_and_each_prefix_once() {
    assert_eq!(
        table(&two_tors()),
        "    PREFIX         NEXT HOP  PEER       AS PATH                ORIGIN  MED  KERNEL\n\
         *>  10.244.1.0/24  -         this node  -                      igp\n\
         *>  10.244.2.0/24  10.1.1.0  tor-a      4200000001 4200000012  igp          installed\n\
         *=                 10.1.2.0  tor-b      4200000002 4200000012  igp\n\
         *                  10.1.3.0  far        65000 65000 65001      igp       5\n\
         \x20                  10.1.2.0  bad        4200000002 4200000012  igp\n\
         \n\
         * can be used, > best, = used beside the best; `routed show routes PREFIX` tells why\n"
    );
}

#[test]
fn one_route_has_the_reason_of_each_path() {
    assert_eq!(
        details(&two_tors()[1..], "10.244.2.7/32".parse().unwrap()),
        "10.244.2.7/32 is covered by 10.244.2.0/24\n\
         \n\
         \x20   PREFIX         NEXT HOP  PEER   AS PATH                ORIGIN  MED  WHY\n\
         *>  10.244.2.0/24  10.1.1.0  tor-a  4200000001 4200000012  igp          best\n\
         *=  10.244.2.0/24  10.1.2.0  tor-b  4200000002 4200000012  igp          used beside the best\n\
         *   10.244.2.0/24  10.1.3.0  far    65000 65000 65001      igp       5  lost: longer AS path\n\
         \x20   10.244.2.0/24  10.1.2.0  bad    4200000002 4200000012  igp          next hop unreachable\n\
         \n\
         kernel: installed\n"
    );
    assert_eq!(details(&[], "10.9.0.0/16".parse().unwrap()), "no route to 10.9.0.0/16\n");
}

#[test]
fn received_routes_have_their_verdict() {
    let attributes = AttrsView {
        communities: vec!["65000:100".to_owned(), "no-export".to_owned()],
        ..attrs(Some("10.1.1.0"), "4200000001")
    };
    let route = ReceivedView {
        prefix: "0.0.0.0/0".parse().unwrap(),
        path_id: 0,
        status: PathStatus::Ineligible,
        reason: "rejected by the default of policy from-tor".to_owned(),
        attributes,
    };
    assert_eq!(
        received(&[route]),
        "  PREFIX     NEXT HOP  AS PATH     ORIGIN  COMMUNITIES          VERDICT\n\
         \x20 0.0.0.0/0  10.1.1.0  4200000001  igp     65000:100 no-export  rejected by the default \
         of policy from-tor\n"
    );
}

#[test]
fn several_paths_of_one_peer_are_told_apart_by_their_numbers() {
    let numbered = |path_id, status, next_hop| PathView {
        path_id,
        ..path(Some("rr"), status, "", attrs(Some(next_hop), ""))
    };
    let route = RouteView {
        prefix: "10.244.2.0/24".parse().unwrap(),
        kernel: None,
        paths: vec![
            numbered(7, PathStatus::Best, "10.1.1.0"),
            numbered(12, PathStatus::Multipath, "10.1.2.0"),
        ],
    };
    assert!(table(&[route]).starts_with(
        "    PREFIX         PATH  NEXT HOP  PEER  AS PATH  ORIGIN\n\
         *>  10.244.2.0/24     7  10.1.1.0  rr    -        igp\n\
         *=                   12  10.1.2.0  rr    -        igp\n"
    ));
}

#[test]
fn advertised_routes_have_their_attributes_or_the_reason_why_not() {
    let told = AdvertisedView {
        path_id: 0,
        prefix: "10.244.1.0/24".parse().unwrap(),
        advertised: true,
        reason: None,
        attributes: Some(attrs(Some("10.1.1.1"), "4200000011")),
    };
    let kept = AdvertisedView {
        path_id: 0,
        prefix: "10.244.2.0/24".parse().unwrap(),
        advertised: false,
        reason: Some("came from this peer".to_owned()),
        attributes: None,
    };
    assert_eq!(
        advertised(&[told, kept]),
        "PREFIX         NEXT HOP  AS PATH     ORIGIN  NOT ADVERTISED\n\
         10.244.1.0/24  10.1.1.1  4200000011  igp\n\
         10.244.2.0/24                                came from this peer\n"
    );
}
