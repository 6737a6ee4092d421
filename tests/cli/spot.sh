# SPDX-License-Identifier: Apache-2.0
# The patch tool where things go wrong: recipes that contradict each other, recipes that name another host's addresses, an interrupt or a kill in
# the middle of each step, parameters that are deprecated.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/serve.sh"
need python3
relay=
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; serve_end; [ -z "$relay" ] || kill "$relay"; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

# pack NAME VERSION [OPTION...]
pack()
{
	rm -rf st && mkdir -p st/share && echo "$1 $2" >"st/share/$1"
	[ ! -e "extra.$1" ] || cp -r "extra.$1/." st/
	pack_n=$1 pack_v=$2
	shift 2
	"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --noarch generic --name "$pack_n" --version "$pack_v" "$@" st >/dev/null
}
# packages: of step
packages()
{
	"$SLIPWAY" env packages -n step --json | python3 -c 'import json, sys; print(*sorted(p["name"] + p["version"] for p in json.load(sys.stdin)["packages"]))'
}
# Passes connections on to a port; once a connection has brought ./hold bytes back, it stands still as long as that file is there, and ./held says so.
cat >relay.py <<'X'
import os, socket, sys, threading, time
to = int(sys.argv[1])
def pump(a, b, back):
    n = 0
    try:
        while data := a.recv(4096):
            n += len(data)
            while back and os.path.exists("hold") and n > int(open("hold").read() or 0):
                open("held", "w").close()
                time.sleep(0.05)
            b.sendall(data)
    except (OSError, ValueError):
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
l = socket.create_server(("127.0.0.1", 0))
with open("relay.new", "w") as f:
    f.write(str(l.getsockname()[1]))
os.rename("relay.new", "relay")
while True:
    a, _ = l.accept()
    b = socket.create_connection(("127.0.0.1", to))
    threading.Thread(target=pump, args=(a, b, False), daemon=True).start()
    threading.Thread(target=pump, args=(b, a, True), daemon=True).start()
X
# cut SIGNAL BYTES COMMAND...: the command, ended by that signal when so much has come over one connection; its standard error in ./err
cut()
{
	cut_signal=$1
	rm -f held
	echo "$2" >hold
	shift 2
	cat >cut.py <<-'X'
		import os, signal, subprocess, sys, time
		number = getattr(signal, sys.argv[1])
		for s in (signal.SIGINT, signal.SIGTERM):
		    signal.signal(s, signal.SIG_DFL)
		p = subprocess.Popen(sys.argv[2:], stderr=open("err", "wb"), stdout=open("out", "wb"), stdin=subprocess.DEVNULL)
		end = time.time() + 20
		while not os.path.exists("held") and time.time() < end and p.poll() is None:
		    time.sleep(0.02)
		time.sleep(0.1)
		p.send_signal(number)
		code = p.wait()
		sys.exit(0 if code == -number else "ended with %d: %s" % (code, open("err").read()))
	X
	python3 cut.py "$cut_signal" "$@"
	set -- $?
	rm -f hold
	return "$1"
}

head -c 400000 /dev/urandom >big
mkdir -p extra.core/share && cp big extra.core/share/big
pack core 7.0
pack core 7.1
pack addon 7.0.1 --depends 'core >=7.1,<8'
mkdir up && "$SLIPWAY" -q channel publish up/site pkgs/*.conda || exit 1
serve up
UP=$URL
"$SLIPWAY" -q mirror init m --name your-mirror --host localhost || exit 1
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
"$SLIPWAY" -q channel create m/takeout --kind takeout --type local
"$SLIPWAY" -q channel create m/copy --kind conda --type mirror --from "$UP/site" || exit 1
"$SLIPWAY" -q channel sync m/copy --download historic 2>/dev/null || "$SLIPWAY" -q channel sync m/copy || exit 1
printf 'recipe 1\nname step\nchannel copy\nspec core=7.0\n' >core-7.0.spr
printf 'recipe 1\nname step\nchannel copy\nspec core=7.1\n' >core-7.1.spr
printf 'recipe 1\nchannel copy\nspec addon\n' >addon.spr
"$SLIPWAY" -q mirror start m || exit 1
port=$("$SLIPWAY" mirror status --json m | python3 -c 'import json, sys; print(json.load(sys.stdin)["port"])')
python3 relay.py "$port" &
relay=$!
i=0
until [ -s relay ] || [ "$i" -ge 100 ]; do
	i=$((i + 1))
	sleep 0.05
done
M=https://localhost:$(cat relay)
# what was made against the upstream, on a host that knows no mirror
SLIPWAY_ROOT=$T/build
"$SLIPWAY" -q env create -n step -c "$UP/site" core=7.1 && "$SLIPWAY" env export -n step >lock.spr && "$SLIPWAY" -q env create -n a -c "$UP/site" addon core=7.1 && "$SLIPWAY" env export -n a | sed '/"name":"core"/d; /^requested core/d; /^spec core/d; /^name/d' >addon-lock.spr
"$SLIPWAY" -q env create -n old -c "$UP/site" core=7.0 && "$SLIPWAY" env export -n old | sed 's/^name .*/name step/' >core-lock-7.0.spr
SLIPWAY_ROOT=$T/app1
"$SLIPWAY" -q channel publish m/content/takeout --into step core-7.0.spr core-7.1.spr addon.spr lock.spr addon-lock.spr core-lock-7.0.spr || exit 1

