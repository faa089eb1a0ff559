//! `.npz` files: arrays by name, read and written whole. What enters and leaves: tensors as requests carry them, little endian, in C
//! order.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use forebay_protocol::datatype::DataType;
use npyz::{DType, NpyFile, Order, TypeStr, WriteOptions, WriterBuilder as _};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// An array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) datatype: DataType,
    pub(crate) shape: Vec<i64>,
    /// Little-endian elements.
    pub(crate) data: Bytes,
}

/// A file that can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArrayError {
    #[error("can't read {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is no .npz file: {reason}")]
    Archive { path: PathBuf, reason: String },
    #[error("{path}: array '{name}': {reason}")]
    Array { path: PathBuf, name: String, reason: String },
}

/// Reads all arrays of a file, sorted by name, unless they have more than `most` bytes together.
///
/// # Errors
/// [`ArrayError`].
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<(String, Array)>, ArrayError> {
    let file = File::open(path).map_err(|source| ArrayError::File { path: path.to_owned(), source })?;
    let broken = |error: ZipError| ArrayError::Archive { path: path.to_owned(), reason: error.to_string() };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let (mut arrays, mut left) = (Vec::with_capacity(archive.len()), most);
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?;
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        let array = array(entry, &mut left).map_err(|reason| ArrayError::Array {
            path: path.to_owned(),
            name: name.clone(),
            reason,
        })?;
        arrays.push((name, array));
    }
    arrays.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(arrays)
}

fn array(entry: impl io::Read, left: &mut u64) -> Result<Array, String> {
    let file = NpyFile::new(entry).map_err(|error| format!("is no array: {error}"))?;
    let DType::Plain(kind) = file.dtype() else {
        return Err("has fields; one kind of number is expected".to_owned());
    };
    let datatype = datatype(&kind).ok_or_else(|| {
        format!("its elements are {kind}; numbers of 1 to 8 bytes, little endian, are expected")
    })?;
    let shape: Option<Vec<i64>> = file.shape().iter().map(|size| i64::try_from(*size).ok()).collect();
    let shape = shape.ok_or("its shape is no shape")?;
    if file.order() == Order::Fortran && shape.len() > 1 {
        return Err("is in Fortran's order: save numpy.ascontiguousarray(it)".to_owned());
    }
    let element = datatype.size().unwrap_or(1) as u64;
    let size = shape.iter().try_fold(element, |all, one| all.checked_mul(one.unsigned_abs()));
    let size = size.filter(|size| *size <= *left).ok_or("is larger than may be read")?;
    *left -= size;
    let mut data = Vec::new();
    file.into_inner().take(size).read_to_end(&mut data).map_err(|error| format!("can't be read: {error}"))?;
    if data.len() as u64 != size {
        return Err(format!("ends after {} of {size} bytes", data.len()));
    }
    Ok(Array { datatype, shape, data: data.into() })
}

/// Numpy's name of each datatype that it has.
const KINDS: [(&str, DataType); 12] = [
    ("|b1", DataType::Bool),
    ("|u1", DataType::Uint8),
    ("<u2", DataType::Uint16),
    ("<u4", DataType::Uint32),
    ("<u8", DataType::Uint64),
    ("|i1", DataType::Int8),
    ("<i2", DataType::Int16),
    ("<i4", DataType::Int32),
    ("<i8", DataType::Int64),
    ("<f2", DataType::Fp16),
    ("<f4", DataType::Fp32),
    ("<f8", DataType::Fp64),
];

fn datatype(kind: &TypeStr) -> Option<DataType> {
    let name = kind.to_string();
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, datatype)| *datatype)
}

/// Writes arrays to a file.
///
/// # Errors
/// When it can't be written, or numpy has no such type.
pub(crate) fn write<'a>(
    path: &Path,
    arrays: impl IntoIterator<Item = (&'a str, &'a Array)>,
) -> io::Result<()> {
    let mut archive = ZipWriter::new(BufWriter::new(File::create(path)?));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, array) in arrays {
        archive.start_file(format!("{name}.npy"), stored)?;
        let known = KINDS.iter().find(|(_, datatype)| *datatype == array.datatype);
        let unknown = || io::Error::other(format!("numpy has no {}", array.datatype));
        let kind: TypeStr = known.ok_or_else(unknown)?.0.parse().map_err(io::Error::other)?;
        let shape: Vec<u64> = array.shape.iter().map(|size| size.unsigned_abs()).collect();
        let header = WriteOptions::new_header_only().dtype(DType::Plain(kind)).shape(&shape);
        header.writer(&mut archive).write_header_only()?;
        archive.write_all(&array.data)?;
    }
    archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()
}
