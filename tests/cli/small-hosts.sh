# SPDX-License-Identifier: Apache-2.0
# channel sync --file of packages of hosts: what a small channel is made of is what dnf, apt and opam would install, and they install
# from it. (What apt does with one of deb is in deb.sh as well.)
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rpms.sh"
. "$SOURCE_ROOT/tests/lib/serve.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"

# sync FROM SPECS... [-- OPTION...]: a small channel ./small of the specs, a line each
sync()
{
	from=$1
	shift
	: >specs
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		printf '%s\n' "$1" >>specs
		shift
	done
	[ $# = 0 ] || shift
	runs "$SLIPWAY" channel sync --from "$from" --file specs "$@" small
}

# -- rpm ------------------------------------------------------------------------------------------------------------------

# rpm_one NAME VERSION [LINE...]
rpm_one()
{
	rpm_n=$1 rpm_v=$2
	shift 2
	rpm_plain "$rpm_n" "$rpm_v" 1 'BuildArch: noarch' 'AutoReqProv: no' "$@" >"rpm/$rpm_n.spec" && rpm_build "$T/rpm" "rpm/$rpm_n.spec"
}
rpm_tree()
{
	mkdir -p rpm/out rpm/top
	rpm_one app 1 'Requires: lib >= 2, /opt/tool/version, cap(x)' 'Requires: (withlib if lib)' 'Requires: (nothing-here or second)' \
		'Requires: (first with shared)' 'Requires: (never if absent-too else otherwise)' 'Recommends: extra, not-there' 'Conflicts: lib >= 3' 'Suggests: unused' &&
		rpm_one lib 1 && rpm_one lib 2.0~rc1 && rpm_one lib 2.1 'Provides: liblib = 2.1' && rpm_one lib 3 && rpm_one tool 1 && rpm_one tool 2 &&
		rpm_one given 1 'Provides: cap(x)' && rpm_one withlib 1 && rpm_one second 1 && rpm_one first 1 'Provides: shared' &&
		rpm_one other-shared 1 'Provides: shared' && rpm_one otherwise 1 && rpm_one never 1 && rpm_one extra 1 'Requires: extra-data = 1' &&
		rpm_one extra-data 1 && rpm_one extra-data 2 && rpm_one unused 1 && rpm_one lang 1 'Supplements: (app and lib)' &&
		rpm_one lang-no 1 'Supplements: (app and unused)' &&
		rpm_one old 1 && rpm_one new 2 'Obsoletes: old < 2' 'Provides: old = 2' && rpm_one needs-old 1 'Requires: old' &&
		rpm_one back 2 'Requires: deep < 2' && rpm_one deep 1 && rpm_one deep 2 && rpm_one goes 2 'Requires: deep >= 2, back' &&
		rpm_one goes 1 'Requires: deep, back' && rpm_one broken 1 'Requires: absent >= 3' && rpm_one versioned 1 'Requires: liblib >= 2, liblib < 3' &&
		rpm_one chosen 1 'Requires: shared' && rpm_one hater 1 'Conflicts: (withlib unless lang)' 'Requires: withlib' &&
		runs "$SLIPWAY" channel publish --unsigned rpms rpm/out/*.rpm
}
# dnf_plan REPOSITORY SPEC...: what dnf would install into an empty root, NEVRA each
dnf_plan()
{
	rm -rf dnf.root && mkdir -p dnf.root dnf.repos
	printf '[main]\ncachedir=%s/dnf.cache\nlogdir=%s/dnf.log\npersistdir=%s/dnf.state\nreposdir=%s/dnf.repos\nplugins=0\ninstall_weak_deps=%s\nmodule_platform_id=platform:el9\n' \
		"$T" "$T" "$T" "$T" "${weak:-1}" >dnf.conf
	printf '[r]\nname=r\nbaseurl=file://%s\ngpgcheck=0\nmetadata_expire=0\n' "$T/$1" >dnf.repos/r.repo
	shift
	dnf -c dnf.conf --installroot="$T/dnf.root" --releasever=9 --forcearch=x86_64 --assumeno install "$@" >dnf.out 2>&1
	awk '/^Installing/ { on = 1; next } /^Skipping|^Transaction Summary/ { on = 0 } on && NF >= 5 && $2 == "noarch" { print $1 "-" $3 ".noarch.rpm" }' dnf.out | LC_ALL=C sort
}
in_small() # ENDING
{
	(cd small && find . -name "*$1" | sed 's,.*/,,' | LC_ALL=C sort)
}
# as_dnf SPEC...: both choose the same for specs that are asked for together
as_dnf()
{
	rm -rf small
	sync rpms "$(printf '%s, ' "$@")" -- --unsigned --platform x86_64 ${strong:+--no-recommends} || return 1
	in_small .rpm >ours
	dnf_plan rpms "$@" >theirs
	[ -s theirs ] || { cat dnf.out; return 1; }
	diff theirs ours && dnf_plan small "$@" | diff theirs -
}
# dnf_installs SPEC: from the small channel, into a root of its own, what the large one would have given
dnf_installs()
{
	rm -rf small
	sync rpms "$1" -- --unsigned --platform x86_64 && dnf_plan rpms "$1" >theirs && dnf_plan small "$1" | diff theirs - || return 1
	dnf -c dnf.conf --installroot="$T/dnf.root" --releasever=9 --forcearch=x86_64 -y install "$1" >dnf.out 2>&1 || { cat dnf.out; return 1; }
	rpm --root "$T/dnf.root" -qa --qf '%{NAME}-%{VERSION}-%{RELEASE}.noarch.rpm\n' | LC_ALL=C sort | diff theirs -
}
if command -v rpmbuild >/dev/null && command -v dnf >/dev/null; then
	t 'a tree of RPM packages' rpm_tree
	t 'what dnf takes: versions, files, capabilities, rich and weak ones' as_dnf app
	strong=1 weak=0 t 'without weak ones' as_dnf app
	t 'a name that is obsolete' as_dnf needs-old
	t 'a way back' as_dnf goes
	t 'a versioned capability' as_dnf versioned
	t 'a version' as_dnf 'lib < 3'
	t 'a file' as_dnf /opt/tool/version
	t 'name and version, as dnf writes it' as_dnf lib-2.1-1.noarch
	t 'two at once' as_dnf app hater
	if [ "$(id -u)" = 0 ]; then
		t 'dnf installs from it' dnf_installs app
		t 'what is in the packages' sh -c '[ "$(cat dnf.root/opt/app/version dnf.root/opt/extra-data/version dnf.root/opt/lib/version | tr "\n" " ")" = "1 1 2.1 " ] && [ ! -e dnf.root/opt/unused ]'
	else
		skip 'dnf installs from it' 'not root'
	fi
	t 'a line without a solution' must_fail 3 sh -c 'printf "lib\nbroken\n" >specs && "$SLIPWAY" channel sync --unsigned --from rpms --file specs --platform x86_64 --prune small'
	t 'is told with its cause' has 'broken 1-1 needs absent (>= 3), which is not there' err
	t 'lines apart' sync rpms 'lib >= 3' app -- --unsigned --platform x86_64 --prune
	t 'that nobody can have together' has 'all lines together have no solution' err
	t 'are both there' sh -c 'ls small/*.rpm small/*/*.rpm 2>/dev/null | grep -c "lib-3-1\|lib-2.1-1" | grep -qx 2'
else
	skip 'RPM packages' 'no rpmbuild or dnf'
fi

# -- deb ------------------------------------------------------------------------------------------------------------------

# real_tree: what this machine's apt knows of Debian's main, as a tree of indexes without files
real_tree()
{
	machine=$(dpkg --print-architecture) lists=/var/lib/apt/lists
	for f in "$lists"/*_main_"binary-$machine"_Packages*; do
		suite=$(basename "$f" | sed -n 's/.*_dists_\(.*\)_main_binary-.*/\1/p' | tr _ -)
		[ -n "$suite" ] && mkdir -p "debs/dists/$suite/main/binary-$machine" &&
			/usr/lib/apt/apt-helper cat-file "$f" >"debs/dists/$suite/main/binary-$machine/Packages" || return 1
		printf 'Suite: %s\nArchitectures: %s\nComponents: main\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n %s %s main/binary-%s/Packages\n' "$suite" "$machine" \
			"$(sha256sum <"debs/dists/$suite/main/binary-$machine/Packages" | cut -d ' ' -f 1)" "$(stat -c %s "debs/dists/$suite/main/binary-$machine/Packages")" "$machine" \
			>"debs/dists/$suite/Release"
		echo "deb [trusted=yes arch=$machine] file:$T/debs $suite main" >>apt.list
	done
	mkdir -p apt/etc apt/state/lists/partial apt/cache/archives/partial apt/log
	mv apt.list apt/etc/sources.list
	: >apt/status
	printf 'Dir "%s/apt"; Dir::Etc "%s/apt/etc"; Dir::State "%s/apt/state"; Dir::Cache "%s/apt/cache"; Dir::Log "%s/apt/log"; Dir::State::status "%s/apt/status"; Acquire::Languages "none"; APT::Sandbox::User "root";\n' \
		"$T" "$T" "$T" "$T" "$T" "$T" >apt.conf
	APT_CONFIG=$T/apt.conf apt-get update >apt.out 2>&1 || { cat apt.out; return 1; }
}
# as_apt PACKAGE...: each by itself, the same packages and versions as onto an empty host
as_apt()
{
	for p; do
		printf '%s\n' "$p" >specs
		runs "$SLIPWAY" --json channel sync --unsigned --dry-run --from debs --file specs ${no:+"$no"} small || return 1
		sed -n 's,^ *"pool/.*/\([^/_]*\)_\([^_]*\)_.*,\1 \2,p' out | LC_ALL=C sort >ours
		APT_CONFIG=$T/apt.conf apt-get -s ${no:+--no-install-recommends} install "$p" >apt.out 2>&1 || { cat apt.out; return 1; }
		sed -n 's/^Inst \([^ :]*\)[^ ]* (\([^ ]*\) .*/\1 \2/p' apt.out | sed 's/ [0-9]*:/ /' | LC_ALL=C sort >theirs
		[ -s theirs ] || { cat apt.out; return 1; }
		diff theirs ours || { echo "$p"; return 1; }
	done
}
ls /var/lib/apt/lists/*_main_binary-*_Packages* >found 2>/dev/null
if [ -s found ] && command -v apt-get >/dev/null && [ -x /usr/lib/apt/apt-helper ]; then
	t "Debian, as this machine's apt knows it" real_tree
	no=--no-recommends
	t 'what apt takes' as_apt hello python3 nginx build-essential default-jdk
	no=
	t 'with what is recommended' as_apt hello python3 nginx
else
	skip 'what apt takes' 'no lists of apt'
fi

# -- opam -----------------------------------------------------------------------------------------------------------------

# opam_one NAME VERSION [LINE...]: its file, and an archive of it
opam_one()
{
	opam_n=$1 opam_v=$2
	shift 2
	mkdir -p "opam.in/$opam_n.$opam_v" "src/$opam_n-$opam_v" && echo "$opam_n $opam_v" >"src/$opam_n-$opam_v/x" &&
		tar -C src -czf "src/$opam_n-$opam_v.tar.gz" "$opam_n-$opam_v" || return 1
	{
		printf 'opam-version: "2.0"\nsynopsis: "a test"\nmaintainer: "a@example.org"\nauthors: "a"\nhomepage: "https://example.org"\nbug-reports: "a"\n'
		printf '%s\n' "$@"
		printf 'url {\n  src: "https://nowhere.invalid/%s"\n  checksum: [ "md5=%s" "sha256=%s" ]\n}\n' "$opam_n-$opam_v.tar.gz" \
			"$(md5sum <"src/$opam_n-$opam_v.tar.gz" | cut -d ' ' -f 1)" "$(sha256sum <"src/$opam_n-$opam_v.tar.gz" | cut -d ' ' -f 1)"
	} >"opam.in/$opam_n.$opam_v/opam"
}
opam_tree()
{
	for v in 4.14.2 5.2.1 5.3.0; do
		opam_one ocaml $v "depends: [ (\"ocaml-base-compiler\" {= \"$v\"} | \"ocaml-system\" {= \"$v\"}) \"base-domains\" {post & version >= \"5\"} ]" &&
			opam_one ocaml-base-compiler $v 'conflict-class: "ocaml-core-compiler"' 'flags: compiler' || return 1
	done
	opam_one ocaml-base-compiler 5.4.0~beta1 'conflict-class: "ocaml-core-compiler"' 'flags: [ compiler avoid-version ]' &&
		opam_one ocaml-system 5.2.1 'conflict-class: "ocaml-core-compiler"' 'available: sys-ocaml-version = "5.2.1"' &&
		opam_one ocaml 5.4.0 'depends: [ "ocaml-base-compiler" {= "5.4.0~beta1"} ]' && opam_one base-domains base &&
		opam_one tool 1.0 'depends: [ "ocaml" {>= "4.08"} "lib" {>= "1.5" & < "3"} "check" {with-test} ]' 'depopts: [ "extra" ]' &&
		opam_one tool 1.1 'depends: [ "ocaml" {>= "5.0"} "lib" {build} ("fast" {os = "win32"} | "slow") ]' 'conflicts: [ "lib" {= "2.1"} ]' &&
		opam_one lib 1.0 && opam_one lib 2.0 && opam_one lib 2.1 && opam_one lib 2.2 'available: os = "macos"' &&
		opam_one fast 1 && opam_one slow 1 && opam_one extra 1 && opam_one check 1 && opam_one old 1 'depends: [ "ocaml" {< "5"} ]' &&
		opam_one broken 1 'depends: [ "gone" ]' && opam_one has-files 1 'depends: [ "data" ]' \
			'install: [ [ "mkdir" "-p" "%{share}%/has-files" ] [ "cp" "x" "%{share}%/has-files/x" ] ]' &&
		opam_one data 1 'install: [ [ "mkdir" "-p" "%{share}%/data" ] [ "cp" "x" "%{share}%/data/x" ] ]' || return 1
	runs "$SLIPWAY" channel publish --kind opam opams opam.in src/*.tar.gz
}
small_opam() # WANTED...: what ./small has
{
	(cd small && tar -tzf index.tar.gz | sed -n 's,^packages/.*/\(.*\)/opam$,\1,p' | LC_ALL=C sort | tr '\n' ' ') >is
	printf '%s ' "$@" | diff - is
}
opam_sync()
{
	rm -rf small && sync opams "$@"
}
# opam_plan REPOSITORY SPEC...: what opam would install into an empty switch
opam_plan()
{
	opam_from=$1
	shift
	rm -rf opam.root
	OPAMSWITCH='' opam init --bare --disable-sandboxing --no-setup "$URL/$opam_from" >opam.said 2>&1 || { cat opam.said; return 1; }
	OPAMSWITCH='' opam switch create e --empty >>opam.said 2>&1
	opam install --dry-run --show-actions "$@" >opam.said 2>&1 || { cat opam.said; return 1; }
	sed -n 's/^.*install *\([^ ]*\) *\([^ ]*\).*/\1.\2/p' opam.said | LC_ALL=C sort
}
# as_opam SPEC...
as_opam()
{
	opam_sync "$(printf '%s, ' "$@")" -- --each-alone || return 1
	opam_plan opams "$@" >theirs || { cat theirs; return 1; }
	(cd small && tar -tzf index.tar.gz | sed -n 's,^packages/.*/\(.*\)/opam$,\1,p' | LC_ALL=C sort) | diff theirs - && opam_plan small "$@" | diff theirs -
}
t 'a tree of opam packages' opam_tree
t 'formulas, filters, what is available' opam_sync tool -- --platform linux-x86_64
t 'make what it needs' small_opam base-domains.base lib.2.0 ocaml-base-compiler.5.3.0 ocaml.5.3.0 slow.1 tool.1.1
t 'with archives in its cache' test "$(find small/cache -type f | wc -l)" = 12
t 'of which each is one file' test "$(find small/cache -type f -links +1 | wc -l)" = 12
t 'two compilers' opam_sync tool -- --platform linux-x86_64 --ocaml 4.14.2,5.2.1
t 'are lines of their own' has "Processing 'ocaml.4.14.2 tool' for linux-x86_64" err
t 'with what each of them needs' small_opam base-domains.base lib.2.0 lib.2.1 ocaml-base-compiler.4.14.2 ocaml-base-compiler.5.2.1 ocaml.4.14.2 ocaml.5.2.1 slow.1 \
	tool.1.0 tool.1.1
