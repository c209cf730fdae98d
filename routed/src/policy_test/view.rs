//! The result of a test: the JSON for programs and the text for people.

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::{Direction, Question};
use crate::show::{
    table::printable,
    view::{AttrsView, PolicyView},
    why::decider,
};

/// What a policy makes of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyTestView {
    /// The peer.
    pub peer: String,
    /// `import` or `export`.
    pub direction: Direction,
    /// The destination.
    pub prefix: IpNetwork,
    /// Whether the path passes: the policy, and the rules that no policy can overrule.
    pub accepted: bool,
    /// Why not, or what else became of it.
    pub reason: Option<String>,
    /// How the policy came to its answer; `None` if there is none, or if it was not asked.
    pub policy: Option<PolicyView>,
    /// Every attribute that the path has before or after.
    pub attributes: Vec<AttributeView>,
}

/// One attribute, before and after. Lists of communities have one entry for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeView {
    /// Its name, as in the configuration.
    pub name: &'static str,
    /// What it was; `None`: it was not there.
    pub before: Option<String>,
    /// What it is; `None`: it is not there. The same as before if the path is rejected.
    pub after: Option<String>,
}

/// What became of a path, whoever found out.
pub(super) struct Account {
    /// How the policy came to its answer, if it was asked.
    pub(super) policy: Option<PolicyView>,
    /// The path before.
    pub(super) before: AttrsView,
    /// The path after; `None` if it does not pass.
    pub(super) after: Option<AttrsView>,
    /// Why it does not pass, or what else became of it.
    pub(super) reason: Option<String>,
}

impl PolicyTestView {
    pub(super) fn new(question: &Question, peer: String, account: Account) -> Self {
        let Account { policy, before, after, reason } = account;
        Self {
            peer,
            direction: question.direction,
            prefix: question.prefix.into(),
            accepted: after.is_some(),
            reason,
            policy,
            attributes: attributes(&before, after.as_ref().unwrap_or(&before)),
        }
    }
}

/// Every attribute of both.
fn attributes(before: &AttrsView, after: &AttrsView) -> Vec<AttributeView> {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let scalars = |attrs: &AttrsView| {
        [
            ("next_hop", attrs.next_hop.map(|next_hop| next_hop.to_string())),
            ("as_path", Some(attrs.as_path.clone())),
            ("origin", Some(attrs.origin.clone())),
            ("weight", number((attrs.weight > 0).then_some(attrs.weight))),
            ("local_preference", number(attrs.local_preference)),
            ("med", number(attrs.med)),
        ]
    };
    let both = scalars(before).into_iter().zip(scalars(after));
    let single = both.map(|((name, before), (_, after))| AttributeView { name, before, after });
    let mut list: Vec<_> =
        single.filter(|one| one.before.is_some() || one.after.is_some()).collect();
    for (name, before, after) in [
        ("communities", &before.communities, &after.communities),
        ("large_communities", &before.large_communities, &after.large_communities),
        ("extended_communities", &before.extended_communities, &after.extended_communities),
    ] {
        list.extend(before.iter().map(|tag| AttributeView {
            name,
            before: Some(tag.clone()),
            after: after.contains(tag).then(|| tag.clone()),
        }));
        let new = after.iter().filter(|tag| !before.contains(tag));
        list.extend(new.map(|tag| AttributeView { name, before: None, after: Some(tag.clone()) }));
    }
    list
}

/// For people: the statements, who decided, and the attributes with `-` and `+` where they change.
#[must_use]
pub fn text(view: &PolicyTestView) -> String {
    let PolicyTestView { peer, direction, prefix, accepted, reason, policy, attributes } = view;
    let way = match direction {
        Direction::Import => "from",
        Direction::Export => "to",
    };
    let mut lines = vec![printable(&format!("{prefix} {way} {peer}")), String::new()];
    if let Some(policy) = policy {
        lines.extend(steps(policy));
        lines.push(String::new());
        let verb = if policy.accepted { "accepted" } else { "rejected" };
        lines.push(printable(&format!("{verb} by {}", decider(policy))));
    } else {
        lines.push("no policy was asked".to_owned());
    }
    // Who rejected it has been said.
    let said = policy.as_ref().is_some_and(|policy| !policy.accepted);
    if let Some(reason) = reason.as_ref().filter(|_| !said) {
        let verb = if *accepted { "accepted" } else { "refused" };
        lines.push(format!("{verb}, but: {reason}").replace("refused, but", "refused"));
    }
    lines.push(String::new());
    lines.extend(attributes.iter().flat_map(changes));
    lines.join("\n") + "\n"
}

/// Each statement that was tried, inner policies indented under the one that names them.
fn steps(policy: &PolicyView) -> Vec<String> {
    let name = |step: &crate::show::view::StepView| {
        let indent = "  ".repeat(step.depth);
        let statement = step.statement.as_deref().unwrap_or("(default)");
        format!("{indent}{}/{statement}", step.policy)
    };
    let width = policy.steps.iter().map(|step| name(step).chars().count()).max().unwrap_or(0);
    let line = |step| format!("  {:width$}  {}", name(step), step.result);
    policy.steps.iter().map(|step| printable(&line(step))).collect()
}

fn changes(attribute: &AttributeView) -> Vec<String> {
    let AttributeView { name, before, after } = attribute;
    let line = |mark: char, value: &str| {
        let value = if value.is_empty() { "(empty)" } else { value };
        printable(&format!("{mark} {name:20}  {value}"))
    };
    if before == after {
        return before.iter().map(|value| line(' ', value)).collect();
    }
    let old = before.iter().map(|value| line('-', value));
    old.chain(after.iter().map(|value| line('+', value))).collect()
}
