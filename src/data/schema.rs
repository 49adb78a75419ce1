//! The columns of a table as a model takes them, and how their cells become features: numbers stay, each
//! category gets a feature that is 1 where a row has it, and so does "is missing" where values were.

use serde_json::{Value, json};

use crate::data::features::Features;
use crate::data::preprocess::Missing;
use crate::data::table::{Column, ColumnKind, Table};
use crate::error::{Error, Place, Result, counted};
use crate::memory::{Room, Size, with_capacity};
use crate::text::shortened;

/// The columns that a model takes, in the order of its features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The column that the labels came from.
    pub label: Option<String>,
    /// The columns with their categories, as in the training table.
    pub columns: Vec<Column>,
    /// Those columns in which values were missing, by index: each has a feature that says so.
    pub indicators: Vec<usize>,
    /// What stands for missing values.
    pub missing: Missing,
}

/// Bytes of a feature.
const FLOAT: u64 = 4;
/// How many columns with missing values are told.
const MAX_TOLD: usize = 10;

impl Schema {
    /// Of a training table.
    pub fn of(table: &Table, missing: Missing) -> Self {
        let has_missing = |&(_, count): &(usize, usize)| count > 0 && missing.is_imputed();
        let indicators = table.missing().into_iter().enumerate().filter(has_missing);
        Self {
            label: table.label_column.clone(),
            columns: table.columns.clone(),
            indicators: indicators.map(|(index, _)| index).collect(),
            missing,
        }
    }

    /// The number of features, D.
    pub fn inputs(&self) -> usize {
        self.columns.iter().map(width).sum::<usize>() + self.indicators.len()
    }

    /// The names of the features: `age`, `sex = male`, `age is missing`.
    pub fn feature_names(&self) -> Vec<String> {
        let of_column = |column: &Column| match &column.kind {
            ColumnKind::Number => vec![column.name.clone()],
            ColumnKind::Category(categories) => {
                categories.iter().map(|category| format!("{} = {category}", column.name)).collect()
            }
        };
        let indicator = |&index: &usize| format!("{} is missing", self.columns[index].name);
        let of_columns = self.columns.iter().flat_map(of_column);
        of_columns.chain(self.indicators.iter().map(indicator)).collect()
    }

    /// What a missing value of each feature counts as: what is `imputed` for a number, and 0 for a category, which a
    /// row without one does not have.
    pub fn stand_ins(&self, imputed: &[f32]) -> Vec<f32> {
        let is_number = |column: &Column| column.kind == ColumnKind::Number;
        let of_columns = self.columns.iter();
        let kinds = of_columns.flat_map(|it| std::iter::repeat_n(is_number(it), width(it)));
        let kinds = kinds.chain(self.indicators.iter().map(|_| false));
        imputed.iter().zip(kinds).map(|(&value, is_it)| if is_it { value } else { 0.0 }).collect()
    }

    /// The features of a table that was read with these columns. Its cells are taken out of it where they are
    /// the features, because a copy would double the memory.
    ///
    /// # Errors
    /// Where values are missing and nothing stands for them, with this hint.
    pub fn features(&self, table: &mut Table, hint: &str) -> Result<Features> {
        if !self.missing.is_imputed() {
            refuse_missing(table, hint)?;
        }
        if self.has_only_numbers() {
            return Ok(Features::floats(std::mem::take(&mut table.cells), self.inputs()));
        }
        let mut values = with_capacity(table.rows.saturating_mul(self.inputs()));
        for row in table.cells.chunks_exact(self.columns.len()) {
            for (column, &cell) in self.columns.iter().zip(row) {
                match &column.kind {
                    ColumnKind::Number => values.push(cell),
                    ColumnKind::Category(categories) => {
                        let is_it = |category| f32::from(u8::from(cell == category as f32));
                        values.extend((0..categories.len()).map(is_it));
                    }
                }
            }
            let indicator = |&index: &usize| f32::from(u8::from(row[index].is_nan()));
            values.extend(self.indicators.iter().map(indicator));
        }
        Ok(Features::floats(values, self.inputs()))
    }

