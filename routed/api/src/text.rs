//! Text that is something of the field: each type brings its own schema, with rules whose messages
//! say what to write instead.
//!
//! The API server refuses what breaks a rule; whoever reads an object still parses the text, since an
//! object can have been written past its schema.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A kind of text: its name, what it is, its greatest length, and rules of CEL with their messages.
macro_rules! text {
    ($name:ident, $doc:literal, $max:literal, [$(($rule:expr, $message:expr)),+ $(,)?]) => {
        #[doc = $doc]
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "maxLength": $max,
                    "x-kubernetes-validations": [$({"rule": $rule, "message": $message}),+],
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

// A rule that fails leaves the others to be tried, on text that they may not be able to read: each
// rule therefore asks first for what it needs.
text!(
    Cidr,
    "A prefix in its canonical form, without host bits: `10.244.0.0/16`, `fd00:10:244::/48`.",
    49,
    [
        (
            "isCIDR(self)",
            "is not a prefix; write an address and a length, as in 10.244.0.0/16 or fd00:10:244::/48"
        ),
        (
            "!isCIDR(self) || string(cidr(self).masked()) == self",
            "has bits behind its length or is not in its shortest form; write the first address of \
             the prefix in lower case, as in 10.244.0.0/16 or fd00:10:244::/48"
        ),
    ]
);

text!(
    Address,
    "An address or a prefix in its canonical form: `10.244.0.10`, `10.244.0.16/28`.",
    49,
    [
        (
            "isIP(self) || isCIDR(self)",
            "is neither an address nor a prefix; write 10.244.0.10 or 10.244.0.16/28"
        ),
        (
            "!isCIDR(self) || string(cidr(self).masked()) == self",
            "has bits behind its length or is not in its shortest form; write the first address of \
             the prefix in lower case, as in 10.244.0.16/28"
        ),
    ]
);

text!(
    Host,
    "The address of a host.",
    45,
    [
        (
            "isIP(self)",
            "is not an address; write 10.1.1.0 or fd00:1:1::1, a port in a field of its own"
        ),
        (
            "!isIP(self) || !ip(self).isLinkLocalUnicast()",
            "is link-local, which says nothing without a link; use interface, which finds the router \
             on that link"
        ),
        (
            "!isIP(self) || ip(self).isLinkLocalUnicast() || ip(self).isGlobalUnicast()",
            "is no address of another host; write one that a router has, as in 10.1.1.0"
        ),
    ]
);

text!(
    Ipv4,
    "An IPv4 address.",
    15,
    [(
        "isIP(self) && ip(self).family() == 4 && self != '0.0.0.0'",
        "is not an IPv4 address; write one that no other cluster has, as in 10.0.0.250"
    )]
);

text!(
    LabelKey,
    "The key of a label.",
    317,
    [(
        "self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",
        "is not the key of a label; write it as kubectl get nodes --show-labels has it, as in \
         topology.kubernetes.io/rack"
    )]
);

text!(
    Name,
    "The name of another object.",
    253,
    [(
        "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
        "is not the name of an object; write metadata.name of the one that is meant"
    )]
);

text!(
    Community,
    "A community as `routed policy` knows it: `65000:100`, `4200000000:1:2`, `rt:65000:100`, a \
     pattern with `*`, or a well-known name such as `no-export`.",
    64,
    [(
        "self.matches('^([0-9*]+(:[0-9*]+){1,2}|(rt|soo|lb)(:[0-9A-Za-z.*]+){1,2}|[0-9a-f]{16}|[a-z][a-z0-9-]*)$')",
        "is not a community; write 65000:100, a large one as 4200000000:1:2, an extended one as \
         rt:65000:100, or a well-known name such as no-export"
    )]
);
