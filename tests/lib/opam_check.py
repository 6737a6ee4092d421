# SPDX-License-Identifier: Apache-2.0
"""Checks a plan of opam packages by the opam files themselves, with a reader of its own:

    zstd -dc REPO.tar.zst | opam_check.py PLAN [NAME.VERSION installed]...

What is installed in the end must have every dependency met, no conflict, one of each conflict class, and be available; versions of a
name once. Prints what is wrong; exits 1. For plans of installations alone.
"""
import re, sys, tarfile

TOKEN = re.compile(r'\s+|#[^\n]*|\(\*.*?\*\)|("""(?:[^\\]|\\.)*?"""|"(?:[^"\\]|\\.)*"|[\w:+-]+|!=|<=|>=|[=<>!&|()\[\]{}?~,])', re.S)
ENV = {'os': 'linux', 'arch': 'x86_64', 'os-family': 'debian', 'os-distribution': 'debian', 'os-version': '12',
       'opam-version': '2.5.2', 'with-test': False, 'with-doc': False, 'with-dev-setup': False, 'dev': False,
       'build': True, 'post': True, 'make': 'make', 'jobs': '1', 'pinned': False}


def order(c):
    return -1 if c == '~' else 0 if c == '' else ord(c) if c.isalpha() else ord(c) + 256


def cmp_part(a, b):
    while a or b:
        x, y = re.match(r'\D*', a).group(), re.match(r'\D*', b).group()
        for i in range(max(len(x), len(y))):
            d = order(x[i:i + 1]) - order(y[i:i + 1])
            if d:
                return d
        a, b = a[len(x):], b[len(y):]
        x, y = re.match(r'\d*', a).group(), re.match(r'\d*', b).group()
        if int(x or 0) != int(y or 0):
            return int(x or 0) - int(y or 0)
        a, b = a[len(x):], b[len(y):]
    return 0


def cmp(a, b):
    ua, _, ra = a.rpartition('-') if '-' in a else (a, '', '')
    ub, _, rb = b.rpartition('-') if '-' in b else (b, '', '')
    return cmp_part(ua, ub) or cmp_part(ra, rb)


OPS = {'=': lambda c: c == 0, '!=': lambda c: c != 0, '<': lambda c: c < 0, '<=': lambda c: c <= 0,
       '>': lambda c: c > 0, '>=': lambda c: c >= 0}


