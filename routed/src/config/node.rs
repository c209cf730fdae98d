//! `[node]`: who this node is.

use super::{Mode, Node, section::Section, value};

/// The section; `None` if the name is missing or refused. The mode stands on its own, since
/// other sections are judged by it.
pub(super) fn read(section: &mut Section<'_, '_>) -> (Option<Node>, Mode) {
    let name = section.required("name", "name = \"rack1-node1\"", value::name);
    let modes = value::word(&["node", "speaker"], [Mode::Node, Mode::Speaker]);
    let mode = section.or("mode", Mode::Node, modes);
    (name.map(|name| Node { name: name.value, mode }), mode)
}
