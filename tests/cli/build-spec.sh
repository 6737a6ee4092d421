#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Specs without building them: print, Dockerfiles, recipe, OBuilder's ids; what is wrong with a spec.
# shellcheck disable=SC1003 # backslashes at the end of words
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"

build()
{
	"$SLIPWAY" build "$@"
}

# is FILE TEXT…: the file holds these lines.
is()
{
	is_file=$1
	shift
	printf '%s\n' "$@" | diff - "$is_file"
}

# refuses MESSAGE SPEC: exit 1, with FILE:LINE:COLUMN and the rest.
refuses()
{
	printf %b "$2" >bad.spec
	must_fail 1 "$SLIPWAY" build --print -f bad.spec && has "bad.spec:$1" err
}

cat >job.spec <<'END'
; what a project has
((build tools ((from golang) (workdir /out) (run (shell "make tools"))))
 (from base) (user (uid 1000) (gid 1000)) (workdir /src) (env A "b c")
 (copy (src .) (dst ./) (exclude .git)) (copy (from (build tools)) (src /out/t) (dst /usr/bin/))
 (run (network host) (cache (c (target /c))) (secrets (s (target /s))) (shell "a &&
   b")))
END
mkdir src && echo x >src/x && mkdir src/.git && echo y >src/.git/y

t 'prints a spec' sh -c '"$SLIPWAY" build --print -f job.spec >out'
t 'in one form' is out '((build tools' '        ((from golang)' '         (workdir /out)' '         (run (shell "make tools"))))' ' (from base)' \
	' (user (uid 1000) (gid 1000))' ' (workdir /src)' ' (env A "b c")' ' (copy (src .) (dst ./) (exclude .git))' \
	' (copy (from (build tools)) (src /out/t) (dst /usr/bin/))' ' (run (cache (c (target /c)))' '      (network host)' \
	'      (secrets (s (target /s)))' '      (shell  "a &&\' '             \n   b"))' ')'
t 'which reads back' sh -c '"$SLIPWAY" build --print -f - <out | cmp - out'
t 'a Dockerfile' sh -c '"$SLIPWAY" build --dockerfile -f job.spec >out'
t 'of which caches, secrets and networks are not' is out 'FROM golang as tools' 'WORKDIR /out' 'RUN make tools' '' 'FROM base' \
	'USER 1000:1000' 'WORKDIR /src' 'ENV A="b c"' 'COPY --chown=1000:1000 . ./' \
	'COPY --chown=1000:1000 --from=tools /out/t /usr/bin/' 'RUN a && \' '    b' ''
t 'one for BuildKit' sh -c '"$SLIPWAY" build --buildkit -f job.spec | tail -n 3 >out'
t 'with mounts' is out 'RUN --mount=type=secret,id=s,target=/s,uid=1000 --mount=type=cache,id=c,target=/c,uid=1000 a && \' '    b' ''
printf '((from b) (run (shell "a &&\\nb")))' >w.spec
t 'one for Windows' sh -c '"$SLIPWAY" build --dockerfile --escape windows -f w.spec >out'
t 'goes on with its own character' is out '#escape=`' 'FROM b' 'RUN a && `' '    b' ''
t 'as JSON' sh -c '"$SLIPWAY" build --json --dockerfile -f w.spec | grep -q "\"text\": *\"FROM b\\\\nRUN a && "'

# -- the recipe does what it says, with something in docker's place
mkdir bin
cat >bin/docker <<'END'
#!/bin/sh
echo "in $PWD: $*"
cat "$3"
END
chmod +x bin/docker
t 'a recipe' sh -c '"$SLIPWAY" build --reproduce -f job.spec src >recipe'
t 'runs in a shell' sh -c 'PATH=$PWD/bin:$PATH sh recipe >out && "$SLIPWAY" build --dockerfile -f job.spec >want && grep -qx "in $PWD/src: build -f /.* ." out &&
	sed 1d out | diff want -'

if command -v git >/dev/null; then
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_COMMITTER_NAME=t EMAIL=t@localhost
	export GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM GIT_AUTHOR_NAME GIT_COMMITTER_NAME EMAIL
	(
		git init -q -b master "my repo" && cd "my repo" && echo a >a && git add . && git commit -qm a && git checkout -qb pull &&
			echo b >b && git add . && git commit -qm b && git update-ref refs/pull/1/head HEAD && git checkout -q master &&
			git branch -qD pull && echo c >c && git add . && git commit -qm c
	)
	git clone -q --bare --mirror "my repo" repo.git
	t 'a recipe of a repository' sh -c '"$SLIPWAY" build --reproduce -f job.spec --git "file://$PWD/repo.git#refs/pull/1/head" --onto master >recipe'
	t 'runs too' sh -c 'echo "ls *" >>recipe && PATH=$PWD/bin:$PATH TMPDIR=$PWD sh recipe >out 2>git.log'
	t 'and has the commits in one' sh -c 'tail -n 3 out | tr "\n" " " | grep -qx "a b c "'
	t 'and the Dockerfile beside the folder' sh -c 'grep -q "^in $PWD/tmp\..*/repo: build -f ../Dockerfile .$" out && grep -qx "RUN a && .*" out'
	t 'ids of a repository are those of its tree' sh -c 'mkdir tree && cp "my repo/a" tree &&
		printf "((from b) (copy (src a) (dst /x)))" >r.spec &&
		"$SLIPWAY" build --ids -f r.spec --image-env A=1 --git "file://$PWD/repo.git" 2>git.log | tail -n 1 >one &&
		"$SLIPWAY" build --ids -f r.spec --image-env A=1 tree | tail -n 1 | diff one -'
fi

# -- ids
t 'ids' sh -c '"$SLIPWAY" build --ids -f w.spec --image-env A=1 >out && grep -c "^---> \"[0-9a-f]*\"$" out | grep -qx 2'
t 'the first is of the name alone' has "---> \"$(printf b | sha256sum | cut -d' ' -f1)\"" out
t 'the environment counts' sh -c '"$SLIPWAY" build --ids -f w.spec --image-env A=2 | cmp -s - out; [ $? = 1 ]'
t 'without it there is one' must_fail 1 sh -c '"$SLIPWAY" build --ids -f w.spec >out'
t 'which is shown' sh -c 'grep -c -e "--->" out | grep -qx 1'
t 'and the image is asked for' has "w.spec:1:2: the environment of the image is in all ids that follow: " err
printf '((from b)\n (copy (src x) (dst /y)))' >c.spec
t 'of a copy' sh -c '"$SLIPWAY" build --ids -f c.spec --image-env A=1 src >one && echo z >src/x && "$SLIPWAY" build --ids -f c.spec --image-env A=1 src | cmp -s - one; [ $? = 1 ]'
t 'which has no source' must_fail 1 "$SLIPWAY" build --ids -f c.spec --image-env A=1
t 'says so' has "c.spec:2:2: the id of a copy follows from its files; name the folder that they are in" err
t 'ids as JSON' sh -c '"$SLIPWAY" build --json --ids -f w.spec --image-env A=1 | tr -d "\n " | grep -q "\"steps\":\[{\"line\":1,\"column\":2,\"heading\":\"(fromb)\",\"id\":\"[0-9a-f]*\"},{"'

# -- wrong words
t 'one form at a time' must_fail 2 "$SLIPWAY" build --print --ids -f w.spec
t '--escape of a build' must_fail 2 "$SLIPWAY" build --escape windows -f w.spec
t '--escape alone' must_fail 2 "$SLIPWAY" build --print --escape windows -f w.spec
t '--escape of something else' must_fail 2 "$SLIPWAY" build --dockerfile --escape vms -f w.spec
t '--image-env alone' must_fail 2 "$SLIPWAY" build --dockerfile --image-env A=1 -f w.spec
t '--image-env without a value' must_fail 2 "$SLIPWAY" build --ids --image-env A -f w.spec
t 'a spec that is not there' must_fail 1 "$SLIPWAY" build --print -f nope.spec
t 'is named' has "'nope.spec'" err
t 'no spec' must_fail 2 "$SLIPWAY" build --print

# -- bad specs
t 'empty' refuses '1:1: the file is empty; a spec begins with ((from IMAGE)' ''
t 'an unknown operation' refuses "2:3: there is no operation 'rum'; did you mean 'run'?" '((from b)\n (rum (shell x)))\n'
t 'no image' refuses '1:2: (from IMAGE) is missing' '((run (shell true)))'
t 'a wrong field' refuses "1:17: 'run' has no field 'cmd'; its fields are cache network secrets shell" '((from b) (run (cmd x)))'
t 'a field twice' refuses "2:7: 'run' has a second (shell …); the first is at 1:16" '((from b) (run (shell x)\n      (shell y)))'
printf '((from b) (run (network nat) (shell x)))' >net.spec
t 'a network of another system can be printed' build --dockerfile -f net.spec
t 'and not be built' must_fail 1 "$SLIPWAY" build --ids --image-env A=1 -f net.spec
t 'with its place too' has "net.spec:1:16: there is no network 'nat' here: write (network host)" err
t 'a stage that is not there' refuses "1:63: no stage 'tols' is built before this; did you mean 'tools'?" '((build tools ((from b))) (from b) (copy (src x) (from (build tols)) (dst y)))'
t 'a ( too many' refuses "1:1: this '(' has no ')': 1 is missing at the end of the file" '((from b)'
t 'a ) too many' refuses "1:11: a ')' without its '('" '((from b)))'
t 'a string without its end' refuses '1:23: this string has no end; a quote is missing' '((from b) (run (shell "x)))'
t 'NUL' refuses '1:10: a NUL byte; this is no text file' '((from b)\0000)'
t 'Latin-1' refuses '1:24: byte 0xfc is not UTF-8; save the file as UTF-8' '((from b) (run (shell "\0374")))'
t 'line ends of Windows in a string' refuses '2:19: a carriage return in a quoted string; save the file with Unix line ends' '((from b)\r\n (run (shell "x &&\r\n y")))\r\n'
printf '((from b)\r\n (run (shell x)))\r\n' >crlf.spec
t 'but between words they are fine' build --print -f crlf.spec
t 'deep' sh -c 'awk "BEGIN { while (n++ < 100000) printf \"(\" }" >bad.spec'
t 'is refused' must_fail 1 "$SLIPWAY" build --print -f bad.spec
t 'in words' has 'bad.spec:1:65: more than 64 lists in each other' err
t 'huge' sh -c 'head -c 64000000 /dev/zero | tr "\0" " " >bad.spec'
t 'is refused too' must_fail 1 "$SLIPWAY" build --print -f bad.spec
t 'in words too' grep -q "bad.spec" err
printf '((from b) (copy (src ../x) (dst y)))' >up.spec
t '.. can be printed' build --print -f up.spec
t 'and not be built' must_fail 1 "$SLIPWAY" build --ids --image-env A=1 -f up.spec src
t 'with its place' has "up.spec:1:11: '..' cannot be used in source paths ('../x')" err

# -- what the real one printed
need_shared data/obuilder
real=$SHARED/data/obuilder
mkdir real && tar -C real -xzf "$real/src.tar.gz"
for spec in "$real"/*.spec; do
	n=$(basename "$spec" .spec)
	case $n in 17-* | 21-*) # which it does not take
		t "$n is refused" must_fail 1 "$SLIPWAY" build --print -f "$spec"
		continue
		;;
	esac
	t "$n: Dockerfile" sh -c '"$SLIPWAY" build --dockerfile -f "$1" | cmp - "${1%.spec}.dockerfile"' sh "$spec"
	t "$n: for BuildKit" sh -c '"$SLIPWAY" build --buildkit -f "$1" | cmp - "${1%.spec}.buildkit"' sh "$spec"
	t "$n: prints and reads back" sh -c '"$SLIPWAY" build --print -f "$1" >p && "$SLIPWAY" build --print -f p | cmp - p' sh "$spec"
done
cat >base.env <<'END'
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOME=/home/opam
OPAMYES=1
OPAMCONFIRMLEVEL=unsafe-yes
OPAMERRLOGLEN=0
OPAMPRECISETRACKING=1
END

# same_ids SPEC LOG [OPTION...]: the ids, and the headings that have one, are those of the log, as far as it goes.
same_ids()
{
	spec=$1 log=$2
	shift 2
	# shellcheck disable=SC2046 # words
	"$SLIPWAY" build --ids -f "$spec" "$@" $(sed 's/^/--image-env /' base.env) real/src >ids 2>ids.err
	sed -n 's/^.*---> .*"\([0-9a-f]*\)".*/\1/p' "$log" >want
	n=$(wc -l <want)
	awk -v n="$n" '/^---> "/ { print substr($2, 2, 64) >"got"; if (++i == n) exit; next } $0 != "" { print >"headings" }' ids
	[ "$n" -gt 0 ] && diff want got && [ -s headings ] && ! grep -vFxf "$log" headings
}
for n in 01-run 02-env-shell-workdir 04-copy-dir 05-copy-exclude 07-copy-multi 09-copy-missing 13-cache 15-secret-missing 16-fail 19-quoting; do
	t "$n: ids" same_ids "$real/$n.spec" "$real/$n.1.log"
done

# A terminal is not steered by a spec; a file has what is meant.
printf '((from base) (env A "\\027[2J\\194\\155x"))' >steers.spec
t 'a Dockerfile with controls' sh -c '"$SLIPWAY" build --dockerfile -f steers.spec >steers'
t 'a file has them' grep -q "$(printf 'ENV A="\033\\[2J\302\233x"')" steers
t 'a terminal' script -qec "$SLIPWAY build --dockerfile -f steers.spec" shown </dev/null
t 'does not' sh -c "! grep -q \"\$(printf '\\033')\" shown"
t 'it is shown' grep -qF 'ENV A="\x1b[2J\xc2\x9bx"' shown
t 'and said' grep -q 'a file or pipe gets them as they are' shown

# The same without being told the environment, and of a copy from a stage, which is built here.
if "$SLIPWAY" build --check >can 2>&1; then
	rootfs_tar base.tar
	# shellcheck disable=SC2046 # words
	t 'an image with that environment' "$SLIPWAY" image import base300 base.tar $(sed 's/^/--env /' base.env)
	: >base.env
	t '13-cache: ids, by the image' same_ids "$real/13-cache.spec" "$real/13-cache.1.log"
	t '11-multistage: not before it is built' must_fail 1 "$SLIPWAY" build --ids -f "$real/11-multistage.spec"
	t 'says so' has "11-multistage.spec:6:2: the id of this copy follows from the files of stage 'dev', which is not built here; run 'slipway build' first" err
	t '11-multistage: built' "$SLIPWAY" build -q -f "$real/11-multistage.spec"
	t '11-multistage: ids' same_ids "$real/11-multistage.spec" "$real/11-multistage.1.log"
else
	skip 'ids of copies from a stage' "kernel: no sandboxes here ($(tail -n 1 can))"
fi
done_testing