    fn has_only_numbers(&self) -> bool {
        let is_number = |column: &Column| column.kind == ColumnKind::Number;
        self.columns.iter().all(is_number) && self.indicators.is_empty()
    }

    /// Why the features of so many rows do not fit into memory, as a clause, if they do not. Cells that are
    /// the features need no more of it.
    pub fn too_large(&self, rows: usize) -> Option<String> {
        let inputs = self.inputs();
        let bytes = (rows as u64).saturating_mul(inputs as u64).saturating_mul(FLOAT);
        let (needed, left) = Room::now().lacks(bytes, 0).filter(|_| !self.has_only_numbers())?;
        let (rows, features) = (counted(rows, "row"), counted(inputs, "feature"));
        let needed = Size(needed);
        Some(format!("found {rows} of {features}, which need about {needed} of memory, but {left}"))
    }

    /// The column with the most features, and how many.
    pub fn widest(&self) -> Option<(&str, usize)> {
        let widths = self.columns.iter().map(|column| (&column.name[..], width(column)));
        widths.max_by_key(|(_, width)| *width)
    }

    /// As a model's file holds it.
    pub fn to_json(&self) -> String {
        let column = |column: &Column| match &column.kind {
            ColumnKind::Number => json!({ "name": column.name }),
            ColumnKind::Category(categories) => {
                json!({ "name": column.name, "categories": categories })
            }
        };
        json!({
            "label": self.label,
            "missing": self.missing.name(),
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
            "indicators": self.indicators,
        })
        .to_string()
    }

    /// Reads what [`Schema::to_json`] wrote.
    ///
    /// # Errors
    /// A clause that says so where it is something else.
    pub fn from_json(text: &str) -> std::result::Result<Self, String> {
        let parsed: Option<Self> = serde_json::from_str(text).ok().as_ref().and_then(read);
        parsed.ok_or_else(|| "found a schema of columns that rookie did not write".to_string())
    }
}

fn refuse_missing(table: &Table, hint: &str) -> Result<()> {
    let of_columns = table.missing().into_iter().zip(&table.columns);
    let missing: Vec<(usize, &Column)> = of_columns.filter(|(count, _)| *count > 0).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let told = missing.iter().take(MAX_TOLD);
    let mut told: Vec<String> =
        told.map(|(count, column)| format!("{count} in `{}`", shortened(&column.name))).collect();
    if missing.len() > MAX_TOLD {
        told.push(format!("and in {}", counted(missing.len() - MAX_TOLD, "further column")));
    }
    let found = format!("missing values: {}", told.join(", "));
    Err(Error::unexpected(Place::file(&table.path), found, "none").hint(hint))
}

fn width(column: &Column) -> usize {
    match &column.kind {
        ColumnKind::Number => 1,
        ColumnKind::Category(categories) => categories.len(),
    }
}

