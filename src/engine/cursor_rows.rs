//! The rows of a cursor over several shards, and where it stands among them. Pure.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{Error, Result, SqlState};
use crate::shard::{Formats, OutputColumn, RowBatch};
use crate::sql::Direction;
use crate::types::{Datum, Format, TextStyle};

/// Rows in text, all of them.
#[derive(Debug, Default)]
pub(super) struct CursorRows {
    /// Their frames, of [`RowBatch`].
    rows: Vec<Bytes>,
    bytes: usize,
    /// The row on which it stands, from 1; 0 before the first, one more than there are after the last.
    at: usize,
    /// Declared with NO SCROLL.
    only_forward: bool,
}

impl CursorRows {
    pub(super) fn new(only_forward: bool) -> CursorRows {
        CursorRows { only_forward, ..CursorRows::default() }
    }

    pub(super) fn add(&mut self, batch: RowBatch) {
        self.bytes += batch.frames.len();
        let mut frames = batch.frames.freeze();
        while let Some(length) = frames.get(1..5) {
            let length = 1 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            self.rows.push(frames.split_to(length.min(frames.len())));
        }
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.rows.len() * size_of::<Bytes>()
    }

    /// Moves as FETCH does. Gives the rows that it passes or comes to, as numbers from 0 in their order.
    ///
    /// # Errors
    /// 55000: it goes backwards, and must not.
    pub(super) fn go(&mut self, direction: Direction) -> Result<Vec<usize>> {
        let count = self.rows.len();
        let target = |distance: i64| {
            let target = self.at as i64 + distance;
            usize::try_from(target.max(0)).unwrap_or(usize::MAX).min(count + 1)
        };
        let (to, passes) = match direction {
            Direction::Rows(0) | Direction::Relative(0) => (self.at, false),
            Direction::Rows(rows) => (target(i64::from(rows)), true),
            Direction::AllForward => (count + 1, true),
            Direction::AllBackward => (0, true),
            Direction::Relative(distance) => (target(i64::from(distance)), false),
            Direction::Absolute(row) if row < 0 => ((count as i64 + 1 + i64::from(row)).max(0) as usize, false),
            Direction::Absolute(row) => (usize::try_from(row).unwrap_or(0).min(count + 1), false),
        };
        let stays_on_row = to == self.at && (1..=count).contains(&to) && !matches!(direction, Direction::Rows(1..));
        if self.only_forward && (to < self.at || stays_on_row) {
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
                .hint("Declare it with SCROLL option to enable backward scan."));
        }
        let from = std::mem::replace(&mut self.at, to);
        let is_row = |place: &usize| (1..=count).contains(place);
        Ok(match passes {
            true if to >= from => (from + 1..=to).filter(is_row).map(|place| place - 1).collect(),
            true => (to..from).rev().filter(is_row).map(|place| place - 1).collect(),
            false => std::iter::once(to).filter(is_row).map(|place| place - 1).collect(),
        })
    }

    /// Rows by their numbers, in these formats.
    ///
    /// # Errors
    /// 0A000: a value in binary, of a type that only the shards know.
    pub(super) fn batch(
        &self,
        numbers: &[usize],
        columns: &[OutputColumn],
        formats: &Formats,
        style: &TextStyle,
    ) -> Result<RowBatch> {
        let in_text = (0..columns.len()).all(|column| formats.of(column) == Format::Text);
        let mut batch = RowBatch::default();
        for number in numbers {
            let Some(row) = self.rows.get(*number) else { continue };
            if in_text {
                batch.frames.extend_from_slice(row);
            } else {
                in_formats(row, columns, formats, style, &mut batch.frames)?;
            }
            batch.rows += 1;
        }
        Ok(batch)
    }
}

/// One row's frame, with the values that are asked for in binary.
fn in_formats(
    row: &[u8],
    columns: &[OutputColumn],
    formats: &Formats,
    style: &TextStyle,
    out: &mut BytesMut,
) -> Result<()> {
    const HEAD: usize = 7;
    let broken = || Error::internal("a cursor holds a row that is none");
    let start = out.len();
    out.put_slice(row.get(..HEAD).ok_or_else(broken)?);
    let mut rest = row.get(HEAD..).ok_or_else(broken)?;
    for (number, column) in columns.iter().enumerate() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            out.put_i32(-1);
            rest = after;
            continue;
        };
        let (value, after) = after.split_at_checked(length).ok_or_else(broken)?;
        rest = after;
        if formats.of(number) == Format::Text {
            out.put_u32(value.len() as u32);
            out.put_slice(value);
            continue;
        }
        if column.foreign.is_some() {
            return Err(Error::unsupported(
                format!(
                    "column \"{}\" in binary from a cursor over several shards, since only they know its type",
                    column.name
                ),
                "Ask for it in text.",
            ));
        }
        let text = std::str::from_utf8(value).map_err(|_| broken())?;
        let datum = Datum::from_text(column.data_type, text, style)?;
        let place = out.len();
        out.put_u32(0);
        datum.write_binary(out);
        let length = (out.len() - place - 4) as u32;
        out[place..place + 4].copy_from_slice(&length.to_be_bytes());
    }
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: usize) -> CursorRows {
        let mut rows = CursorRows::new(false);
        let mut batch = RowBatch::default();
        (1..=count).for_each(|number| batch.push_text_row(&[number.to_string()]));
        rows.add(batch);
        rows
    }

    #[test]
    fn it_moves_as_postgres_does() {
        let mut rows = of(5);
        for (direction, expected, at) in [
            (Direction::Rows(0), vec![], 0),
            (Direction::Rows(-1), vec![], 0),
            (Direction::Rows(2), vec![0, 1], 2),
            (Direction::Rows(0), vec![1], 2),
            (Direction::Rows(-2), vec![0], 0),
            (Direction::Rows(5), vec![0, 1, 2, 3, 4], 5),
            (Direction::Rows(1), vec![], 6),
            (Direction::Rows(1), vec![], 6),
            (Direction::Rows(-1), vec![4], 5),
            (Direction::AllBackward, vec![3, 2, 1, 0], 0),
            (Direction::AllForward, vec![0, 1, 2, 3, 4], 6),
            (Direction::Absolute(3), vec![2], 3),
            (Direction::Absolute(-1), vec![4], 5),
            (Direction::Absolute(-9), vec![], 0),
            (Direction::Absolute(9), vec![], 6),
            (Direction::Relative(-2), vec![3], 4),
            (Direction::Relative(0), vec![3], 4),
            (Direction::Relative(1), vec![4], 5),
            (Direction::Relative(7), vec![], 6),
            (Direction::Absolute(0), vec![], 0),
            (Direction::Rows(i32::MAX), vec![0, 1, 2, 3, 4], 6),
            (Direction::Rows(i32::MIN), vec![4, 3, 2, 1, 0], 0),
        ] {
            assert_eq!((rows.go(direction).unwrap(), rows.at), (expected, at), "{direction:?}");
        }
    }

    #[test]
    fn one_that_may_not_goes_not_back() {
        let mut rows = of(3);
        rows.only_forward = true;
        assert_eq!(rows.go(Direction::Rows(2)).unwrap(), [0, 1]);
        for direction in [Direction::Rows(-1), Direction::Rows(0), Direction::Absolute(1), Direction::AllBackward] {
            assert_eq!(rows.go(direction).unwrap_err().sqlstate().code(), "55000", "{direction:?}");
        }
        assert_eq!(rows.go(Direction::Absolute(3)).unwrap(), [2]);
        assert_eq!(rows.go(Direction::AllForward).unwrap(), Vec::<usize>::new());
    }
}