t 'another system' opam_sync tool -- --platform win32-x86_64
t 'takes other ones' sh -c 'tar -tzf small/index.tar.gz | grep -q fast.1/opam && ! tar -tzf small/index.tar.gz | grep -q slow.1'
t 'a line that cannot be had' must_fail 3 sh -c 'printf "lib\nbroken\nold, ocaml>=5\n" >specs && "$SLIPWAY" channel sync --from opams --file specs --prune small'
t 'says why' has 'broken 1 needs gone, which is not there' err
t 'line by line' has "'old, ocaml>=5' has no solution" err
t 'a dry run' sync opams lib -- --dry-run --prune
t 'tells what would go' has 'would remove fast.1 from small' err
t 'and does nothing' sh -c 'tar -tzf small/index.tar.gz | grep -q fast.1/opam'
t 'what no line needs' sync opams lib -- --prune
t 'goes' small_opam lib.2.1
t 'its archives too' test "$(find small/cache -type f | wc -l)" = 2
if command -v opam >/dev/null; then
	export OPAMROOT="$T/opam.root" OPAMYES=1 OPAMNODEPEXTS=1 OPAMROOTISOK=1 OPAMCOLOR=never OPAMNOENVNOTICE=1 OPAMSWITCH=e
	serve "$T"
	t 'as opam does' as_opam tool
	t 'for several' as_opam old tool
	t 'and a version' as_opam ocaml.5.2.1 tool
	opam_installs()
	{
		as_opam has-files || return 1
		: >requests
		opam install has-files >opam.said 2>&1 || { cat opam.said; return 1; }
		grep -c 'GET /small/cache/.* 200' requests | grep -qx 2 || { cat requests; return 1; }
	}
	t 'opam installs from it' opam_installs
	t 'what is in the archives' sh -c 'cat opam.root/e/share/data/x opam.root/e/share/has-files/x | tr "\n" " " | grep -qx "data 1 has-files 1 "'
