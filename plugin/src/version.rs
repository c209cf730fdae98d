//! Spec versions, and the result of ADD in the form of each.
//!
//! The daemon answers in the form of 1.1.0; here, and only here, it becomes what an older
//! runtime expects.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cni::{AddResult, Error};

/// A supported version of the CNI specification, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecVersion {
    /// 0.3.0.
    V0_3_0,
    /// 0.3.1.
    V0_3_1,
    /// 0.4.0: adds CHECK.
    V0_4_0,
    /// 1.0.0: drops `version` from addresses.
    V1_0_0,
    /// 1.1.0: adds GC, STATUS, and more fields in the result.
    V1_1_0,
}

impl SpecVersion {
    /// Every supported version.
    pub const ALL: [Self; 5] =
        [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The newest.
    pub const NEWEST: Self = Self::V1_1_0;

    /// As written in `cniVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version of this name, if it is supported.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// CHECK exists.
    #[must_use]
    pub fn has_check(self) -> bool {
        self >= Self::V0_4_0
    }

    /// GC and STATUS exist.
    #[must_use]
    pub fn has_gc_and_status(self) -> bool {
        self >= Self::V1_1_0
    }

    /// The result of ADD as this version has it, as text.
    #[must_use]
    pub fn result_text(self, result: &AddResult) -> String {
        if self < Self::V1_1_0 {
            return self.render_result(result).to_string();
        }
        // Nothing to change, so nothing to build.
        serde_json::to_string(&Current { cni_version: self.as_str(), result })
            .expect("names of fields are text, and writing into memory does not fail")
    }

    /// The result of ADD as this version has it.
    #[must_use]
    pub fn render_result(self, result: &AddResult) -> Value {
        let mut value = json!(result);
        let object = value.as_object_mut().expect("AddResult is a struct");
        object.insert("cniVersion".to_owned(), self.as_str().into());
        if self < Self::V1_1_0 {
            keep_only(object, "interfaces", &["name", "mac", "sandbox"]);
            keep_only(object, "routes", &["dst", "gw"]);
        }
        if self < Self::V1_0_0 {
            for (ip, of) in each(object, "ips").zip(&result.ips) {
                let family = if of.address.is_ipv4() { "4" } else { "6" };
                ip.insert("version".to_owned(), family.into());
            }
        }
        value
    }

    /// An error as every version has it.
    #[must_use]
    pub fn render_error(self, error: &Error) -> Value {
        json!({
            "cniVersion": self.as_str(),
            "code": error.code,
            "msg": error.msg,
            "details": error.details,
        })
    }
}

/// A result in the form in which the daemon gives it.
#[derive(Serialize)]
struct Current<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(flatten)]
    result: &'a AddResult,
}

fn each<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = object.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn keep_only(object: &mut Map<String, Value>, key: &str, known: &[&str]) {
    for entry in each(object, key) {
        entry.retain(|field, _| known.contains(&field.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::{Interface, Ip, Route};

    fn result() -> AddResult {
        let host = Interface {
            name: "s32a".to_owned(),
            mac: Some("ee:ee:ee:ee:ee:ee".to_owned()),
            mtu: Some(1500),
            sandbox: None,
        };
        let pod = Interface {
            name: "eth0".to_owned(),
            sandbox: Some("/run/netns/c1".to_owned()),
            ..host.clone()
        };
        let ip = |address: &str| Ip {
            address: address.parse().unwrap(),
            gateway: None,
            interface: Some(1),
        };
        let route = Route {
            dst: "0.0.0.0/0".parse().unwrap(),
            gw: Some("169.254.1.1".parse().unwrap()),
            mtu: Some(1400),
            scope: Some(0),
        };
        AddResult {
            interfaces: vec![host, pod],
            ips: vec![ip("10.244.1.7/32"), ip("fd00::7/128")],
            routes: vec![route],
            dns: crate::cni::Dns::default(),
        }
    }

    #[test]
    fn the_newest_version_carries_mtu_and_scope() {
        let value = SpecVersion::V1_1_0.render_result(&result());
        assert_eq!(value["cniVersion"], "1.1.0");
        assert_eq!(value["interfaces"][1]["mtu"], 1500);
        assert_eq!(value["interfaces"][1]["sandbox"], "/run/netns/c1");
        assert_eq!(value["routes"][0]["scope"], 0);
        assert!(value["ips"][0].get("version").is_none());
        assert_eq!(value["dns"], json!({}));
    }

    #[test]
    fn text_of_a_result_is_what_it_renders_to() {
        for version in SpecVersion::ALL {
            let text: Value = serde_json::from_str(&version.result_text(&result())).unwrap();
            assert_eq!(text, version.render_result(&result()), "{version:?}");
        }
    }

    #[test]
    fn version_1_0_0_drops_what_came_later() {
        let value = SpecVersion::V1_0_0.render_result(&result());
        assert!(value["interfaces"][1].get("mtu").is_none());
        assert_eq!(value["routes"][0], json!({"dst": "0.0.0.0/0", "gw": "169.254.1.1"}));
        assert!(value["ips"][0].get("version").is_none());
    }

    #[test]
    fn versions_before_1_0_0_name_the_family_of_each_address() {
        for version in [SpecVersion::V0_3_0, SpecVersion::V0_3_1, SpecVersion::V0_4_0] {
            let value = version.render_result(&result());
            assert_eq!(value["cniVersion"], version.as_str());
            assert_eq!(value["ips"][0]["version"], "4");
            assert_eq!(value["ips"][1]["version"], "6");
            assert_eq!(value["ips"][1]["interface"], 1);
            assert!(value["interfaces"][0].get("mtu").is_none());
        }
    }
}
