//! A CNI plugin that does nothing: reads its configuration, prints a result for ADD, and ends. What
//! `testbed bench cni` measures with it is what starting any plugin costs.

use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let mut conf = Vec::new();
    io::stdin().read_to_end(&mut conf)?;
    if std::env::var_os("CNI_COMMAND").is_some_and(|verb| verb == "ADD") {
        io::stdout().write_all(
            br#"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/"}],"ips":[]}"#,
        )?;
    }
    Ok(())
}