else
	skip 'as opam does' 'no opam'
fi

# -- in the middle --------------------------------------------------------------------------------------------------------

# As serve, but while ./hold is there only two files of a cache are answered, the others when it is gone; how many waited at once is in ./waiting.
hold()
{
	serve_end
	: >hold
	: >requests
	rm -f port
	python3 - <<-'X' &
		import http.server, os, threading, time
		lock, answered, waiting = threading.Lock(), 0, 0
		class Handler(http.server.SimpleHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def do_GET(self):
		        global answered, waiting
		        with lock:
		            held = "/cache/" in self.path and answered >= 2
		            answered += "/cache/" in self.path
		            waiting += held
		        while held and os.path.exists("hold"):
		            with open("waiting", "w") as f:
		                f.write(str(waiting))
		            time.sleep(0.05)
		        super().do_GET()
		    def log_request(self, code="-", size="-"):
		        with open("requests", "a") as f:
		            f.write("%s %s %d\n" % (self.command, self.path, int(code)))
		    def log_message(self, *args):
		        pass
		server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
		with open("port.new", "w") as f:
		    f.write(str(server.server_address[1]))
		os.rename("port.new", "port")
		server.serve_forever()
	X
	serve_pid=$!
	await test -s port
	URL=http://127.0.0.1:$(cat port)
}
four_wait() { [ -s waiting ] && [ "$(cat waiting)" = 4 ] && [ "$(grep -c '/cache/.* 200' requests)" = 2 ]; }
cut_off()
{
	hold
	rm -rf small
	echo tool >specs
	"$SLIPWAY" channel sync --each-alone --from "$URL/opams" --file specs small 2>err &
	cut_pid=$!
	await four_wait || { cat err requests; return 1; }
	sleep 0.3
	kill -TERM $cut_pid
	wait $cut_pid && return 1
	rm hold
	cat err
	grep -qx "slipway: interrupted; 'small' lists what it listed before; the same command goes on from what came" err && [ ! -e small/index.tar.gz ]
}
t 'several at a time, and cut off' cut_off
t 'the same command' sync "$URL/opams" tool -- --each-alone --progress-fd 3 3>events
t 'does the rest' small_opam base-domains.base lib.2.0 ocaml-base-compiler.5.3.0 ocaml.5.3.0 slow.1 tool.1.1
t 'and fetches what is missing' test "$(grep -c '"event":"done","phase":"download","id":"cache/' events)" = 4

# -- of a channel that follows another ------------------------------------------------------------------------------------

followed()
{
	serve "$T"
	runs "$SLIPWAY" channel create thin --kind opam --from "$URL/opams" --download ON_DEMAND && runs "$SLIPWAY" channel sync thin &&
		[ "$(find thin -path '*cache*' -type f | wc -l)" = 0 ] && rm -rf small && : >requests && sync thin tool -- --dry-run --each-alone &&
		has 'would download cache/' err && [ ! -e small ] && sync thin tool -- --each-alone && grep -c 'GET /opams/cache/.* 200' requests | grep -qx 6 &&
		small_opam base-domains.base lib.2.0 ocaml-base-compiler.5.3.0 ocaml.5.3.0 slow.1 tool.1.1 && [ "$(find small/cache -type f | wc -l)" = 12 ]
}
t 'only what is needed is fetched' followed
again()
{
	: >requests
	sync thin tool 'lib = 2.1' -- --each-alone && has '1 new package to upload' err && grep -c 'GET /opams/cache/.* 200' requests | grep -qx 1
}
t 'and only what is new' again
# by_url FROM SPEC...: as from the folder
by_url()
{
	url_from=$1
	shift
	rm -rf small && : >requests && sync "$URL/$url_from" "$@" || return 1
	! grep 'GET .* 200' requests | grep -v '/repo 200\|repomd.xml' | sort | uniq -d | grep . || return 1
}
t 'a URL: which kind it is, is found out' by_url opams tool -- --each-alone
t 'makes the same' small_opam base-domains.base lib.2.0 ocaml-base-compiler.5.3.0 ocaml.5.3.0 slow.1 tool.1.1
t 'of which nothing else was fetched' test "$(grep -c 'GET /opams/cache/.* 200' requests)" = 6
t 'again' sync "$URL/opams" tool -- --each-alone
t 'nothing is new' has '6 packages in .small., 0 of them new' err
t 'and nothing is fetched twice' test "$(grep -c 'GET /opams/cache/.* 200' requests)" = 6
t 'a file URL' sync "file://$T/opams" tool -- --dry-run --each-alone
if [ -d rpms ]; then
	t 'of RPM packages' by_url rpms needs-old -- --unsigned --platform x86_64
	t 'what is needed' sh -c 'find small -name "*.rpm" | sed "s,.*/,," | LC_ALL=C sort | tr "\n" " " | grep -qx "needs-old-1-1.noarch.rpm new-2-1.noarch.rpm "'
	t 'was fetched' test "$(grep -c 'GET /rpms/.*rpm 200' requests)" = 2
fi
if [ -d debs ]; then
	deb_suite=$(basename "$(echo debs/dists/* | cut -d ' ' -f 1)")
	t 'of Debian, without a suite' must_fail 2 "$SLIPWAY" channel sync --kind deb --from "$URL/debs" --file specs --unsigned small
	t 'says what is missing' has 'as in --suite bookworm' err
	t 'with one' sync "$URL/debs" hello -- --suite "$deb_suite" --component main --unsigned --dry-run
	t 'tells what would be' has 'would download pool/main/h/hello/' err
fi
t 'another kind' must_fail 2 "$SLIPWAY" channel sync --kind pypi --from "$URL/opams" --file specs small
t 'nothing there' must_fail 1 "$SLIPWAY" channel sync --kind rpm --from "$URL/none" --file specs --unsigned small
# its server is gone
serve_end
offline()
{
	printf 'tool\nlib = 2.1\n' >specs
	rm -rf small && runs "$SLIPWAY" channel sync --each-alone --from thin --file specs small && must_fail 1 sh -c 'echo old >specs && "$SLIPWAY" channel sync --from thin --file specs small' &&
		small_opam base-domains.base lib.2.0 lib.2.1 ocaml-base-compiler.5.3.0 ocaml.5.3.0 slow.1 tool.1.1
}
t 'what is held is enough, what is not leaves what there was' offline
without_server()
{
	rm -rf small && echo tool >specs
	must_fail 1 "$SLIPWAY" channel sync --kind opam --each-alone --from "$URL/opams" --file specs small && [ ! -e small ] &&
		runs "$SLIPWAY" --offline channel sync --kind opam --each-alone --from "$URL/opams" --file specs small &&
		small_opam base-domains.base lib.2.0 ocaml-base-compiler.5.3.0 ocaml.5.3.0 slow.1 tool.1.1
}
t 'of a URL with --offline too' without_server

done_testing