fn read(json: &Value) -> Option<Schema> {
    let text = |value: &Value| value.as_str().map(String::from);
    let column = |value: &Value| {
        let kind = match value.get("categories") {
            None => ColumnKind::Number,
            Some(categories) => ColumnKind::Category(
                categories.as_array()?.iter().map(text).collect::<Option<_>>()?,
            ),
        };
        Some(Column { name: text(value.get("name")?)?, kind })
    };
    let columns: Vec<Column> =
        json["columns"].as_array()?.iter().map(column).collect::<Option<_>>()?;
    let index = |value: &Value| {
        let index = value.as_u64()? as usize;
        (index < columns.len()).then_some(index)
    };
    let indicators = json["indicators"].as_array()?.iter().map(index).collect::<Option<_>>()?;
    let missing = Missing::named(json["missing"].as_str()?)?;
    Some(Schema { label: text(&json["label"]), columns, indicators, missing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::csv_file;
    use crate::data::features::Values;
    use crate::data::table::Columns;

    const PENGUINS: &str = "bill,island,mass,species\n39.1,Torgersen,3750,Adelie\n,Biscoe,3800,Adelie\n\
                            40.5,NA,,Gentoo\n46.0,Dream,3900,Gentoo\n";

    fn read(text: &str, columns: &Columns) -> Table {
        csv_file::from_bytes("penguins.csv".as_ref(), text.as_bytes(), columns).unwrap()
    }

    #[test]
    fn a_missing_category_counts_as_none_of_them() {
        let kinds = [ColumnKind::Number, ColumnKind::Category(vec!["a".into(), "b".into()])];
        let columns = kinds.map(|kind| Column { name: "c".into(), kind }).to_vec();
        let schema = Schema { label: None, columns, indicators: vec![0], missing: Missing::Mean };
        assert_eq!(schema.stand_ins(&[7.0, 0.4, 0.6, 0.1]), [7.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn categories_and_missing_values_become_features_with_names() {
        let mut table = read(PENGUINS, &Columns::default());
        let schema = Schema::of(&table, Missing::Mean);
        assert_eq!(
            schema.feature_names().join(", "),
            "bill, island = Biscoe, island = Dream, island = Torgersen, mass, bill is missing, \
             island is missing, mass is missing"
        );
        let features = schema.features(&mut table, "").unwrap();
        assert_eq!(features.row(0), [39.1, 0.0, 0.0, 1.0, 3750.0, 0.0, 0.0, 0.0]);
        assert_eq!(features.row(2)[1..4], [0.0, 0.0, 0.0], "no category is known");
        assert_eq!(features.row(2)[5..], [0.0, 1.0, 1.0]);
        assert!(features.row(1)[0].is_nan() && features.row(1)[5] == 1.0);
    }

    #[test]
    fn missing_values_are_counted_by_column_where_nothing_stands_for_them() {
        let mut table = read(PENGUINS, &Columns::default());
        let schema = Schema::of(&table, Missing::Refused);
        let problem = schema.features(&mut table, "fill them in").unwrap_err().to_string();
        let expected = "penguins.csv: found missing values: 1 in `bill`, 1 in `island`, 1 in `mass`, \
                        expected none; fill them in";
        assert_eq!(problem, expected);
    }

    #[test]
    fn another_table_gets_the_features_of_the_first_whatever_the_order_of_its_columns() {
        let table = read(PENGUINS, &Columns::default());
        let schema = Schema::of(&table, Missing::Median);
        let wanted = Columns {
            label: crate::data::table::LabelColumn::None,
            wanted: Some(schema.columns.clone()),
            ..Columns::default()
        };
        let mut other = read("mass,colour,island,bill\n1,red,Dream,2\n3,red,Bouvet,4\n", &wanted);
        let features = schema.features(&mut other, "").unwrap();
        let Values::Bytes(values) = features.values() else { panic!("whole numbers") };
        assert_eq!(values[..8], [2, 0, 1, 0, 1, 0, 0, 0]);
        assert_eq!(values[8..], [4, 0, 0, 0, 3, 0, 0, 0], "an unknown category is none");
    }

    #[test]
    fn a_schema_comes_back_from_its_text_and_others_are_refused() {
        let table = read(PENGUINS, &Columns::default());
        for missing in Missing::ALL {
            let schema = Schema::of(&table, missing);
            assert_eq!(Schema::from_json(&schema.to_json()).as_ref(), Ok(&schema));
        }
        for text in [
            "",
            "{}",
            "[]",
            r#"{"columns":[{"name":1}],"indicators":[],"missing":"mean"}"#,
            r#"{"columns":[{"name":"a"}],"indicators":[1],"missing":"mean"}"#,
        ] {
            assert!(Schema::from_json(text).is_err(), "{text}");
        }
    }
}
