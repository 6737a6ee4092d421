# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2086 # lists of words
# A channel of Python packages, published with 'channel publish' and read by pip and uv. SLIPWAY_PYPI is a venv with both
# (tools/peers pypi); without it this machine's pip alone reads it, if there is one.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need python3
python=${SLIPWAY_PYPI:+$SLIPWAY_PYPI/bin/}python3
uv=${SLIPWAY_PYPI:-/none}/bin/uv
export PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore UV_NO_CONFIG=1 UV_NO_CACHE=1
export UV_PYTHON_DOWNLOADS=never
unset PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL UV_INDEX_URL UV_DEFAULT_INDEX UV_FIND_LINKS

make() { python3 "$SOURCE_ROOT/tests/lib/wheel.py" "$@"; }

# serve NAME [html]: serves ./ch at $url, what is asked for goes to NAME.log
servers=
serve()
{
	python3 "$SOURCE_ROOT/tests/lib/simple_index.py" "$T/ch" "$T/$1.port" "$T/$1.log" ${2:+"$2"} &
	servers="$servers $!"
	await test -s "$1.port" || return 1
	url=http://127.0.0.1:$(cat "$1.port")/simple
}
stop() { [ -z "$servers" ] || kill $servers 2>/dev/null; }
trap 'stop; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

# pip COMMAND WORD...: with our index and no other
pip()
{
	command=$1
	shift
	runs timeout 120 "$python" -m pip "$command" --index-url "$url" "$@"
}
uv()
{
	[ -x "$uv" ] || { echo "no uv: set SLIPWAY_PYPI"; return 77; }
	runs timeout 120 "$uv" pip install --python "$python" --default-index "$url" "$@"
}

make in 'Foo.Bar==1.0 needs=tiny-dep>=1' 'Foo.Bar==1.1 needs=tiny-dep>=1 python=>=3.8' 'Foo.Bar==2.0rc1' \
	'tiny-dep==1.5' 'tiny-dep==1.9' 'tiny-dep==1.10' 'tiny-dep==2.0 python=>=99' 'old-style==0.9 form=.tar.gz' \
	'zipped==0.1 form=.zip' 'local==1.0+ubuntu.1'
