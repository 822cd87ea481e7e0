#!/usr/bin/env bash
# Tries a .deb as a user would: lintian, then install, upgrade, remove and purge in a new Debian of its own.
#
#     deploy/packages/try.sh target/packages/out/truenorth_*.deb
#
# As root, with lintian and debootstrap. Leaves nothing behind. SUITE names another Debian, MIRROR another mirror
# than debootstrap's own.
set -euo pipefail
deb=$(realpath "$1") suite=${SUITE:-bookworm} mirror=${MIRROR:-}

step() { printf '\n== %s\n' "$*"; "$@"; }
fails() { ! "$@" >/dev/null 2>&1 || { echo "error: this should have failed: $*" >&2; exit 1; }; }

# The two tags that are let through speak of Debian's own archive: a bug that a first upload closes, and files of systemd
# whose place moved between two releases of it.
step lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$deb"

root=$(mktemp --directory --tmpdir truenorth-deb-XXXXXX)
trap 'rm -rf --one-file-system "$root" "$root.log"' EXIT
step debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 ||
  { tail -n 20 "$root.log" >&2; exit 1; }
in_root() { chroot "$root" env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
cp "$deb" "$root/truenorth.deb"

step in_root dpkg --install /truenorth.deb
step in_root truenorth --version
step in_root truenorth self-test
# What was installed works, and is where people and shells look for it.
mkdir -p "$root/srv/manifests"
step in_root truenorth validate --manifests /srv/manifests
for file in /etc/default/truenorth /usr/share/man/man1/truenorth.1.gz /usr/share/truenorth/manifest.schema.json \
  /usr/share/bash-completion/completions/truenorth /usr/lib/systemd/system/truenorth.service; do
  step test -s "$root$file"
done
# It is neither started nor enabled: there is no token yet.
fails test -e "$root/etc/systemd/system/multi-user.target.wants/truenorth.service"

# An upgrade keeps what was changed in /etc, and the ledger.
echo TRUENORTH_MANIFESTS=/srv/platform/manifests >>"$root/etc/default/truenorth"
install -D -m 0600 /dev/stdin "$root/etc/truenorth/token" <<<secret
install -D -m 0600 /dev/null "$root/var/lib/private/truenorth/ledger.sqlite"
ln -s private/truenorth "$root/var/lib/truenorth"
step in_root dpkg --install --force-confdef --force-confold /truenorth.deb
step grep -q /srv/platform/manifests "$root/etc/default/truenorth"

# Removing keeps both; purging takes both away, with the token.
step in_root dpkg --remove truenorth
step test -e "$root/var/lib/private/truenorth/ledger.sqlite"
step test -s "$root/etc/truenorth/token"
fails test -e "$root/usr/bin/truenorth"
step in_root dpkg --purge truenorth
for file in /etc/default/truenorth /etc/truenorth /var/lib/truenorth /var/lib/private/truenorth; do
  fails test -e "$root$file"
done
printf '\nthe package is good\n'
