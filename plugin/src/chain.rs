//! Being one of several plugins: what earlier ones made, and what we add to it.
//!
//! In: the `prevResult` as the runtime passed it, and our own result in the same version. Out: both
//! as one. Earlier plugins' entries stay as they are, with fields that we do not know.

use serde_json::{Map, Value, json};

use crate::cni::{Error, code};

/// A `prevResult`, known to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before(Map<String, Value>);

impl Before {
    /// Checks it, before anything is done.
    ///
    /// # Errors
    ///
    /// [`code::DECODING_FAILURE`] if it is no result.
    pub fn read(prev_result: Value) -> Result<Self, Error> {
        let refused = |what: &str| Error {
            code: code::DECODING_FAILURE,
            msg: "prevResult is not understood".to_owned(),
            details: format!("{what}; it must be what the plugin before this one printed"),
        };
        let Value::Object(mut result) = prev_result else { return Err(refused("it is no object")) };
        for key in LISTS {
            let list = result.entry(key).or_insert(Value::Null);
            if list.is_null() {
                *list = json!([]);
            }
            if !list.is_array() {
                return Err(refused(&format!("{key} is no list")));
            }
        }
        Ok(Self(result))
    }

    /// With our result behind it.
    #[must_use]
    pub fn append(mut self, mut ours: Value) -> Value {
        let offset = self.0["interfaces"].as_array().map_or(0, Vec::len);
        for ip in ours["ips"].as_array_mut().into_iter().flatten() {
            if let Some(interface) = ip["interface"].as_u64() {
                ip["interface"] = json!(interface + offset as u64);
            }
        }
        for key in LISTS {
            if let (Some(all), Some(own)) = (self.0[key].as_array_mut(), ours[key].as_array_mut()) {
                all.append(own);
            }
        }
        // Name servers are those of the first who gave any.
        if self.0.get("dns").is_none_or(|dns| dns.as_object().is_none_or(Map::is_empty)) {
            self.0.insert("dns".to_owned(), ours["dns"].take());
        }
        self.0.insert("cniVersion".to_owned(), ours["cniVersion"].take());
        Value::Object(self.0)
    }
}

/// What a result lists.
const LISTS: [&str; 3] = ["interfaces", "ips", "routes"];

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Value {
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "s32a"}, {"name": "net1", "sandbox": "/run/netns/c1"}],
            "ips": [{"address": "10.244.1.7/32", "interface": 1}],
            "routes": [{"dst": "169.254.1.1/32"}],
            "dns": {},
        })
    }

    #[test]
    fn ours_comes_last_and_its_addresses_point_to_its_own_interfaces() {
        let before = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1", "pciID": "0000:01:00.0"}],
            "ips": [{"address": "192.0.2.7/24", "interface": 0}],
            "dns": {"nameservers": ["192.0.2.53"]},
        });
        let both = Before::read(before.clone()).unwrap().append(ours());
        assert_eq!(both["interfaces"][0], before["interfaces"][0]);
        assert_eq!(both["interfaces"][2]["name"], "net1");
        assert_eq!(both["ips"][0], before["ips"][0]);
        assert_eq!(both["ips"][1], json!({"address": "10.244.1.7/32", "interface": 2}));
        assert_eq!(both["routes"], json!([{"dst": "169.254.1.1/32"}]));
        assert_eq!(both["dns"], before["dns"]);
    }

    #[test]
    fn an_empty_result_before_us_changes_nothing_of_ours() {
        for before in [json!({}), json!({"interfaces": null, "dns": {}})] {
            assert_eq!(Before::read(before).unwrap().append(ours()), ours());
        }
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for before in [json!(7), json!([]), json!({"ips": {}})] {
            assert_eq!(Before::read(before).unwrap_err().code, code::DECODING_FAILURE);
        }
    }
}