# -- enrolment, cut off --------------------------------------------------------------------------------------------------
"$SLIPWAY" -q mirror enroll m --name app1 >code
t 'enroll is interrupted' cut SIGINT 0 "$SLIPWAY" enroll --code "$(cat code)" "$M"
t 'and says so' has 'interrupted' err
t 'killed in its middle' cut SIGKILL 2500 "$SLIPWAY" enroll --code "$(cat code)" "$M"
t 'the same again' runs "$SLIPWAY" enroll --code "$(cat code)" "$M"
t 'is one machine' sh -c '"$SLIPWAY" mirror clients m --json | grep -c "\"name\": " | grep -qx 1'
"$SLIPWAY" -q spot --updates="$M"

# -- prepare and apply, cut off ----------------------------------------------------------------------------------------------
t 'the first version' runs "$SLIPWAY" spot --apply=to:step/core-7.0.spr
for signal in SIGINT SIGKILL; do
	cp -r app1 app1.keep
	t "prepare, $signal" cut "$signal" 100000 "$SLIPWAY" spot --prepare=to:step/core-7.1.spr
	[ "$signal" = SIGKILL ] || t 'says that nothing changed, and what goes on' has 'nothing changed.*the same command goes on' err
	t 'nothing is half' sh -c '"$SLIPWAY" store verify && "$SLIPWAY" env check -n step'
	t 'what ran, runs' test "$(packages)" = core7.0
	t "apply, $signal" cut "$signal" 100000 "$SLIPWAY" spot --apply=to:step/core-7.1.spr
	[ "$signal" = SIGKILL ] || t 'says so, too' has 'interrupted; nothing changed' err
	t 'is as it was' test "$(packages)" = core7.0
	t 'the same again' runs "$SLIPWAY" spot --apply=to:step/core-7.1.spr
	t 'is there' test "$(packages)" = core7.1
	t 'whole' sh -c '"$SLIPWAY" store verify && "$SLIPWAY" env check -n step'
	rm -rf app1 && mv app1.keep app1
done

# -- recipes that contradict each other ----------------------------------------------------------------------------------------
t 'two versions of one' must_fail 3 "$SLIPWAY" spot --apply=to:step/core-7.0.spr,to:step/core-7.1.spr
t 'are refused' has 'core=7.0 was asked for' err
t 'with the recipes that say so' has "'core=7.1' stands in 'to:step/core-7.1.spr'" err
t 'a range that is left' must_fail 3 "$SLIPWAY" spot --prepare=to:step/core-7.0.spr,to:step/addon.spr
t 'is named' has 'addon 7.0.1 needs core >=7.1,<8' err
t 'as JSON' must_fail 3 "$SLIPWAY" spot --prepare=to:step/core-7.0.spr,to:step/addon.spr --json
t 'too' has '"recipe": "step/addon.spr"' out
t 'exact ones' must_fail 1 "$SLIPWAY" spot --prepare=to:step/core-lock-7.0.spr,to:step/lock.spr
t 'say who brings what' has "'step/core-lock-7.0.spr' brings core 7.0, and 'step/lock.spr' core 7.1" err
t 'exact ones beyond a range' must_fail 1 "$SLIPWAY" spot --prepare=to:step/core-lock-7.0.spr,to:step/addon-lock.spr
t 'are refused before anything is done' has 'core >=7.1' err
t 'those that go together' runs "$SLIPWAY" spot --prepare=to:step/lock.spr,to:step/addon-lock.spr

