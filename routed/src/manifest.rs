//! `routed manifest`: everything that a cluster needs to run us, as one file.
//!
//! In: the templates of the Helm chart in `manifests/chart`, and what differs from its default values.
//! Out: YAML: the namespace, the definitions of our objects, and what the chart comes to.
//!
//! The chart is written once, and what it comes to is made here without Helm; so it keeps to the few
//! expressions that this knows, and a test holds it against what `helm template` says.

use std::fmt::Write as _;

use serde_json::Value;

/// Where the manifest is in the repository, seen from this package.
pub const FILE: &str = "manifests/install.yaml";
/// Where the chart is.
pub const CHART: &str = "manifests/chart";
/// Where everything goes unless said otherwise. A namespace of its own, because what may read Secrets
/// may read all that are beside them.
pub const NAMESPACE: &str = "slash32-system";

/// What differs from the chart's values.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Where everything goes.
    pub namespace: Option<String>,
    /// The image.
    pub image: Option<String>,
    /// Text of `routed.toml`.
    pub config: Option<String>,
}

/// What is wrong with a template or the values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An expression that is not known here.
    #[error("{0:?} is no expression that routed manifest knows; see routed/src/manifest.rs")]
    Unknown(String),
    /// A value that the chart does not have.
    #[error("there is no value {0}")]
    Missing(String),
    /// A value that must be text or a number.
    #[error("{0} is a list or table; pass it through toYaml")]
    NotPlain(String),
    /// The values cannot be read.
    #[error("the chart's values are no YAML: {0}")]
    Values(String),
}

/// Everything, one document after the other.
///
/// # Errors
///
/// [`TemplateError`], which the tests exclude for the chart as it is.
pub fn manifest(choices: &Choices) -> Result<String, TemplateError> {
    let namespace = choices.namespace.as_deref().unwrap_or(NAMESPACE);
    let mut text = String::from("# Made by `routed manifest`.\n");
    let document = |text: &mut String, body: &str| {
        // Writing to a String cannot fail.
        let _ = write!(text, "---\n{}\n", body.trim_end());
    };
    document(&mut text, &NAMESPACE_DOCUMENT.replace("NAMESPACE", namespace));
    for definition in routed_api::manifest().split("---\n").skip(1) {
        document(&mut text, definition);
    }
    let values = values(choices)?;
    for template in TEMPLATES {
        for part in render(template, namespace, &values)?.split("---\n") {
            document(&mut text, part);
        }
    }
    Ok(text)
}

/// The values of the chart, with what differs.
fn values(choices: &Choices) -> Result<Value, TemplateError> {
    let mut values: Value =
        serde_saphyr::from_str(VALUES).map_err(|error| TemplateError::Values(error.to_string()))?;
    for (key, choice) in [("image", &choices.image), ("config", &choices.config)] {
        if let Some(choice) = choice {
            values[key] = choice.as_str().into();
        }
    }
    Ok(values)
}

/// A template of the chart, with its expressions replaced:
///
/// * `{{ .Release.Namespace }}`, `{{ .Values.a.b }}`, the latter also with `| indent N`;
/// * `{{- toYaml .Values.a | nindent N }}` on a line of its own;
/// * `{{- with .Values.a }}` … `{{- end }}` on lines of their own, which vanish with what is between
///   them if the value is empty, and `.` for it inside.
fn render(template: &str, namespace: &str, values: &Value) -> Result<String, TemplateError> {
    let mut rendered = String::new();
    let mut within: Option<&Value> = None;
    for line in template.lines() {
        if let Some(with) = expression(line).and_then(|line| line.strip_prefix("- with ")) {
            within = Some(value(with, values, None)?);
        } else if expression(line) == Some("- end") {
            within = None;
        } else if within.is_none_or(|value| !is_empty(value)) {
            rendered.push_str(&filled(line, namespace, values, within)?);
            rendered.push('\n');
        }
    }
    Ok(rendered)
}

/// The expression that a line consists of.
fn expression(line: &str) -> Option<&str> {
    Some(line.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim())
}

/// A line with its expressions replaced.
fn filled(
    line: &str,
    namespace: &str,
    values: &Value,
    within: Option<&Value>,
) -> Result<String, TemplateError> {
    let Some((before, rest)) = line.split_once("{{") else { return Ok(line.to_owned()) };
    let unknown = || TemplateError::Unknown(line.trim().to_owned());
    let (inside, after) = rest.split_once("}}").ok_or_else(unknown)?;
    let mut parts = inside.trim_start_matches('-').split('|').map(str::trim);
    let source = parts.next().unwrap_or_default();
    let text = if source == ".Release.Namespace" {
        namespace.to_owned()
    } else if let Some(path) = source.strip_prefix("toYaml ") {
        let value = value(path, values, within)?;
        let yaml = serde_saphyr::to_string(value);
        yaml.map_err(|error| TemplateError::Values(error.to_string()))?.trim_end().to_owned()
    } else {
        match value(source, values, within)? {
            Value::String(text) => text.trim_end().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(TemplateError::NotPlain(source.to_owned()));
            }
        }
    };
    // Indentation begins on the expression's own line, whatever blanks stand before it.
    let (before, text) = match parts.next().map(|filter| filter.split_once(' ')) {
        None => (before, text),
        Some(Some(("indent" | "nindent", width))) => {
            let width: usize = width.trim().parse().map_err(|_| unknown())?;
            ("", indented(&text, width))
        }
        Some(_) => return Err(unknown()),
    };
    Ok(format!("{before}{text}{}", filled(after, namespace, values, within)?))
}

