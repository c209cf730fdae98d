//! `BGPConfiguration`.

use routed_api::{BGPConfigurationSpec, NamedCommunity, PrefixAdvertisement};

use super::{Converted, Original, fields::as_asn};

/// AS of nodes that have none of their own, if one of the objects says it.
pub(super) fn own_as(originals: &[Original]) -> Option<u32> {
    let is_it =
        |original: &&Original| original.kind == "BGPConfiguration" && original.name == "default";
    originals.iter().find(is_it)?.fields.peek("asNumber").and_then(as_asn)
}

/// The one named `default`; those of single nodes have no counterpart.
pub(super) fn convert(original: &mut Original, converted: &mut Converted) {
    if original.name != "default" {
        converted.note(
            true,
            &original.title(),
            "settings of one node have no counterpart; what \
            differs between nodes goes into BGPPeers with a nodeSelector, or into node labels",
        );
        return;
    }
    let fields = &mut original.fields;
    for key in ["serviceClusterIPs", "serviceExternalIPs", "serviceLoadBalancerIPs"] {
        if fields.take(key).is_some() {
            fields.lost(
                key,
                "addresses of Services are not announced; leave them to another speaker, \
                such as MetalLB, on a port of its own",
            );
        }
    }
    if fields.text("logSeverityScreen").is_some() {
        fields.hint(
            "logSeverityScreen",
            "what is logged is an argument of the daemon: routed run --log",
        );
    }
    for key in ["nodeMeshPassword", "nodeMeshMaxRestartTime"] {
        if fields.take(key).is_some() {
            fields.lost(
                key,
                "a mesh has no settings of its own; set nodeToNodeMeshEnabled to false and \
                add a BGPPeer with peerSelector: {}, which takes password and gracefulRestart",
            );
        }
    }
    let communities = fields.list("communities").into_iter().map(|mut community| {
        let name = community.text("name").unwrap_or_default();
        let value = community.text("value").unwrap_or_default();
        community.finish();
        NamedCommunity { name, value }
    });
    let communities = communities.collect();
    let advertisements =
        fields.list("prefixAdvertisements").into_iter().map(|mut advertisement| {
            let cidr = advertisement.text("cidr").unwrap_or_default();
            let communities = advertisement.texts("communities");
            advertisement.finish();
            PrefixAdvertisement {
                cidr: cidr.as_str().into(),
                communities: communities.iter().map(|name| name.as_str().into()).collect(),
            }
        });
    let prefix_advertisements = advertisements.collect();
    let spec = BGPConfigurationSpec {
        as_number: fields.asn("asNumber"),
        node_to_node_mesh_enabled: fields.flag("nodeToNodeMeshEnabled"),
        listen_port: fields.number("listenPort"),
        communities,
        prefix_advertisements,
        ..BGPConfigurationSpec::default()
    };
    converted.add("BGPConfiguration", "default", spec);
}
