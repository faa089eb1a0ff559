#!/bin/sh
# Joins the pieces of a kit, on the machine with the GPU: beside this file enter pieces/, each checked; kit/ leaves.
# Next: kit/bin/xtask gpu run, in a checkout.
set -eu
cd "$(dirname "$0")"
(cd pieces && sha256sum --quiet --check SHA256SUMS)
rm -rf kit
mkdir kit
cat pieces/kit.* | tar -xz -C kit
echo "unpacked. The programs need glibc $(sed -n 's/.*"glibc": "\(.*\)".*/\1/p' kit/manifest.json); here is $(getconf GNU_LIBC_VERSION)."
