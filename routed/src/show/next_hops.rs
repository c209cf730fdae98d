//! Next-hop groups in the kernel, for people.

use super::{
    table::{Align, Table},
    view::NextHopView,
    why,
};

/// One line for each object.
pub(super) fn table(objects: &[NextHopView]) -> String {
    if objects.is_empty() {
        return "no next-hop groups: no routes are learned, [kernel] next_hop_groups is false, or the \
                kernel has no such groups\n"
            .to_owned();
    }
    let mut table = Table::new()
        .column("ID", Align::Left)
        .column("KIND", Align::Left)
        .column("STATE", Align::Left)
        .column("ROUTES", Align::Right)
        .column("HOPS", Align::Left)
        .optional("ERROR", Align::Left);
    for object in objects {
        table.row([
            object.id.to_string(),
            object.kind.clone(),
            object.state.clone(),
            object.routes.to_string(),
            why::hops(&object.hops),
            object.error.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}
