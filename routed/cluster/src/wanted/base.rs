//! The node's own `routed.toml`, to which is added what the cluster says. What stands in it holds.

use std::collections::BTreeSet;

use bgp::aspath::Asn;
use toml::{Table as Toml, Value as TomlValue};

use super::text::{Line, Origin, Table};

/// The file, as far as the conversion looks into it.
pub(super) struct Base<'a> {
    text: &'a str,
    /// Empty if the text is no TOML: then the check says so.
    content: Toml,
}

impl<'a> Base<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        Self { text, content: text.parse().unwrap_or_default() }
    }

    /// Is this key in this table?
    pub(super) fn has(&self, table: &str, key: &str) -> bool {
        self.table(table).is_some_and(|table| table.contains_key(key))
    }

    /// A router without pods.
    pub(super) fn is_speaker(&self) -> bool {
        self.table("node").and_then(|node| node.get("mode")?.as_str()) == Some("speaker")
    }

    /// The AS that is given by hand.
    pub(super) fn asn(&self) -> Option<Asn> {
        match self.table("bgp")?.get("asn")? {
            TomlValue::Integer(number) => u32::try_from(*number).ok().map(Asn),
            TomlValue::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Addresses and interfaces of its `[[peers]]`.
    pub(super) fn peers(&self) -> BTreeSet<&str> {
        let peers = self.content.get("peers").and_then(TomlValue::as_array);
        let peers = peers.into_iter().flatten().filter_map(TomlValue::as_table);
        let keys = peers.flat_map(|peer| [peer.get("address"), peer.get("interface")]);
        keys.flatten().filter_map(TomlValue::as_str).collect()
    }

    /// The lines of the file, each table with its further keys, and then the further tables.
    pub(super) fn with(&self, keys: Vec<(&'static str, Table)>, tables: Vec<Table>) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut keys: Vec<_> = keys.into_iter().filter(|(_, table)| !table.is_empty()).collect();
        for (number, text) in self.text.lines().enumerate() {
            lines.push(Line { text: text.to_owned(), origin: Origin::Base(number + 1) });
            let begun = header(text);
            if let Some(at) = keys.iter().position(|(name, _)| Some(*name) == begun) {
                lines.extend(keys.remove(at).1.into_lines());
            }
        }
        for (name, table) in keys {
            lines.push(own(""));
            lines.push(own(&format!("[{name}]")));
            lines.extend(table.into_lines());
        }
        for table in tables {
            lines.push(own(""));
            lines.extend(table.into_lines());
        }
        lines
    }

    fn table(&self, name: &str) -> Option<&Toml> {
        self.content.get(name)?.as_table()
    }
}

/// The name of the table that begins in this line.
fn header(line: &str) -> Option<&str> {
    let (name, rest) = line.trim().strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim();
    (rest.is_empty() || rest.starts_with('#')).then(|| name.trim().trim_matches(['"', '\'']))
}

fn own(text: &str) -> Line {
    Line { text: text.to_owned(), origin: Origin::Own }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wanted::text::Part;

    fn with(text: &str, keys: &[(&'static str, &str)]) -> String {
        let table = |(name, key): &(&'static str, &str)| {
            let mut table = Table::without_header(Part::whole("Test", "x"));
            table.set(key, 1_u8, "");
            (*name, table)
        };
        let lines = Base::read(text).with(keys.iter().map(table).collect(), Vec::new());
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    #[test]
    fn further_keys_go_into_the_table_that_is_there() {
        let text = "[node]\nname = \"n\"\n\n [ bgp ] # ours\nasn = 1\n[[bgp.aggregates]]\n";
        assert_eq!(
            with(text, &[("bgp", "a"), ("pods", "b")]),
            "[node]\nname = \"n\"\n\n [ bgp ] # ours\na = 1\nasn = 1\n[[bgp.aggregates]]\n\n[pods]\nb = 1\n"
        );
    }

    #[test]
    fn tables_of_lists_are_not_mistaken_for_it() {
        let text = "[[bgp.aggregates]]\nprefix = \"10.0.0.0/8\"\n";
        let merged = with(text, &[("bgp", "a")]);
        assert_eq!(merged, format!("{text}\n[bgp]\na = 1\n"));
        assert!(merged.parse::<Toml>().is_ok());
    }

    #[test]
    fn what_is_in_the_file_is_known() {
        let base = Base::read(
            "[node]\nmode = \"speaker\"\n[bgp]\nasn = \"1.5\"\n[[peers]]\ninterface = \"eth1\"\n",
        );
        assert!(base.is_speaker());
        assert!(base.has("bgp", "asn") && !base.has("bgp", "listen") && !base.has("pods", "mtu"));
        assert_eq!(base.asn(), Some(Asn(65_541)));
        assert_eq!(base.peers(), BTreeSet::from(["eth1"]));
        assert!(!Base::read("[node").has("node", "name"));
    }
}
