#!/usr/bin/env bash
# Installs what tests/browser needs: Debian's chromium, its driver, and a font. Again: nothing happens.
set -euo pipefail

needed=(chromium chromedriver)
missing() { for name in "${needed[@]}"; do command -v "$name" >/dev/null || echo "$name"; done; }

[[ -n $(missing) ]] || exit 0
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "tests/browser needs $(missing | paste -sd ' '); as root on Debian: bash tests/browser/install.sh" >&2
    exit 1
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    chromium chromium-driver fonts-dejavu-core >/dev/null
[[ -z $(missing) ]] || { echo "apt-get did not bring $(missing | paste -sd ' ')" >&2; exit 1; }
