//! Puts the rows of several shards together as they stream: order, distinct, offset and limit.
//!
//! Rows stay the DataRow frames that the shards encoded. Only the columns that decide the order or tell rows apart are
//! decoded; the columns that were added for ordering are cut off the frame. An ordered merge holds one batch for each
//! shard; DISTINCT holds one key for each row returned, within a limit.

use std::cmp::Ordering;
use std::collections::HashSet;

use bytes::BytesMut;

use super::answer::{RowBatch, Rows};
use crate::error::{Error, Fault, Result, SqlState};
use crate::plan::{Distinct, SortKey};
use crate::shard::{Formats, OutputColumn};
use crate::types::{Datum, Format, TextStyle};
use crate::wire::response;

/// How many bytes of merged rows are gathered before they are handed on.
const BATCH_BYTES: usize = 64 * 1024;

/// A merge of one statement, its limits known.
#[derive(Debug)]
pub(super) struct MergePlan {
    pub(super) order: Vec<SortKey>,
    pub(super) distinct: Distinct,
    pub(super) offset: u64,
    pub(super) limit: Option<u64>,
    /// Of the shards' rows.
    pub(super) columns: std::sync::Arc<[OutputColumn]>,
    pub(super) visible_columns: usize,
    pub(super) formats: Formats,
    pub(super) style: TextStyle,
    /// What the keys of DISTINCT may take.
    pub(super) max_bytes: usize,
}

/// One shard's rows, one at a time.
#[derive(Debug)]
struct Source {
    rows: Rows,
    batch: RowBatch,
    /// The next row, decoded as far as the order needs it.
    head: Option<Head>,
}

#[derive(Debug)]
struct Head {
    frame: BytesMut,
    keys: Vec<Datum>,
}

/// Merges while it is pulled.
#[derive(Debug)]
pub(super) struct Merger {
    plan: MergePlan,
    sources: Vec<Source>,
    seen: HashSet<BytesMut>,
    seen_bytes: usize,
    skipped: u64,
    returned: u64,
}

impl Merger {
    pub(super) fn new(plan: MergePlan, sources: Vec<Rows>) -> Merger {
        let sources = sources.into_iter().map(|rows| Source { rows, batch: RowBatch::default(), head: None }).collect();
        Merger { plan, sources, seen: HashSet::new(), seen_bytes: 0, skipped: 0, returned: 0 }
    }

    /// The next merged batch; `None` when there are no more rows, or the limit is reached.
    ///
    /// # Errors
    /// A shard failed, a value could not be decoded, or DISTINCT needs more memory than is allowed (53400).
    pub(super) async fn next(&mut self) -> Result<Option<RowBatch>> {
        let mut merged = RowBatch::default();
        while merged.frames.len() < BATCH_BYTES && self.plan.limit.is_none_or(|limit| self.returned < limit) {
            let Some(frame) = self.next_row().await? else { break };
            if !self.admit(&frame)? {
                continue;
            }
            if self.skipped < self.plan.offset {
                self.skipped += 1;
                continue;
            }
            append_visible(&frame, self.plan.visible_columns, &mut merged.frames)?;
            merged.rows += 1;
            self.returned += 1;
        }
        Ok((merged.rows > 0).then_some(merged))
    }

    /// The first of the shards' next rows in the order asked for; without one, shard after shard.
    async fn next_row(&mut self) -> Result<Option<BytesMut>> {
        if self.plan.order.is_empty() {
            for source in &mut self.sources {
                if let Some(frame) = source.next_frame().await? {
                    return Ok(Some(frame));
                }
            }
            return Ok(None);
        }
        for source in &mut self.sources {
            source.fill_head(&self.plan).await?;
        }
        let first = (0..self.sources.len())
            .filter(|&index| self.sources[index].head.is_some())
            .min_by(|&a, &b| self.compare(a, b));
        Ok(first.and_then(|index| self.sources[index].head.take()).map(|head| head.frame))
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        match (&self.sources[a].head, &self.sources[b].head) {
            (Some(a), Some(b)) => compare_keys(&self.plan.order, &a.keys, &b.keys),
            _ => Ordering::Equal,
        }
    }

