#!/usr/bin/env bash
# Guess: math-verify compares exact values exactly, and floats to six significant digits.
# Seen (math-verify 0.9.0, latex2sympy2_extended 1.11.0, Python 3.11): numbers of some forms are rounded to six
# places behind the point, whatever their size, so that all that is small enough is equal: the mass of an electron
# is Planck's constant, 1/2^55 is 1/2^56, 1/20! is 1/21!, (2/3)^100 is (2/3)^99. Others of the same kind are not:
# 1/3^15 is not 1/3^16, and 2.5e-7 is not 3.4e-7. "x=1,y=2" is right where (2,1) is the answer and stands second,
# and not the other way round.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'math-verify[antlr4_13_2]==0.9.0' 'latex2sympy2_extended==1.11.0'
env/bin/python - <<'PY'
from math_verify import parse, verify

PAIRS = [
    (r"6.63\times10^{-34}", r"9.11\times10^{-31}", True),
    (r"\frac{1}{2^{55}}", r"\frac{1}{2^{56}}", True),
    (r"\frac{1}{20!}", r"\frac{1}{21!}", True),
    (r"(\frac23)^{100}", r"(\frac23)^{99}", True),
    (r"\frac{1}{3^{15}}", r"\frac{1}{3^{16}}", False),
    (r"2.5\times10^{-7}", r"3.4\times10^{-7}", False),
    (r"x=1,y=2", r"(2,1)", True),
    (r"(2,1)", r"x=1,y=2", False),
]
changed = []
for gold, said, expected in PAIRS:
    equal = verify(parse(f"${gold}$"), parse(f"${said}$"))
    print(f"gold {gold:<22} answer {said:<22} {'equal' if equal else 'not equal'}")
    if equal != expected:
        changed.append((gold, said, equal))
assert not changed, changed
PY