/// `.Values.a.b`, or `.` for what `with` names.
fn value<'v>(
    path: &str,
    values: &'v Value,
    within: Option<&'v Value>,
) -> Result<&'v Value, TemplateError> {
    let missing = || TemplateError::Missing(path.to_owned());
    if path == "." {
        return within.ok_or_else(missing);
    }
    let keys =
        path.strip_prefix(".Values.").ok_or_else(|| TemplateError::Unknown(path.to_owned()))?;
    keys.split('.').try_fold(values, |value, key| value.get(key)).ok_or_else(missing)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn indented(text: &str, width: usize) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("{:width$}{line}", "")).collect();
    lines.join("\n")
}

/// Pods of it may use the host's network and folders.
const NAMESPACE_DOCUMENT: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: NAMESPACE
  labels:
    app.kubernetes.io/name: slash32
    pod-security.kubernetes.io/enforce: privileged
";
const VALUES: &str = include_str!("../manifests/chart/values.yaml");
/// In the order in which they are needed.
const TEMPLATES: [&str; 3] = [
    include_str!("../manifests/chart/templates/rbac.yaml"),
    include_str!("../manifests/chart/templates/config.yaml"),
    include_str!("../manifests/chart/templates/daemonset.yaml"),
];

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    fn rendered(template: &str) -> Result<String, TemplateError> {
        let values = serde_json::json!({
            "name": "a", "count": 3, "none": [], "some": [{"key": "b"}], "deep": {"text": "x\ny\n"},
        });
        render(template, "ns", &values)
    }

    #[test]
    fn expressions_become_what_helm_makes_of_them() {
        let simple = "a: {{ .Values.name }}-{{ .Values.count }} in {{ .Release.Namespace }}\n";
        assert_eq!(rendered(simple).unwrap(), "a: a-3 in ns\n");
        assert_eq!(
            rendered("  t: |\n{{ .Values.deep.text | indent 4 }}\n").unwrap(),
            "  t: |\n    x\n    y\n"
        );
        let list = "list:\n  {{- toYaml .Values.some | nindent 2 }}\n";
        assert_eq!(rendered(list).unwrap(), "list:\n  - key: b\n");
        assert_eq!(
            rendered("l:\n  {{- toYaml .Values.none | nindent 2 }}\n").unwrap(),
            "l:\n  []\n"
        );
        let with = |value| {
            format!(
                "- a\n  {{{{- with .Values.{value} }}}}\n  {{{{- toYaml . | nindent 2 }}}}\n  {{{{- end }}}}\n- c\n"
            )
        };
        assert_eq!(rendered(&with("some")).unwrap(), "- a\n  - key: b\n- c\n");
        assert_eq!(rendered(&with("none")).unwrap(), "- a\n- c\n");
    }

    #[test]
    fn what_is_not_known_is_an_error_and_not_left_standing() {
        let error = |template| rendered(template).unwrap_err();
        assert_eq!(error("{{ .Values.nam }}"), TemplateError::Missing(".Values.nam".to_owned()));
        assert_eq!(error("{{ .Values.some }}"), TemplateError::NotPlain(".Values.some".to_owned()));
        for template in ["{{ include \"x\" . }}", "{{ .Values.name | quote }}", "{{ .Values.name"] {
            assert!(matches!(error(template), TemplateError::Unknown(_)), "{template}");
        }
    }

    /// Compares with the file in the repository, or writes it with `UPDATE=1`.
    fn is_recorded(name: &str, text: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if env::var_os("UPDATE").is_some() {
            fs::write(&file, text).unwrap();
        }
        let recorded = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            recorded == text,
            "{name} is not what the program makes; run the test with UPDATE=1"
        );
    }

    #[test]
    fn files_are_what_the_program_prints() {
        is_recorded(FILE, &manifest(&Choices::default()).unwrap());
        is_recorded(&format!("{CHART}/crds/slash32.yaml"), &routed_api::manifest());
    }

    #[test]
    fn choices_take_the_place_of_values_and_versions_are_those_of_the_program() {
        let choices = Choices {
            namespace: Some("net".to_owned()),
            image: Some("registry.test/slash32:9".to_owned()),
            config: Some("[kubernetes]\n[kernel]\nmetric = 20\n".to_owned()),
        };
        let text = manifest(&choices).unwrap();
        assert!(!text.contains(NAMESPACE));
        for part in ["namespace: net\n", "image: registry.test/slash32:9\n", "    metric = 20\n"] {
            assert!(text.contains(part), "{part}");
        }
        let version = env!("CARGO_PKG_VERSION");
        assert!(VALUES.contains(&format!("image: slash32:{version}\n")));
        let chart = include_str!("../manifests/chart/Chart.yaml");
        assert!(chart.contains(&format!("version: {version}\nappVersion: \"{version}\"\n")));
    }
}
