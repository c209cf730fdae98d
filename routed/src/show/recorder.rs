//! The recorder for people.

use super::{
    table::{Align, Table},
    view::RecorderView,
};

/// One line; there is one recorder.
pub(super) fn text(recorders: &[RecorderView]) -> String {
    if recorders.is_empty() {
        return "nothing is recorded: routed.toml has no [mrt]\n".to_owned();
    }
    let mut table = Table::new()
        .column("FILE", Align::Left)
        .column("STATE", Align::Left)
        .column("OCTETS", Align::Right)
        .column("RECORDS", Align::Right)
        .column("DROPPED", Align::Right)
        .column("ROTATED", Align::Right)
        .column("QUEUED", Align::Right)
        .optional("LAST ERROR", Align::Left);
    for recorder in recorders {
        let failing = recorder.state == "failing";
        table.row([
            recorder.file.display().to_string(),
            recorder.state.clone(),
            recorder.file_octets.to_string(),
            recorder.records.to_string(),
            recorder.dropped.to_string(),
            recorder.rotations.to_string(),
            recorder.queued_octets.to_string(),
            recorder.last_error.clone().filter(|_| failing).unwrap_or_default(),
        ]);
    }
    table.to_string()
}
