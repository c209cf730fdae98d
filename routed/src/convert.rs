//! `routed convert calico`: objects of Calico to ours.
//!
//! In: YAML as `kubectl get -o yaml` and `calicoctl get -o yaml` print it: single objects, lists, several
//! documents. Out: our objects as YAML, and for every field that has no counterpart a [`Note`] with the
//! reason and the remedy. Nothing is dropped without one.

mod configuration;
mod fields;
mod filter;
mod peer;
mod pool;
mod selector;

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value, json};

use self::fields::Fields;

/// Where Calico's objects are at home: as its API server shows them, and as they are stored.
const CALICO: [&str; 2] = ["projectcalico.org/v3", "crd.projectcalico.org/v1"];
/// AS of nodes in Calico, and with us, where nothing is said.
const DEFAULT_AS: u32 = 64512;

/// What came of the files.
#[derive(Debug, Default)]
pub struct Converted {
    /// Our objects, in the order of those that they were made from.
    pub objects: Vec<Value>,
    /// What a person has to look at.
    pub notes: Vec<Note>,
}

/// Something that a person has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether something of the original is not in the result.
    pub is_loss: bool,
    /// Kind and name of the original, as in `BGPPeer/tor`.
    pub object: String,
    /// Path of the field in it, as in `spec.filters`; empty for the object as a whole.
    pub field: String,
    /// What about it, and the remedy.
    pub text: String,
}

/// `BGPPeer/tor: spec.filters: …`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.field.is_empty() { "" } else { ": " };
        write!(f, "{}: {}{end}{}", self.object, self.field, self.text)
    }
}

/// A file that nothing can be made of.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It cannot be read.
    #[error("{}: {cause}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is larger than any cluster's objects.
    #[error("{}: larger than {} MiB; give just the objects of Calico", file.display(), MAX_FILE >> 20)]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// It is no YAML.
    #[error("{}: is not YAML: {cause}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where and why.
        cause: String,
    },
    /// There is nothing of Calico's in any of the files.
    #[error(
        "no object of Calico in there; give what this prints: \
         kubectl get ippools,bgppeers,bgpconfigurations,bgpfilters -o yaml"
    )]
    Nothing,
}

/// Converts the objects of all files. `-` is stdin.
///
/// # Errors
///
/// [`ConvertError`] if one of the files cannot be read, or nothing of Calico's is in any of them.
pub fn calico(files: &[PathBuf]) -> Result<Converted, ConvertError> {
    let mut found = Vec::new();
    for file in files {
        let text = read(file)?;
        let syntax = |cause: String| ConvertError::Syntax { file: file.clone(), cause };
        for document in parse(&text).map_err(syntax)? {
            flatten(document, &mut found);
        }
    }
    let converted = convert(&found);
    if converted.objects.is_empty() && converted.notes.is_empty() {
        return Err(ConvertError::Nothing);
    }
    Ok(converted)
}

impl Converted {
    /// True if something of the originals is in no object.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        self.notes.iter().any(|note| note.is_loss)
    }

    /// The objects as YAML, a document each.
    ///
    /// # Panics
    ///
    /// Never: they are plain data.
    #[must_use]
    pub fn yaml(&self) -> String {
        let yaml = |object| serde_saphyr::to_string(object).expect("an object is plain data");
        self.objects.iter().map(|object| format!("---\n{}", yaml(object))).collect()
    }

    fn note(&mut self, is_loss: bool, object: &str, text: impl Into<String>) {
        let (object, field) = (object.to_owned(), String::new());
        self.notes.push(Note { is_loss, object, field, text: text.into() });
    }

    fn add(&mut self, kind: &str, name: &str, spec: impl Serialize) {
        self.objects.push(json!({
            "apiVersion": "slash32.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": serde_json::to_value(spec).unwrap_or_default(),
        }));
    }
}

/// Everything that is said about one object.
struct Original {
    kind: String,
    name: String,
    fields: Fields,
}

impl Original {
    fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

fn read(file: &Path) -> Result<String, ConvertError> {
    let unreadable = |cause| ConvertError::Unreadable { file: file.to_owned(), cause };
    let source: Box<dyn io::Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(file).map_err(unreadable)?)
    };
    let mut text = String::new();
    source.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(ConvertError::TooLarge { file: file.to_owned() });
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.to_string())
}

/// A list stands for its items.
fn flatten(document: Value, found: &mut Vec<Value>) {
    match document {
        Value::Array(list) => list.into_iter().for_each(|item| flatten(item, found)),
        Value::Object(mut object) => match object.remove("items") {
            Some(Value::Array(items)) => {
                // Items of calicoctl's lists have a kind of their own; those of a raw list do not.
                let kind = object.get("kind").and_then(Value::as_str);
                let kind = kind.and_then(|kind| kind.strip_suffix("List")).unwrap_or_default();
                let kind = Value::from(kind);
                let version = object.get("apiVersion").cloned().unwrap_or_default();
                for mut item in items {
                    if let Some(item) = item.as_object_mut() {
                        item.entry("kind").or_insert_with(|| kind.clone());
                        item.entry("apiVersion").or_insert_with(|| version.clone());
                    }
                    flatten(item, found);
                }
            }
            Some(_) | None => found.push(Value::Object(object)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn convert(found: &[Value]) -> Converted {
    let mut converted = Converted::default();
    let mut originals: Vec<_> =
        found.iter().filter_map(|value| original(value, &mut converted)).collect();
    let ours = configuration::own_as(&originals).unwrap_or(DEFAULT_AS);
    let filters = filter::names(&originals);
    for original in &mut originals {
        match &*original.kind {
            "IPPool" => pool::pool(original, &mut converted),
            "IPReservation" => pool::reservation(original, &mut converted),
            "BGPConfiguration" => configuration::convert(original, &mut converted),
            "BGPPeer" => peer::convert(original, ours, &filters, &mut converted),
            "BGPFilter" => filter::convert(original, &mut converted),
            _ => {
                let text = "has no counterpart; what it is for is not converted";
                converted.note(true, &original.title(), text);
                continue;
            }
        }
        let object = original.title();
        converted.notes.extend(original.fields.notes(&object));
    }
    converted
}

/// The object, if it is one of Calico's.
fn original(value: &Value, converted: &mut Converted) -> Option<Original> {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let title = format!("{}/{name}", if kind.is_empty() { "(no kind)" } else { kind });
    if !CALICO.contains(&version) {
        let text =
            format!("{version:?} is not Calico's API ({}); it is left out", CALICO.join(", "));
        converted.note(true, &title, text);
        return None;
    }
    if name.is_empty() {
        converted.note(true, &title, "has no metadata.name; it is left out");
        return None;
    }
    let (kind, name) = (kind.to_owned(), name.to_owned());
    let spec = value.get("spec").cloned().unwrap_or_default();
    Some(Original { kind, name, fields: Fields::new("spec", spec) })
}

/// Far more than a cluster has.
const MAX_FILE: u64 = 64 << 20;

#[cfg(test)]
mod tests;
