//! `BGPPeer`.

use std::net::{IpAddr, SocketAddr};

use routed_api::{
    BGPPeerSpec, Bfd, GracefulRestart, Operator, Password, Requirement, SecretKey, Selector,
};

use super::{
    Converted, Original,
    fields::Fields,
    filter::{Names, Side},
    pool::selects,
};

/// `ours`: AS of our nodes; `filters`: what became of BGPFilters.
pub(super) fn convert(
    original: &mut Original,
    ours: u32,
    filters: &Names,
    converted: &mut Converted,
) {
    let fields = &mut original.fields;
    if fields.take("localWorkloadSelector").is_some() {
        fields.lost(
            "localWorkloadSelector",
            "sessions with pods have no counterpart; the peer is left out",
        );
        return;
    }
    let mut spec = BGPPeerSpec {
        node_selector: nodes(fields),
        peer_selector: fields
            .peek("peerSelector")
            .is_some()
            .then(|| selects(fields, "peerSelector").unwrap_or_default()),
        as_number: fields.asn("asNumber"),
        local_as_number: fields.asn("localASNumber"),
        num_allowed_local_as_numbers: fields.number("numAllowedLocalASNumbers").filter(|n| *n > 0),
        ttl_security: fields.number("ttlSecurity").filter(|hops| *hops > 0),
        keepalive_time_seconds: fields.seconds("keepaliveTime"),
        ..BGPPeerSpec::default()
    };
    address(fields, &mut spec);
    if spec.peer_ip.is_none() && spec.peer_selector.is_none() {
        return fields
            .lost("peerIP", "there is neither peerIP nor peerSelector; the peer is left out");
    }
    password(fields, &mut spec);
    next_hop(fields, &mut spec);
    resilience(fields, &mut spec);
    ignored(fields);
    if spec.as_number.is_some_and(|theirs| theirs != ours) && spec.ttl_security.is_none() {
        spec.ebgp_multihop = Some(255);
        fields.hint(
            "",
            "ebgpMultihop: 255 keeps what Calico does; for a ToR on the node's own link, \
            replace it by ttlSecurity: 1, so that nobody further away can speak",
        );
    }
    let named = fields.texts("filters");
    if !named.is_empty() {
        spec.import_policies = filters.policies(&named, Side::Import);
        spec.export_policies = filters.policies(&named, Side::Export);
        for name in named.iter().filter(|name| !filters.knows(name)) {
            let text = format!("BGPFilter/{name} is in none of the files; name its file too");
            fields.lost("filters", text);
        }
    }
    converted.add("BGPPeer", &original.name, spec);
}

/// The nodes that have the session.
fn nodes(fields: &mut Fields) -> Option<Selector> {
    let Some(node) = fields.text("node") else { return selects(fields, "nodeSelector") };
    fields.hint(
        "node",
        "became a selector of the label kubernetes.io/hostname, which is the node's name \
        unless somebody changed it",
    );
    let requirement = Requirement {
        key: "kubernetes.io/hostname".to_owned(),
        operator: Operator::In,
        values: vec![node],
    };
    Some(Selector { match_expressions: vec![requirement], ..Selector::default() })
}

/// An address, perhaps with a port.
fn address(fields: &mut Fields, spec: &mut BGPPeerSpec) {
    let Some(text) = fields.text("peerIP") else { return };
    let (address, port) = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(address), _) => (address, None),
        (Err(_), Ok(both)) => (both.ip(), Some(both.port())),
        (Err(_), Err(_)) => {
            return fields.lost("peerIP", format!("{text:?} is no address; it is left out"));
        }
    };
    if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        fields.lost(
            "peerIP",
            "a link-local address says nothing without its link; write interface: eth1 \
            (yours) in place of peerIP and asNumber",
        );
    }
    spec.peer_ip = Some(address.to_string().as_str().into());
    spec.port = port;
}

fn password(fields: &mut Fields, spec: &mut BGPPeerSpec) {
    let Some(mut password) = fields.inner("password") else { return };
    let Some(mut secret) = password.inner("secretKeyRef") else {
        return password.lost("", "names no Secret; it is left out");
    };
    let (name, key) = (secret.text("name"), secret.text("key"));
    let _ = secret.flag("optional");
    secret.finish();
    password.finish();
    let (Some(name), Some(key)) = (name, key) else {
        return fields.lost("password", "needs name and key of a Secret; it is left out");
    };
    fields.hint(
        "password",
        format!("Secret {name} must be in the namespace of our daemon; copy it there"),
    );
    let secret_key_ref = SecretKey { name: name.as_str().into(), key };
    spec.password = Some(Password { secret_key_ref });
}

fn next_hop(fields: &mut Fields, spec: &mut BGPPeerSpec) {
    let _ = fields.flag("keepOriginalNextHop");
    match fields.text("nextHopMode").as_deref() {
        None | Some("Auto" | "Keep") => {}
        Some("Self") => spec.next_hop_self = true,
        Some(other) => fields.lost("nextHopMode", format!("{other:?} has no counterpart")),
    }
}

/// Graceful restart and BFD.
fn resilience(fields: &mut Fields, spec: &mut BGPPeerSpec) {
    if let Some(seconds) = fields.seconds("maxRestartTime") {
        let longest = seconds.min(4095);
        if longest < seconds {
            fields.lost("maxRestartTime", "became 4095 s, the most that BGP can say (RFC 4724)");
        }
        spec.graceful_restart = Some(GracefulRestart {
            enabled: true,
            restart_time_seconds: Some(longest),
            stale_path_time_seconds: None,
        });
    }
    match fields.text("failureDetectionMode").as_deref() {
        None | Some("None") => {}
        Some("BFDIfDirectlyConnected") => spec.bfd = Some(Bfd::default()),
        Some(other) => fields.lost("failureDetectionMode", format!("{other:?} has no counterpart")),
    }
}

/// What is no matter here, with a word about it where it was said.
fn ignored(fields: &mut Fields) {
    if fields.text("sourceAddress").is_some_and(|source| source == "UseNodeIP") {
        fields.hint(
            "sourceAddress",
            "the kernel chooses the source address, by the route to the peer",
        );
    }
    if fields.text("reachableBy").is_some() {
        fields.lost("reachableBy", "a route to the peer is not made; the node must have one");
    }
    if fields.text("reversePeering").is_some_and(|reverse| reverse == "Manual") {
        fields.lost(
            "reversePeering",
            "Manual: a session that peerSelector makes is made from both ends",
        );
    }
}