    /// Whether DISTINCT lets this row through.
    fn admit(&mut self, frame: &[u8]) -> Result<bool> {
        let columns: Vec<usize> = match &self.plan.distinct {
            Distinct::No => return Ok(true),
            Distinct::Rows => (0..self.plan.visible_columns).collect(),
            Distinct::On(columns) => columns.clone(),
        };
        let mut key = BytesMut::new();
        for datum in decode_columns(frame, &columns, &self.plan)? {
            datum.write_key(&mut key);
        }
        if self.seen.contains(&key) {
            return Ok(false);
        }
        self.seen_bytes += key.len() + size_of::<BytesMut>();
        if self.seen_bytes > self.plan.max_bytes {
            return Err(Error::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("DISTINCT across shards needs more than {} bytes of memory", self.plan.max_bytes),
            )
            .fault(Fault::Proxy)
            .hint("Give the key in WHERE, select fewer rows, or raise limits.merge_max_bytes."));
        }
        self.seen.insert(key);
        Ok(true)
    }
}

impl Source {
    async fn next_frame(&mut self) -> Result<Option<BytesMut>> {
        while self.batch.rows == 0 {
            match self.rows.next().await? {
                Some(batch) => self.batch = batch,
                None => return Ok(None),
            }
        }
        Ok(Some(self.batch.split_rows(1).frames))
    }

    async fn fill_head(&mut self, plan: &MergePlan) -> Result<()> {
        if self.head.is_none()
            && let Some(frame) = self.next_frame().await?
        {
            let columns: Vec<usize> = plan.order.iter().map(|key| key.column).collect();
            let keys = decode_columns(&frame, &columns, plan)?;
            self.head = Some(Head { frame, keys });
        }
        Ok(())
    }
}

