//! Arrays as numpy keeps them: a `.npz` file enters, tensors by name leave.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use npyz::{DType, NpyFile};
use zip::ZipArchive;

use super::tensors::{Datatype, Tensor};

/// Bytes of an array at most.
const MOST: u64 = 1 << 30;

/// Numpy's name of each type that plans have; BF16 has none.
const KINDS: [(&str, Datatype); 7] = [
    ("|b1", Datatype::Bool),
    ("|u1", Datatype::Uint8),
    ("|i1", Datatype::Int8),
    ("<i4", Datatype::Int32),
    ("<i8", Datatype::Int64),
    ("<f2", Datatype::Fp16),
    ("<f4", Datatype::Fp32),
];

/// Reads all arrays of a file.
///
/// # Errors
/// It can't be read, or an array is of a type that plans don't have.
pub(super) fn read(path: &Path) -> Result<Vec<Tensor>> {
    let tensors = || {
        let mut archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
        (0..archive.len()).map(|index| tensor(&mut archive, index)).collect::<Result<Vec<_>>>()
    };
    tensors().with_context(|| format!("can't read {}", path.display()))
}

fn tensor(archive: &mut ZipArchive<BufReader<File>>, index: usize) -> Result<Tensor> {
    let entry = archive.by_index(index)?;
    let name = entry.name()?;
    let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
    let file = NpyFile::new(entry)?;
    let DType::Plain(kind) = file.dtype() else { bail!("{name} has fields") };
    let kind = kind.to_string();
    let datatype = KINDS.iter().find(|(known, _)| *known == kind).map(|(_, datatype)| *datatype);
    let datatype = datatype.with_context(|| format!("{name} is of {kind}, which plans don't take"))?;
    let shape: Vec<i64> = file.shape().iter().map(|size| Ok(i64::try_from(*size)?)).collect::<Result<_>>()?;
    let bytes = file.shape().iter().try_fold(datatype.size() as u64, |all, size| all.checked_mul(*size));
    let bytes = bytes.filter(|bytes| *bytes <= MOST).with_context(|| format!("{name} is too large"))?;
    let mut data = Vec::new();
    file.into_inner().take(bytes).read_to_end(&mut data)?;
    ensure!(data.len() as u64 == bytes, "{name} ends early");
    Ok(Tensor { name, datatype, shape, data })
}