class Value:
    """A field's value as tokens, evaluated while it is read. None: a filter that is undefined, a term that fell out."""

    def __init__(self, text, env, chosen=None):
        self.t = [m.group(1) for m in TOKEN.finditer(text) if m.group(1)]
        self.env, self.chosen, self.hits = env, chosen, []

    def peek(self):
        return self.t[0] if self.t else ''

    def take(self, what=None):
        if what is None or self.peek() == what:
            return self.t.pop(0)
        return ''

    # filters: True, False, text, None
    def atom(self):
        t = self.take()
        if t == '!':
            v = self.atom()
            v = self.decide(v, None)[0] if isinstance(v, tuple) else v
            return None if v is None else v in (False, 'false')
        if t == '?':
            return self.atom() is not None
        if t == '(':
            v = self.alternatives()
            assert self.take() == ')'
            return v
        if t[0] == '"':
            return t.strip('"')
        return {'true': True, 'false': False}.get(t, self.env.get(t[2:] if t.startswith('_:') else t))

    def comparison(self):
        if self.peek() in OPS:  # of the version of the name before it
            op, v = self.take(), self.atom()
            return None if v is None else ('version', op, v)
        v = self.atom()
        if self.peek() in OPS:
            op, w = self.take(), self.atom()
            if v is None or w is None:
                return None
            return OPS[op](cmp(str(v).lower() if isinstance(v, bool) else v, w))
        return {'true': True, 'false': False}.get(v, v) if isinstance(v, str) else v

    def all_of(self):
        v = [self.comparison()]
        while self.take('&'):
            v.append(self.comparison())
        return ('and', v) if len(v) > 1 else v[0]

    def alternatives(self):
        v = [self.all_of()]
        while self.take('|'):
            v.append(self.all_of())
        return ('or', v) if len(v) > 1 else v[0]

    @staticmethod
    def decide(v, version):
        """(does the term stay?, does this version do?)"""
        if isinstance(v, tuple) and v[0] == 'version':
            return True, version is not None and OPS[v[1]](cmp(version, v[2]))
        if isinstance(v, tuple):
            d = [Value.decide(x, version) for x in v[1]]
            if v[0] == 'and':
                return all(x[0] for x in d), all(x[1] for x in d)
            d = [x for x in d if x[0]]
            return bool(d), any(x[1] for x in d)
        return v is True, True

    # formulas: True, False, None (it fell out)
    def name(self):
        if self.peek() in ('(', '['):
            end = ')' if self.take() == '(' else ']'
            v = self.formula(end, True)
            assert self.take() == end
            return v
        name, conditions = self.take().strip('"'), []
        if self.take('{'):
            while not self.take('}'):
                conditions.append(self.alternatives())
        version = self.chosen.get(name)
        stays, fits = self.decide(('and', conditions), version) if conditions else (True, True)
        if not stays:
            return None
        if version is not None and fits:
            self.hits.append(name)
        return version is not None and fits

    def both(self):
        v = [self.name()]
        while self.take('&'):
            v.append(self.name())
        v = [x for x in v if x is not None]
        return all(v) if v else None

    def formula(self, end, every):
        found = []
        while self.t and self.peek() != end:
            v = [self.both()]
            while self.take('|'):
                v.append(self.both())
            v = [x for x in v if x is not None]
            if v:
                found.append(any(v))
        return (all(found) if every else any(found)) if found else None

    def filter(self):
        v = self.alternatives()
        return self.decide(v, None) if isinstance(v, tuple) else (v is True, True)


def field(text, name):
    m = re.search(r'^%s:' % re.escape(name), text, re.M)
    if not m:
        return ''
    rest, out, depth = text[m.end():], '', 0
    for t in TOKEN.finditer(rest):
        w = t.group(1)
        if w and depth == 0 and out.strip() and re.match(r'[\w-]+:$|[\w-]+:', w) and rest[:t.start()].endswith('\n'):
            break
        if w and depth == 0 and out.strip() and re.match(r'url$|extra-source$', w):
            break
        depth += {'[': 1, '(': 1, '{': 1, ']': -1, ')': -1, '}': -1}.get(w, 0)
        out += t.group(0)
    return out


def main():
    chosen = dict(nv.split('.', 1) for nv in sys.argv[2:])
    for line in open(sys.argv[1]):
        m = re.match(r'  - install (\S+) +(\S+?)\*?(?: |$)', line)
        if m:
            chosen[m.group(1)] = m.group(2)
    wanted = {'packages/%s/%s.%s/opam' % (n, n, v): n for n, v in chosen.items()}
    texts = {}
    with tarfile.open(fileobj=sys.stdin.buffer, mode='r|') as tar:
        for member in tar:
            name = wanted.get(member.name[member.name.find('packages/'):])
            if name:
                texts[name] = tar.extractfile(member).read().decode()
    wrong, classes = [n + ' is not in the repository' for n in chosen if n not in texts], {}
    for n, text in texts.items():
        env = dict(ENV, name=n, version=chosen[n])
        if Value(field(text, 'depends'), env, chosen).formula('', True) is False:
            wrong.append('%s: dependencies are not met' % n)
        v = Value(field(text, 'conflicts'), env, chosen)
        v.formula('', False)
        if [x for x in v.hits if x != n]:
            wrong.append('%s conflicts with %s' % (n, v.hits))
        if field(text, 'available').strip() and Value(field(text, 'available').strip().strip('[]'), env).filter() != (True, True):
            wrong.append('%s is not available' % n)
        for c in re.findall(r'"([^"]+)"', field(text, 'conflict-class')):
            if classes.setdefault(c, n) != n:
                wrong.append('%s and %s are both %s' % (n, classes[c], c))
    print('\n'.join(wrong) or '%d packages go together' % len(chosen))
    return 1 if wrong or not chosen else 0


sys.exit(main())
