//! A headless Chromium, in which pages are tested: Debian's, with the libraries and the font that it wants, unpacked into
//! `.forebay/debian/browser`. It is not locked by its digest as other parts are: Debian replaces it by a safer one every few weeks, and the
//! one before is gone. That it is Debian's, apt knows by Debian's signature.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use bytesize::ByteSize;

use super::{Plan, Scratch, debian, put};
use crate::layout::Layout;

const PACKAGES: [&str; 2] = ["chromium-headless-shell", "fonts-liberation"];
const PROGRAM: &str = "chromium-headless-shell";
const FOLDER: &str = "browser";
/// With the libraries that a bare system lacks.
const SIZE: ByteSize = ByteSize::mb(100);

/// The font alone, so that pages look the same wherever they are tested.
const FONTS: &str = r#"<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <match target="pattern">
    <test name="family" compare="not_contains"><string>Mono</string></test>
    <edit name="family" mode="append" binding="strong"><string>Liberation Sans</string></edit>
  </match>
</fontconfig>
"#;

/// Starts it with what was unpacked beside it.
const SCRIPT: &str = r#"#!/bin/sh
# Written by `cargo xtask setup`: Debian's Chromium, unpacked here, with the libraries and the font that it came with.
unpacked=$(cd "$(dirname "$(readlink -f "$0")")/../debian/browser" && pwd)
for libraries in "$unpacked"/usr/lib/*-linux-gnu* "$unpacked"/usr/lib/*-linux-gnu*/pulseaudio "$unpacked"/lib/*-linux-gnu*; do
    LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH FONTCONFIG_FILE="$unpacked/fonts.conf"
exec "$unpacked/usr/lib/chromium/chromium-headless-shell" "$@"
"#;

pub(super) fn plan(layout: &Layout) -> Plan {
    Plan {
        pin: format!("{}\n{SCRIPT}{FONTS}", PACKAGES.join("\n")),
        files: vec![
            layout.bin(PROGRAM),
            layout.dir.join("debian").join(FOLDER).join("usr/lib/chromium").join(PROGRAM),
        ],
        doing: format!("{} from Debian", PACKAGES.join(", ")),
        size: SIZE,
        install: Box::new(install),
    }
}

fn install(layout: &Layout) -> Result<()> {
    debian::unpack(layout, FOLDER, &PACKAGES, SIZE)?;
    fs::write(layout.dir.join("debian").join(FOLDER).join("fonts.conf"), FONTS)?;
    let scratch = Scratch::new(layout, FOLDER)?;
    let script = scratch.0.join(PROGRAM);
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    put(&script, &layout.bin(PROGRAM))
}
