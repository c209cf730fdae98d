//! `IPPool` and `IPReservation`.

use routed_api::{IPPoolSpec, IPReservationSpec, Selector};

use super::{Converted, Original, fields::Fields, selector};

/// A pool; one whose addresses are given on request only becomes a pool and a reservation of all of it.
pub(super) fn pool(original: &mut Original, converted: &mut Converted) {
    let name = original.name.clone();
    let fields = &mut original.fields;
    for (key, usual) in [("ipipMode", "Never"), ("vxlanMode", "Never")] {
        if let Some(mode) = fields.text(key).filter(|mode| mode != usual) {
            let text = format!(
                "{mode}: there are no tunnels here; the fabric must route to the nodes, \
                which BGPPeers tell it (peer with every ToR)"
            );
            fields.lost(key, text);
        }
    }
    uses(fields);
    let Some(cidr) = fields.text("cidr") else {
        return fields.lost("cidr", "is missing; the pool is left out");
    };
    let spec = IPPoolSpec {
        cidr: cidr.as_str().into(),
        block_size: fields.number("blockSize"),
        node_selector: selects(fields, "nodeSelector"),
        namespace_selector: selects(fields, "namespaceSelector"),
        disabled: fields.flag("disabled").unwrap_or(false),
        nat_outgoing: fields.flag("natOutgoing").unwrap_or(false),
        disable_bgp_export: fields.flag("disableBGPExport").unwrap_or(false),
    };
    converted.add("IPPool", &name, spec);
    match fields.text("assignmentMode").as_deref() {
        None | Some("Automatic") => {}
        Some("Manual") => {
            let all = IPReservationSpec { reserved_cidrs: vec![cidr.as_str().into()], owner: None };
            let reservation = format!("{name}-manual");
            fields.hint("assignmentMode", format!("Manual became IPReservation/{reservation}"));
            converted.add("IPReservation", &reservation, all);
        }
        Some(other) => fields.lost("assignmentMode", format!("{other:?} has no counterpart")),
    }
}

fn uses(fields: &mut Fields) {
    let uses = fields.texts("allowedUses");
    if uses.is_empty() || uses.iter().any(|used| used == "Workload") {
        if uses.iter().any(|used| used == "LoadBalancer") {
            fields.lost(
                "allowedUses",
                "LoadBalancer: addresses of Services are not given here; leave \
                them to another controller",
            );
        }
    } else {
        fields.lost(
            "allowedUses",
            format!(
                "{}: there are no such addresses here; delete the pool unless \
            pods shall have them",
                uses.join(", ")
            ),
        );
    }
}

/// A reservation.
pub(super) fn reservation(original: &mut Original, converted: &mut Converted) {
    let reserved = original.fields.texts("reservedCIDRs");
    if reserved.is_empty() {
        return original.fields.lost("reservedCIDRs", "is empty; the reservation is left out");
    }
    let reserved_cidrs = reserved.iter().map(|cidr| cidr.as_str().into()).collect();
    converted.add(
        "IPReservation",
        &original.name,
        IPReservationSpec { reserved_cidrs, owner: None },
    );
}

/// What is selected; everything where the expression has no counterpart, with a remark.
pub(super) fn selects(fields: &mut Fields, key: &str) -> Option<Selector> {
    let text = fields.text(key)?;
    selector::parse(&text).unwrap_or_else(|reason| {
        fields.lost(key, format!("{reason}; as it stands, nothing is selected"));
        Some(nothing())
    })
}

/// Selects nothing: an object that is wrong for most nodes does less harm as one for none.
fn nothing() -> Selector {
    let requirement = |operator| routed_api::Requirement {
        key: "slash32.dev/not-converted".to_owned(),
        operator,
        values: Vec::new(),
    };
    let operators = [routed_api::Operator::Exists, routed_api::Operator::DoesNotExist];
    Selector { match_expressions: operators.map(requirement).to_vec(), ..Selector::default() }
}
