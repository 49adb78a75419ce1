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
}
