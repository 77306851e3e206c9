//! Samples of clusters, each one compressed document.
//!
//! The first sample of an hour stands for itself, the others of that hour are compressed with it as the dictionary:
//! most groups are as large as they were then. Thinning keeps the first of each stretch, so the bases stay.

use std::io::Read;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::QueryBuilder;

use crate::model::history::Sample;
use crate::store::{Conn, StoreError, corrupt, instant, portions, to_json};

/// zstd of JSON, with the JSON of the base as the dictionary if there is one. Another way of writing samples would get
/// another number.
const FORMAT: i64 = 1;

/// A sample is packed once a minute: there is time.
const COMPRESSION_LEVEL: i32 = 9;

/// For how long a sample is the base of those after it, in microseconds.
const BASE_US: i64 = 3_600_000_000;

/// What a document may become when it is unpacked, in bytes: more than the largest sample.
const LARGEST_DOCUMENT: u64 = 64 << 20;

/// A sample that others are compressed with.
#[derive(Debug, Clone)]
pub struct Base {
    key: i64,
    at: Timestamp,
    document: Arc<[u8]>,
}

/// A sample, ready to be kept.
#[derive(Debug)]
pub struct PackedSample {
    at: Timestamp,
    base: Option<Base>,
    plain: Arc<[u8]>,
    document: Vec<u8>,
}

impl PackedSample {
    /// Writes and compresses a sample, with the help of `base` if that is of the same hour. Takes its time: not inside a
    /// transaction.
    pub fn pack(sample: &Sample, base: Option<Base>) -> Self {
        let base = base.filter(|base| hour(base.at) == hour(sample.at) && base.at < sample.at);
        let plain: Arc<[u8]> = to_json(sample).into_bytes().into();
        let dictionary = base.as_ref().map_or([].as_slice(), |base| &base.document);
        let document = zstd::bulk::Compressor::with_dictionary(COMPRESSION_LEVEL, dictionary)
            .and_then(|mut compressor| compressor.compress(&plain))
            .expect("compressing memory into memory cannot fail");
        Self { at: sample.at, base, plain, document }
    }

    /// How large it is, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.document.len()
    }
}

/// The hour of an instant, since 1970.
fn hour(at: Timestamp) -> i64 {
    at.as_microsecond().div_euclid(BASE_US)
}

/// Keeps a sample; what the next one can be packed with.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.baselines.insert", level = "debug", skip_all, fields(%cluster))]
pub async fn insert(conn: &mut Conn, cluster: &str, packed: PackedSample) -> Result<Base, StoreError> {
    let PackedSample { at, base, plain, document } = packed;
    let key: i64 = sqlx::query_scalar(
        "INSERT INTO baselines (cluster, at, base_key, format, document)
         VALUES ($1, $2, $3, $4, $5)
         RETURNING baseline_key",
    )
    .bind(cluster)
    .bind(at.as_microsecond())
    .bind(base.as_ref().map(|base| base.key))
    .bind(FORMAT)
    .bind(document)
    .fetch_one(conn)
    .await?;
    Ok(base.unwrap_or(Base { key, at, document: plain }))
}

/// When a sample was taken, and what it is called in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleTime {
    key: i64,
    /// When it was taken.
    pub at: Timestamp,
}

/// Lists when a cluster was sampled, oldest first, at most `limit` times, the newest.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_times(
    conn: &mut Conn,
    cluster: &str,
    from: Timestamp,
    to: Timestamp,
    limit: u32,
) -> Result<Vec<SampleTime>, StoreError> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT baseline_key, at
           FROM baselines
          WHERE cluster = $1 AND at >= $2 AND at <= $3
          ORDER BY at DESC, baseline_key DESC
          LIMIT $4",
    )
    .bind(cluster)
    .bind(from.as_microsecond())
    .bind(to.as_microsecond())
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    let times = rows.into_iter().rev();
    times.map(|(key, at)| Ok(SampleTime { key, at: instant("baselines", "at", at)? })).collect()
}

/// Samples as they are stored, with the bases that they need.
#[derive(Debug, Default)]
pub struct StoredSamples {
    samples: Vec<Row>,
    bases: Vec<Row>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct Row {
    baseline_key: i64,
    base_key: Option<i64>,
    format: i64,
    document: Vec<u8>,
}

/// Reads the samples of these times.
///
/// # Errors
///
/// The database refused.
pub async fn list(conn: &mut Conn, times: &[SampleTime]) -> Result<StoredSamples, StoreError> {
    let keys: Vec<i64> = times.iter().map(|time| time.key).collect();
    let samples = read_rows(conn, &keys).await?;
    let mut bases: Vec<i64> = samples.iter().filter_map(|row| row.base_key).collect();
    bases.sort_unstable();
    bases.dedup();
    let bases = read_rows(conn, &bases).await?;
    Ok(StoredSamples { samples, bases })
}

async fn read_rows(conn: &mut Conn, keys: &[i64]) -> Result<Vec<Row>, StoreError> {
    let mut rows: Vec<Row> = Vec::with_capacity(keys.len());
    for portion in portions(keys) {
        let mut query = QueryBuilder::new(
            "SELECT baseline_key, base_key, format, document
               FROM baselines
              WHERE baseline_key IN (",
        );
        let mut list = query.separated(", ");
        for key in portion.padded() {
            list.push_bind(key.copied());
        }
        query.push(")");
        rows.extend(query.build_query_as::<Row>().fetch_all(&mut *conn).await?);
    }
    Ok(rows)
}

impl StoredSamples {
    /// Unpacks them, oldest first. Takes its time: not inside a transaction.
    ///
    /// # Errors
    ///
    /// The database holds what cannot be read.
    pub fn unpack(self) -> Result<Vec<Sample>, StoreError> {
        let bases = self.bases.iter().map(|base| Ok((base.baseline_key, unpack(base, &[])?)));
        let bases: Vec<(i64, Vec<u8>)> = bases.collect::<Result<_, StoreError>>()?;
        let samples = self.samples.iter().map(|row| {
            let base = row.base_key.map(|key| {
                let base = bases.iter().find(|(base, _)| *base == key);
                base.ok_or_else(|| corrupt("baselines", "base_key", key))
            });
            let base = base.transpose()?.map_or([].as_slice(), |(_, plain)| plain);
            let plain = unpack(row, base)?;
            serde_json::from_slice(&plain).map_err(|error| corrupt("baselines", "document", error))
        });
        let mut samples: Vec<Sample> = samples.collect::<Result<_, StoreError>>()?;
        samples.sort_by_key(|sample| sample.at);
        Ok(samples)
    }
}

fn unpack(row: &Row, base: &[u8]) -> Result<Vec<u8>, StoreError> {
    if row.format != FORMAT {
        return Err(corrupt("baselines", "format", row.format));
    }
    let unreadable = |error: std::io::Error| corrupt("baselines", "document", error);
    let decoder =
        zstd::stream::read::Decoder::with_dictionary(row.document.as_slice(), base).map_err(unreadable)?;
    let mut plain = Vec::new();
    decoder.take(LARGEST_DOCUMENT).read_to_end(&mut plain).map_err(unreadable)?;
    Ok(plain)
}