t 'a dry run' runs "$SLIPWAY" channel publish --dry-run ch in/*
t 'makes nothing' test ! -e ch
t 'publishes wheels and sdists' runs "$SLIPWAY" channel publish ch in/*
t 'with pages' test -s ch/simple/foo-bar/index.html
t 'in both forms' python3 -c 'import json; assert len(json.load(open("ch/simple/tiny-dep/index.v1_json"))["files"]) == 4'
t 'and metadata beside each wheel' test "$(find ch/packages -name '*.metadata' | wc -l)" = 8
t 'that are those in it' sh -c 'unzip -p in/Foo_Bar-1.0*.whl "*/METADATA" | cmp - ch/packages/foo-bar/*-1.0-*.metadata'
cp -r ch before
t 'publishing again' runs "$SLIPWAY" channel publish ch in/*
t 'changes nothing' diff -r -x .slipway.lock before ch
t 'and says its kind' runs "$SLIPWAY" channel publish --json ch in/local*
t 'by the files' has '"kind": "pypi"' out
t 'tells a broken one' sh -c 'mkdir bad && head -c 300 in/local-1.0+ubuntu.1-py3-none-any.whl >bad/local-2-py3-none-any.whl'
t 'and refuses it' must_fail 1 "$SLIPWAY" channel publish ch bad/local-2-py3-none-any.whl
t 'with its name' has 'bad/local-2-py3-none-any.whl' err
t 'and without a trace' diff -r -x .slipway.lock before ch

"$python" -m pip --version >/dev/null 2>&1 || { done_testing; exit; }
"$python" -m pip --version | diag
for form in json html; do
	serve $form ${form#json} || { fail "a server of $form"; continue; }
	t "pip finds the newest, $form" pip download -d dl-$form foo_bar
	t "of each, by their versions, $form" test "$(cd dl-$form && echo *)" = \
		'Foo_Bar-1.1-py3-none-any.whl tiny_dep-1.10-py3-none-any.whl'
	t "asks for that form, $form" grep -q "^200 /simple/foo-bar/ .*$form" $form.log
	t "and for metadata first, $form" sh -c "grep -n . $form.log | sed -n 's,:.*1.10.*.metadata .*,,p' | grep -qx '[1-9]*' &&
		! grep -q 'tiny_dep-1.9.*whl ' $form.log"
	t "installs, $form" pip install -q --target t-$form 'Foo.Bar==1.0' local
	t "that version, $form" grep -q "version = '1.0'" t-$form/Foo_Bar.py
	t "a local one too, $form" grep -q ubuntu t-$form/local.py
	t "a pre-release where it is asked for, $form" pip install -q --no-deps --pre --target t2-$form foo-bar
	t "is it, $form" grep -q 2.0rc1 t2-$form/Foo_Bar.py
	t "sdists, $form" pip install -q --target sd-$form old-style zipped
	t "are built, $form" test -e sd-$form/old_style.py -a -e sd-$form/zipped.py
	: >$form.log
	t "uv installs, $form" uv --target u-$form foo-bar
	[ ! -x "$uv" ] || t "the newest, by its metadata, $form" grep -q '1.1-py3-none-any.whl.metadata' $form.log
done

serve last || fail 'a server'
sha=$(sha256sum in/local*.whl | cut -d ' ' -f 1)
echo "local==1.0+ubuntu.1 --hash=sha256:$sha" >good.txt
echo "local==1.0+ubuntu.1 --hash=sha256:$(echo x | sha256sum | cut -d ' ' -f 1)" >bad.txt
t 'pip checks a digest' pip install -q --require-hashes --target h1 -r good.txt
t 'and sees a wrong one' must_fail 1 "$python" -m pip install -q --index-url "$url" --require-hashes --target h2 -r bad.txt
t 'uv too' uv --require-hashes --target h3 -r good.txt
cp ch/packages/local/*.whl save.whl
echo x >>ch/packages/local/local-1.0+ubuntu.1-py3-none-any.whl
t 'a file that changed' must_fail 1 "$python" -m pip install -q --index-url "$url" --target h4 local
t 'is told by its digest' grep -qi hash err
cp save.whl ch/packages/local/local-1.0+ubuntu.1-py3-none-any.whl

t 'yanks a version' runs "$SLIPWAY" channel yank --reason 'it breaks "all"' ch packages/tiny-dep/tiny_dep-1.10-py3-none-any.whl
t 'that is passed over' pip install -q --target y1 tiny-dep
t 'for another' grep -q "'1.9'" y1/tiny_dep.py
t 'is taken where it is asked for' pip install --target y2 tiny-dep==1.10
t 'with the reason' grep -q 'it breaks "all"' err
t 'uv passes it over' uv --target y3 tiny-dep
[ ! -x "$uv" ] || t 'as well' grep -q "'1.9'" y3/tiny_dep.py
t 'drops one' runs "$SLIPWAY" channel yank --drop ch packages/tiny-dep/tiny_dep-1.9-py3-none-any.whl
t 'file and all' test ! -e ch/packages/tiny-dep/tiny_dep-1.9-py3-none-any.whl
t 'what is not there cannot be' must_fail 1 "$SLIPWAY" channel yank ch packages/tiny-dep/tiny_dep-1.9-py3-none-any.whl
t 'nor what is no path' must_fail 2 "$SLIPWAY" channel yank ch ../x
t 'and the next is found' pip install -q --target y4 tiny-dep
t 'is' grep -q "'1.5'" y4/tiny_dep.py

# published while it is read: whoever asks sees a whole index
load()
{
	for i in $(seq 1 20); do
		make many "many==1.$i body=$i" "dep-of-many==1.$i"
	done
	for i in $(seq 1 20); do
		"$SLIPWAY" channel publish ch many/many-1.$i-*.whl many/dep_of_many-1.$i-*.whl >/dev/null 2>&1 || return 1
	done
}
make many 'many==1.0' && "$SLIPWAY" channel publish ch many/* >/dev/null 2>&1
load &
publisher=$!
bad=0 rounds=0
while [ $rounds = 0 ] || { kill -0 $publisher 2>/dev/null && [ $rounds -lt 8 ]; }; do
	rm -rf dl-load
	pip download -q -d dl-load many >said 2>&1 || { bad=$((bad + 1)); cat said err | diag; }
	rounds=$((rounds + 1))
done
t 'publishing under load' wait $publisher
t 'no reader failed' test $bad = 0
t 'what was published meanwhile is there' pip download -q -d dl-last many
t 'all of it' test -s dl-last/many-1.20-py3-none-any.whl
t 'nothing was missing that was told of' must_fail 1 grep '^404' last.log

if [ -n "${SLIPWAY_PYPI-}" ]; then
	"$python" "$SOURCE_ROOT/tests/lib/pep440.py" >pep440.txt
	t 'versions are ordered as by packaging' env PEP440_FILE="$T/pep440.txt" "$BUILD_ROOT/tests/pkg_pep440" as_others
else
	skip 'versions are ordered as by packaging' 'no packaging: set SLIPWAY_PYPI'
fi

# nginx, as doc/formats/pypi.md has it
if command -v nginx >/dev/null; then
	port=$(free_port)
	{
		echo "daemon off; master_process off; pid $T/nginx.pid; error_log $T/nginx.err; events {}"
		echo "http { access_log $T/nginx.log; client_body_temp_path $T/n1; proxy_temp_path $T/n2; fastcgi_temp_path $T/n3;"
		echo "uwsgi_temp_path $T/n4; scgi_temp_path $T/n5;"
		sed -n '/^    map /,/^    }$/p; /^    server {/,/^    }$/p' "$SOURCE_ROOT/doc/formats/pypi.md" |
			sed "s,/srv/channel/,$T/ch/,; s,server {,server { listen 127.0.0.1:$port;,"
		echo "}"
	} >nginx.conf
	nginx -c "$T/nginx.conf" -p "$T" 2>nginx.out &
	servers="$servers $!"
	url=http://127.0.0.1:$port/channel/simple
	t 'nginx comes up' await curl -sf -o /dev/null "$url/"
	t 'and serves pip' pip install -q --target n1 'Foo.Bar==1.0'
	t 'JSON' test "$(curl -s -H 'Accept: application/vnd.pypi.simple.v1+json' -o /dev/null -w '%{content_type}' "$url/local/")" = \
		application/vnd.pypi.simple.v1+json
	t 'and browsers' sh -c "curl -s $url/local/ | grep -q '<a href'"
	t 'and uv' uv --target n2 foo-bar
else
	skip 'nginx serves it' 'no nginx'
fi
done_testing