# -- made elsewhere --------------------------------------------------------------------------------------------------------------
serve_end # nobody is there any more who the recipe speaks of
SLIPWAY_ROOT=$T/app2
"$SLIPWAY" -q mirror enroll m --name app2 >code && "$SLIPWAY" -q enroll --code - "$M" <code && "$SLIPWAY" -q spot --updates="$M"
t 'a recipe of another host'\''s addresses' has "$UP/site" lock.spr
t 'is prepared from the mirror' runs "$SLIPWAY" spot --prepare=to:step/lock.spr
t 'and applied' runs "$SLIPWAY" spot --apply=to:step/lock.spr
t 'is there' test "$(packages)" = core7.1
SLIPWAY_ROOT=$T/app3
sed 's/"sha256":"[0-9a-f]*"/"sha256":"'"$(printf '%064d' 7)"'"/' lock.spr >bad.spr
"$SLIPWAY" -q mirror enroll m --name app3 >code && "$SLIPWAY" -q enroll --code - "$M" <code && "$SLIPWAY" -q spot --updates="$M"
t 'what is not what the recipe says' must_fail 1 "$SLIPWAY" apply bad.spr
t 'is refused' has 'SHA-256\|sha256\|digest' err
printf 'mirrors:\n  %s: %s\n' "$UP" "$M" >app3/config.yml
sed -i "s,$UP: ,$UP/site: ," app3/config.yml && sed -i "s,: $M\$,: $M/copy," app3/config.yml
printf 'recipe 1\nname named\nchannel %s/site\nspec core=7.0\n' "$UP" >upstream.spr
t 'a recipe that is solved for, as the configuration says' runs "$SLIPWAY" apply upstream.spr
t 'comes from the mirror' sh -c '"$SLIPWAY" env export -n named | grep -q "\"channel\":\"$0/copy\""' "$M"
t 'and a channel on the command line' runs "$SLIPWAY" search -c "$UP/site" addon
SLIPWAY_ROOT=$T/app1

# -- deprecated parameters -----------------------------------------------------------------------------------------------------------
mkdir -p extra.conf/share/slipway/component extra.conf/share/conf.d etc
echo 'workers: 2' >extra.conf/share/conf.d/conf.yml
printf 'configuration:\n  %s/etc/conf.yml:\n    default: share/conf.d/conf.yml\n    deprecated: {threads: use workers}\n' "$T" >extra.conf/share/slipway/component/conf.yml
pack conf 1
pack conf 2
"$SLIPWAY" -q channel create m/own --kind conda --type local && "$SLIPWAY" -q channel publish m/content/own pkgs/conf-*.conda && "$SLIPWAY" -q mirror restart m
printf 'recipe 1\nname conf\nchannel own\nspec conf=1\n' >conf-1.spr
printf 'recipe 1\nname conf\nchannel own\nspec conf=2\n' >conf-2.spr
"$SLIPWAY" -q channel publish m/content/takeout --into conf conf-1.spr conf-2.spr
"$SLIPWAY" -q spot --environment=conf --apply=to:conf/conf-1.spr
echo 'threads: 4' >>etc/conf.yml
t 'a parameter that is deprecated' runs "$SLIPWAY" spot --environment=conf --apply=to:conf/conf-2.spr
t 'is named with what to do' has "'threads' is deprecated: use workers" err
t 'and what then' has "then 'slipway stop' and 'slipway start'" err

# -- a channel whose root is pinned, by way of a copy --------------------------------------------------------------------------------------
mkdir signed && "$SLIPWAY" -q --root keeper channel publish signed/tools pkgs/addon-*.conda && "$SLIPWAY" -q --root keeper channel sign --create signed/tools
mkdir copies && cp -r signed/tools copies/copy
serve signed
UP=$URL
SLIPWAY_ROOT=$T/app4
t 'a root is pinned' runs "$SLIPWAY" channel add --name tools "$URL/tools" --tuf-root signed/tools/tuf/metadata/1.root.json
serve copies
printf 'mirrors:\n  %s/tools: %s/copy\n' "$UP" "$URL" >app4/config.yml
t 'a copy of it' runs "$SLIPWAY" search -c "$UP/tools" --refresh addon
rm -r copies/copy/tuf
printf 'mirrors:\n  %s/tools: %s/copies/copy\n' "$UP" "$T" >app4/config.yml
t 'in a folder too' must_fail 1 "$SLIPWAY" search -c "$UP/tools" --refresh addon
printf 'mirrors:\n  %s/tools: %s/copy\n' "$UP" "$URL" >app4/config.yml
t 'that lost its signatures' must_fail 1 "$SLIPWAY" search -c "$UP/tools" --refresh addon
t 'is refused' has 'timestamp.json' err

done_testing
