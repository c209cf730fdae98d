//! What the API server did not keep of an object: it drops every field that the definition of the kind
//! does not have, without a word, and an older release's definition lacks what has come since.
//!
//! In: a status as it was written, and as it stands there. Out: the fields that are missing.

use std::collections::BTreeSet;

use serde_json::Value;

/// The fields of `written` that `kept` lacks, as in `status.sessions[].lastError`.
pub(super) fn fields(written: &Value, kept: &Value) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    compare(written, kept, "status", &mut missing);
    missing
}

/// The remedy for these; `None` without any.
pub(super) fn complaint(missing: &BTreeSet<String>) -> Option<String> {
    let fields = missing.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    (!missing.is_empty()).then(|| {
        format!(
            "the API server drops {fields}: the definition of the kind there is older than this \
             daemon; routed crds | kubectl apply --server-side -f -"
        )
    })
}

fn compare(written: &Value, kept: &Value, place: &str, missing: &mut BTreeSet<String>) {
    if let (Value::Object(written), Value::Object(kept)) = (written, kept) {
        for (field, value) in written {
            let place = format!("{place}.{field}");
            match kept.get(field) {
                Some(kept) => compare(value, kept, &place, missing),
                None => drop(missing.insert(place)),
            }
        }
    }
    if let (Value::Array(written), Value::Array(kept)) = (written, kept) {
        let place = format!("{place}[]");
        for (value, kept) in written.iter().zip(kept) {
            compare(value, kept, &place, missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_were_not_kept_are_named_once_each() {
        let session = json!({"peer": "tor", "state": "Connect", "lastError": "no"});
        let written = json!({"version": "2", "sessions": [session, session], "problems": [1]});
        let session = json!({"peer": "tor", "state": "Connect"});
        let kept = json!({"version": "1", "sessions": [session, session], "of_another": 1});
        let missing = fields(&written, &kept);
        assert_eq!(
            missing.iter().map(String::as_str).collect::<Vec<_>>(),
            ["status.problems", "status.sessions[].lastError"]
        );
        let text = complaint(&missing).unwrap();
        assert!(text.contains("status.problems, status.sessions[].lastError"), "{text}");
    }

    #[test]
    fn what_was_kept_as_a_whole_is_no_complaint() {
        let written = json!({"version": "1", "conditions": [{"type": "Ready"}]});
        assert_eq!(complaint(&fields(&written, &written)), None);
    }
}
