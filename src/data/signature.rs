//! What a model takes and gives, as the data were read: columns and labels.

use crate::data::schema::Schema;

/// The columns that a model takes and the labels that it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The label of each class as the data give it, C of them.
    pub labels: Vec<String>,
    /// The columns of a table; `None` for images.
    pub schema: Option<Schema>,
}

impl Signature {
    /// What is classified, as messages call it: an image, or a row of a table.
    pub fn noun(&self) -> &'static str {
        if self.schema.is_some() { "row" } else { "image" }
    }

    /// Of classes whose labels are their numbers from 0.
    pub fn numbered(classes: usize) -> Self {
        Self { labels: (0..classes).map(|class| class.to_string()).collect(), schema: None }
    }

    /// The first feature or class that other data name otherwise, and its name here; `None` where all agree, and
    /// where one of both is of images.
    pub fn first_difference(&self, data: &Self) -> Option<(String, String)> {
        let (here, there) = (self.schema.as_ref()?, data.schema.as_ref()?);
        differing("feature", &there.feature_names(), &here.feature_names())
            .or_else(|| differing("class", &data.labels, &self.labels))
    }
}

/// What stands at the first place where two lists of names differ.
fn differing(what: &str, found: &[String], expected: &[String]) -> Option<(String, String)> {
    let mut places = 0..found.len().max(expected.len());
    let at = places.find(|&at| found.get(at) != expected.get(at))?;
    let name = |names: &[String]| names.get(at).map_or("none".into(), |name| format!("`{name}`"));
    Some((format!("{} as {what} {}", name(found), at + 1), name(expected)))
}
