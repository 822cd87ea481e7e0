#!/usr/bin/env bash
# Builds the .deb and the .rpm into target/packages/out, from a binary that was built before:
#
#     cargo build --release --locked && deploy/packages/build.sh
#     cargo build --release --locked --target aarch64-unknown-linux-gnu && deploy/packages/build.sh aarch64-unknown-linux-gnu
#
# The binary is run for its manual pages and completions, so it has to be one of this machine. Each of cargo-deb and
# cargo-generate-rpm is used where it is installed; one of them must be. PROFILE names another profile than release.
# The package's maintainer is DEBFULLNAME <DEBEMAIL>, as Debian's own tools have it.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:-} profile=${PROFILE:-release}
binary=${CARGO_TARGET_DIR:-target}/${target:+$target/}$profile/truenorth
stage=target/packages
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
maintainer="${DEBFULLNAME:-truenorth} <${DEBEMAIL:-packages@truenorth.invalid}>"
# Two builds of one commit are the same, byte for byte.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

[ -x "$binary" ] || { echo "error: there is no $binary: build it first, as $0 says" >&2; exit 1; }
rm -rf "$stage"
mkdir -p "$stage"/{man,completions,units,debian,out}

# What the binary says of itself.
"$binary" man --out "$stage/man"
gzip --best --no-name "$stage"/man/*.1
for shell in bash zsh fish; do "$binary" completions "$shell" >"$stage/completions/$shell"; done
"$binary" schema >"$stage/manifest.schema.json"
# A package has no say in /usr/local.
for unit in systemd/*.service systemd/*.timer; do
  sed 's|/usr/local/bin/|/usr/bin/|' "$unit" >"$stage/units/${unit##*/}"
done
gzip --best --no-name --stdout CHANGELOG.md >"$stage/changelog.gz"
cat >"$stage/debian/changelog" <<TEXT
truenorth ($version-1) stable; urgency=medium

  * What changed is in changelog.gz beside this file.

 -- $maintainer  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
TEXT

built=0
if command -v cargo-deb >/dev/null; then
  cargo deb --no-build --no-dbgsym --profile "$profile" ${target:+--target "$target"} \
    --maintainer "$maintainer" --output "$stage/out/"
  built=1
fi
if command -v cargo-generate-rpm >/dev/null; then
  cargo generate-rpm --profile "$profile" ${target:+--target "$target"} --output "$stage/out/"
  built=1
fi
[ "$built" = 1 ] || { echo "error: neither cargo-deb nor cargo-generate-rpm is installed" >&2; exit 1; }
ls -l "$stage/out"
