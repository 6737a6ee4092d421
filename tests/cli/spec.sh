# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

# yes|no SPEC NAME VERSION BUILD
yes()
{
	prints match "$SLIPWAY" spec match --scheme conda "$@"
}

no()
{
	must_fail 1 "$SLIPWAY" spec match --scheme conda "$@" && echo 'no match' | diff -u - out
}

t 'a range' yes 'numpy>=1.8,<2' numpy 1.26.4 py39h_0
t 'outside a range' no 'numpy>=1.8,<2' numpy 2.0 py39h_0
t 'another name' no numpy scipy 1.0 0
t 'fuzzy' yes numpy=1.8 numpy 1.8.3 0
t 'exact' no numpy==1.8 numpy 1.8.3 0
t 'with a build' yes 'numpy 1.8 py39*' numpy 1.8 py39_0
t 'with another build' no 'numpy=1.8=py38_0' numpy 1.8 py39_0
t 'keys in brackets' yes "numpy[version='>=1.8',build='*_0',build_number=0]" numpy 1.9 py39_0
t 'or' yes 'numpy 1.7|>=1.9' numpy 1.9 0
t 'a channel is not in question' yes conda-forge::numpy numpy 1.8 0
t 'unless one is given' no --channel https://conda.example.org/main conda-forge::numpy numpy 1.8 0
t 'and a subdir' no --subdir noarch 'conda-forge/linux-64::numpy' numpy 1.8 0

t 'a prefix is whole segments in a request' no 'openssl=1.1.1' openssl 1.1.1k 0
t 'which is said' has 'only begins with' err
t 'but not in a dependency' yes --dependency 'openssl 1.1.1*' openssl 1.1.1k 0
t 'as JSON' prints '{"match":true}' "$SLIPWAY" spec match --json numpy numpy 1 0
t 'no match as JSON' must_fail 1 "$SLIPWAY" spec match --json numpy=2 numpy 1 0
t 'is an object too' has '^{"match":false}$' out

t 'a malformed spec is a usage error' must_fail 2 "$SLIPWAY" spec match --scheme conda 'numpy => 1.2' numpy 1.2 0
t 'the message points and proposes' has "spec 'numpy => 1.2': column 7: '=>' is not an operator; did you mean '>='" err
t 'a malformed version' must_fail 2 "$SLIPWAY" spec match numpy numpy 1..2 0
t 'too few words' must_fail 2 "$SLIPWAY" spec match numpy numpy 1.2
t 'an unknown scheme' must_fail 2 "$SLIPWAY" spec match --scheme cobol numpy numpy 1.2 0

cat >want <<'EOF'
canonical  conda-forge/linux-64::numpy[version='>=1.8,<2',build=py39*]
name       numpy
version    >=1.8,<2
build      py39*
channel    conda-forge
subdir     linux-64
EOF
t 'shows the parts' runs "$SLIPWAY" spec show 'conda-forge/linux-64::NumPy >= 1.8, < 2 py39*'
t 'as they are' diff -u want out
t 'shows a spec as JSON' runs "$SLIPWAY" spec show --json "a[when='b>=2',extras=[c, d]]"
t 'with its condition' has '"when": "b>=2"' out
t 'and its extras' has '"c"' out
t 'shows no malformed spec' must_fail 2 "$SLIPWAY" spec show 'a[b'
t 'shows one spec' must_fail 2 "$SLIPWAY" spec show a b

for spec in 'py*' '^py.*$' "*[sha256=$(printf '%064d' 0)]"; do
	t "solve takes no spec that names no package: $spec" must_fail 2 "$SLIPWAY" solve -c . "$spec"
	t "and says why: $spec" has 'does not name one package' err
done
long=$(printf '%05000d' 0)
t 'match refuses a spec of 5000 bytes' must_fail 2 "$SLIPWAY" spec match "x=$long" x 1 0
t 'solve too' must_fail 2 "$SLIPWAY" solve -c . "x=$long"
t 'and says what is read' has 'at most 4096' err
t 'search too' must_fail 2 "$SLIPWAY" search -c . "x=$long"
t 'env create too' must_fail 2 "$SLIPWAY" env create -n x -c . "x=$long"

done_testing
