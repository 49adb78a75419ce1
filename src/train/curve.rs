//! A run's curve as a file.

use std::path::Path;

use crate::data::file;
use crate::error::{Error, Place, Result};
use crate::train::score::{CurveRow, Score};

/// A run's curve as CSV. Numbers are the shortest that read back as the same float32.
pub fn curve_csv(rows: &[CurveRow]) -> Vec<u8> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let number = |value: f64| (value as f32).to_string();
    let into_memory = "writing into memory does not fail";
    csv.write_record([
        "epoch",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    ])
    .expect(into_memory);
    for row in rows {
        let validation = |pick: fn(Score) -> f64| row.validation.map(pick).map(number);
        csv.write_record([
            row.epoch.to_string(),
            number(row.learning_rate),
            number(row.train.loss),
            number(row.train.accuracy),
            validation(|score| score.loss).unwrap_or_default(),
            validation(|score| score.accuracy).unwrap_or_default(),
        ])
        .expect(into_memory);
    }
    csv.into_inner().expect(into_memory)
}

/// The largest curve that is read: a million epochs take about 80 MB.
const MAX_CURVE: u64 = 256 << 20;

/// Reads the curve that [`curve_csv`] wrote.
///
/// # Errors
/// Where the file cannot be read or is no whole curve: its line is named.
pub fn read_curve(path: &Path) -> Result<Vec<CurveRow>> {
    let text = file::read(path, "a curve.csv of a run", MAX_CURVE)?;
    let mut csv = csv::Reader::from_reader(&text[..]);
    let mut rows = Vec::new();
    for record in csv.records() {
        let place = || Place::Line(path.to_path_buf(), rows.len() + 2);
        let wrong = || Error::unexpected(place(), "another line", "a row of a curve.csv");
        let record = record.map_err(|_| wrong())?;
        let number = |field: usize| -> Result<Option<f64>> {
            match record.get(field).ok_or_else(wrong)? {
                "" => Ok(None),
                text => text.parse().map(Some).map_err(|_| wrong()),
            }
        };
        let present = |field| number(field)?.ok_or_else(wrong);
        let score = |loss, accuracy| Score { loss, accuracy };
        if present(0)? != (rows.len() + 1) as f64 {
            let expected = format!("epoch {}", rows.len() + 1);
            return Err(Error::unexpected(place(), format!("epoch {}", present(0)?), expected));
        }
        rows.push(CurveRow {
            epoch: rows.len() + 1,
            learning_rate: present(1)?,
            train: score(present(2)?, present(3)?),
            validation: number(4)?.zip(number(5)?).map(|(loss, accuracy)| score(loss, accuracy)),
        });
    }
    if rows.is_empty() {
        let found = "no epoch";
        return Err(Error::unexpected(Place::file(path), found, "a curve.csv of a run"));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_leaves_validation_empty_where_there_was_none() {
        let train = Score { loss: 0.5, accuracy: 0.75 };
        let validation = Some(Score { loss: 0.25, accuracy: 0.875 });
        let rows = [
            CurveRow { epoch: 1, learning_rate: 0.2, train, validation: None },
            CurveRow { epoch: 2, learning_rate: 0.2 * 0.3, train, validation },
        ];
        let expected = "epoch,learning_rate,train_loss,train_accuracy,validation_loss,\
                        validation_accuracy\n1,0.2,0.5,0.75,,\n2,0.06,0.5,0.75,0.25,0.875\n";
        assert_eq!(String::from_utf8(curve_csv(&rows)).unwrap(), expected);
    }
}
