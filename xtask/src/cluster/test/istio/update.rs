//! The module is replaced in proxies that are under load: another digest in filter.yaml enters; no request that failed leaves.

use std::fs;

use anyhow::{Context, Result};

use super::ask::ENCODINGS;
use super::mesh::Mesh;
use super::objects::Objects;
use super::proxy::Proxy;
use crate::cluster::image;
use crate::cluster::registry::Registry;
use crate::cluster::test::bed::MODEL;
use crate::cluster::test::load::{Load, none_failed};
use crate::command::{command, output};

/// # Errors
/// A request fails, or a proxy goes on with the module that it had.
pub(super) fn hot(mesh: &Mesh<'_>) -> Result<String> {
    let next = with_module(mesh, "next", &next(mesh)?)?;
    let proxy = Proxy::of(&mesh.clients, "client");
    let client = mesh.client("client")?;
    let load = Load::sent_by(&mesh.clients, &ENCODINGS, || client.command(&["bench", MODEL]))?;
    let first = module(&proxy)?;
    Objects::apply_text(&mesh.clients, &next)?;
    proxy.until_it("runs another module", |proxy| Ok(module(proxy)? != first))?;
    Objects::apply_text(&mesh.clients, &mesh.objects.text("clients/filter.yaml")?)?;
    proxy.until_it("runs the first module again", |proxy| Ok(module(proxy)? == first))?;
    Ok(format!("to another module and back: {}", none_failed(&load.stop()?)?))
}

/// Where the agent put the module that its proxy runs.
///
/// # Errors
/// It runs none.
pub(super) fn module(proxy: &Proxy<'_>) -> Result<String> {
    let dump = proxy.extensions()?;
    let line = dump.lines().find(|line| line.contains("\"filename\"")).context("no module runs")?;
    Ok(line.trim().to_owned())
}

/// A module that does the same and is another: it has a section more, which says nothing.
fn next(mesh: &Mesh<'_>) -> Result<Vec<u8>> {
    let mut module = module_of(mesh)?;
    // A custom section: its id, its size, and its name with the name's own size.
    module.extend([0, 5, 4]);
    module.extend(b"next");
    Ok(module)
}

/// Puts a module into the registry, under the filter's tag and that word. The text of filter.yaml with it.
///
/// # Errors
/// It can't be written.
pub(super) fn with_module(mesh: &Mesh<'_>, word: &str, module: &[u8]) -> Result<String> {
    let place = mesh.bed.place.as_ref().context("the registry is ours")?;
    let folder = place.instance.folder.join(format!("images/filter-{word}"));
    fs::create_dir_all(&folder)?;
    let file = folder.join("plugin.wasm");
    fs::write(&file, module)?;
    let image = image::Layout::of_module(&folder.join("image"), &file, &place.parts.tools)?;
    Registry::of(place.instance)
        .put(&image, &format!("forebay/filter:{}-{word}", env!("CARGO_PKG_VERSION")))?;
    let text = mesh.objects.with(
        "clients/filter.yaml",
        &mesh.digest,
        image.manifest.trim_start_matches("sha256:"),
    )?;
    Ok(text.replace(&mesh.uri, &format!("{}-{word}", mesh.uri)))
}

/// The module out of the filter's image.
fn module_of(mesh: &Mesh<'_>) -> Result<Vec<u8>> {
    let place = mesh.bed.place.as_ref().context("the registry is ours")?;
    let folder = place.instance.folder.join("images/filter");
    let image = image::Layout::open(&folder)?;
    let manifest = image.manifest()?;
    let layer = manifest["layers"][0]["digest"].as_str().context("the filter's image has no layer")?;
    let layer = folder.join("blobs").join(layer.replacen(':', "/", 1));
    let unpacked = place.instance.folder.join("images/filter-unpacked");
    fs::create_dir_all(&unpacked)?;
    let mut tar = command("tar", ["-xf"]);
    tar.arg(layer).arg("-C").arg(&unpacked);
    output(tar)?;
    fs::read(unpacked.join("plugin.wasm")).context("the filter's image has no plugin.wasm")
}