fn compare_keys(order: &[SortKey], a: &[Datum], b: &[Datum]) -> Ordering {
    for ((key, a), b) in order.iter().zip(a).zip(b) {
        let ordering = match (a, b) {
            (Datum::Null, Datum::Null) => Ordering::Equal,
            (Datum::Null, _) if key.nulls_first => Ordering::Less,
            (Datum::Null, _) => Ordering::Greater,
            (_, Datum::Null) if key.nulls_first => Ordering::Greater,
            (_, Datum::Null) => Ordering::Less,
            (a, b) if key.descending => b.compare(a),
            (a, b) => a.compare(b),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

/// Decodes these columns of a DataRow frame, in the order asked for.
fn decode_columns(frame: &[u8], columns: &[usize], plan: &MergePlan) -> Result<Vec<Datum>> {
    let values = column_slices(frame)?;
    columns
        .iter()
        .map(|&column| {
            let described = plan.columns.get(column).ok_or_else(torn_frame)?;
            decode(*values.get(column).ok_or_else(torn_frame)?, described, plan.formats.of(column), &plan.style)
        })
        .collect()
}

/// Decodes one value of a DataRow; `None` is NULL.
pub(super) fn decode(value: Option<&[u8]>, column: &OutputColumn, format: Format, style: &TextStyle) -> Result<Datum> {
    match (value, format) {
        (None, _) => Ok(Datum::Null),
        (Some(bytes), Format::Binary) => Datum::from_binary(column.data_type, bytes),
        (Some(bytes), Format::Text) => {
            let text = std::str::from_utf8(bytes).map_err(|_| torn_frame())?;
            Datum::from_text(column.data_type, text, style)
        }
    }
}

/// The values of a DataRow frame; `None` is NULL.
pub(super) fn column_slices(frame: &[u8]) -> Result<Vec<Option<&[u8]>>> {
    response::data_row(frame).map_err(|_| torn_frame())
}

/// Appends a DataRow frame with only its first columns.
pub(super) fn append_visible(frame: &[u8], visible: usize, out: &mut BytesMut) -> Result<()> {
    let count = usize::from(u16::from_be_bytes([frame[5], frame[6]]));
    if count == visible {
        out.extend_from_slice(frame);
        return Ok(());
    }
    let mut end = 7;
    for value in column_slices(frame)?.iter().take(visible) {
        end += 4 + value.map_or(0, <[u8]>::len);
    }
    let (length, columns) = u32::try_from(end - 1)
        .ok()
        .zip(u16::try_from(visible).ok())
        .ok_or_else(|| Error::internal("a row is larger than a DataRow frame can be"))?;
    out.extend_from_slice(b"D");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&columns.to_be_bytes());
    out.extend_from_slice(&frame[7..end]);
    Ok(())
}

fn torn_frame() -> Error {
    Error::internal("a shard returned a row that is not a whole DataRow frame")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PgType;

    fn frame(values: &[Option<&str>]) -> Vec<u8> {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            match value {
                None => body.extend((-1i32).to_be_bytes()),
                Some(text) => {
                    body.extend((text.len() as u32).to_be_bytes());
                    body.extend(text.as_bytes());
                }
            }
        }
        let mut frame = vec![b'D'];
        frame.extend((body.len() as u32 + 4).to_be_bytes());
        frame.extend(body);
        frame
    }

    fn rows(list: &[&[Option<&str>]]) -> Rows {
        let mut batch = RowBatch::default();
        for values in list {
            batch.frames.extend_from_slice(&frame(values));
            batch.rows += 1;
        }
        Rows::Ready(batch)
    }

    fn plan(types: &[PgType], visible: usize) -> MergePlan {
        let columns = types
            .iter()
            .map(|&data_type| OutputColumn {
                name: "c".into(),
                data_type,
                modifier: -1,
                table_oid: 0,
                attribute: 0,
                foreign: None,
            })
            .collect();
        MergePlan {
            order: Vec::new(),
            distinct: Distinct::No,
            offset: 0,
            limit: None,
            columns,
            visible_columns: visible,
            formats: Formats::AllText,
            style: TextStyle::default(),
            max_bytes: 1 << 20,
        }
    }

    async fn texts(mut merger: Merger) -> Vec<Vec<Option<String>>> {
        let mut texts = Vec::new();
        while let Some(mut batch) = merger.next().await.unwrap() {
            while batch.rows > 0 {
                let row = batch.split_rows(1);
                let values = column_slices(&row.frames).unwrap();
                texts
                    .push(values.iter().map(|v| v.map(|v| String::from_utf8(v.to_vec()).unwrap())).collect::<Vec<_>>());
            }
        }
        texts
    }

    fn column(texts: &[Vec<Option<String>>]) -> Vec<&str> {
        texts.iter().map(|row| row[0].as_deref().unwrap_or("NULL")).collect()
    }

    #[tokio::test]
    async fn rows_come_in_order_with_nulls_where_they_belong_and_hidden_columns_cut() {
        let key = SortKey { column: 1, descending: true, nulls_first: true, by_bytes: false };
        let merge = MergePlan { order: vec![key], ..plan(&[PgType::Text, PgType::Int4], 1) };
        let a = rows(&[&[Some("n"), None], &[Some("ten"), Some("10")], &[Some("two"), Some("2")]]);
        let b = rows(&[&[Some("nine"), Some("9")], &[Some("minus"), Some("-1")]]);
        let merged = texts(Merger::new(merge, vec![a, b])).await;
        assert_eq!(column(&merged), ["n", "ten", "nine", "two", "minus"]);
        assert!(merged.iter().all(|row| row.len() == 1));
    }

    #[tokio::test]
    async fn offset_and_limit_count_merged_rows() {
        let key = SortKey { column: 0, descending: false, nulls_first: false, by_bytes: false };
        let merge = MergePlan { order: vec![key], offset: 1, limit: Some(2), ..plan(&[PgType::Int4], 1) };
        let a = rows(&[&[Some("1")], &[Some("3")], &[Some("5")]]);
        let b = rows(&[&[Some("2")], &[Some("4")]]);
        assert_eq!(column(&texts(Merger::new(merge, vec![a, b])).await), ["2", "3"]);
    }

    #[tokio::test]
    async fn distinct_compares_values_not_their_text() {
        let merge = MergePlan { distinct: Distinct::Rows, ..plan(&[PgType::Numeric], 1) };
        let a = rows(&[&[Some("1.0")], &[None]]);
        let b = rows(&[&[Some("1.00")], &[Some("2")], &[None]]);
        assert_eq!(column(&texts(Merger::new(merge, vec![a, b])).await), ["1.0", "NULL", "2"]);
    }

    #[tokio::test]
    async fn distinct_past_its_memory_is_an_error() {
        let merge = MergePlan { distinct: Distinct::Rows, max_bytes: 10, ..plan(&[PgType::Int4], 1) };
        let error = Merger::new(merge, vec![rows(&[&[Some("1")], &[Some("2")]])]).next().await.unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
    }

    #[test]
    fn a_torn_frame_is_an_error() {
        let whole = frame(&[Some("abc"), Some("d")]);
        for cut in 0..whole.len() {
            assert!(column_slices(&whole[..cut]).is_err(), "{cut}");
        }
    }
}
