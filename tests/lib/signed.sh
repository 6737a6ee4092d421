# SPDX-License-Identifier: Apache-2.0
# signed.sh: a channel whose pointers are signed as TUF does, whatever its kind.

# signs_pointers FOLDER PATH...: 'channel sign --create' signs each of these, as it is, and the next publication will, too
signs_pointers()
{
	[ -e "$1/tuf" ] || "$SLIPWAY" channel sign --create "$1" >/dev/null || return 1
	python3 - "$@" <<-'END'
		import glob, hashlib, json, os, sys
		folder = sys.argv[1]
		newest = max(glob.glob(folder + '/tuf/metadata/*.targets.json'), key=lambda p: int(os.path.basename(p).split('.')[0]))
		targets = json.load(open(newest))['signed']['targets']
		for path in sys.argv[2:]:
		    content = open(folder + '/' + path, 'rb').read()
		    digest = hashlib.sha256(content).hexdigest()
		    assert targets[path] == {'length': len(content), 'hashes': {'sha256': digest}}, (path, targets[path])
		    name = os.path.join(folder, 'tuf/targets', os.path.dirname(path), digest + '.' + os.path.basename(path))
		    assert open(name, 'rb').read() == content, name
	END
}
