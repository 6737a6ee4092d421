// SPDX-License-Identifier: Apache-2.0
/* Component files: what they say, and how they are refused. */
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "service/internal.h"

static struct arena arena;
static struct err err;

__attribute__((destructor)) static void clear(void)
{
	arena_release(&arena);
}

static struct component reads(const char *text)
{
	struct component c = {0};
	err = ERR_INIT;
	CHECK_MSG(component_read(&arena, str_c(text), "web", "web.yml", &c, &err) == 0, "%s", err.msg);
	return c;
}

static void fails(const char *text, enum err_code code, const char *message)
{
	struct component c = {.services_n = 77};
	err = ERR_INIT;
	CHECK_MSG(component_read(&arena, str_c(text), "web", "web.yml", &c, &err) == -1, "accepted: %s", text);
	CHECK_INT(c.services_n, 77);
	CHECK_MSG(strstr(err.msg, message), "'%s' does not say '%s'", err.msg, message);
	CHECK_INT(err.code, code);
}

static const char *z(struct str s)
{
	return arena_strdup(&arena, s);
}

TEST(all_of_it)
{
	auto_buf text = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(AT_FDCWD, test_source("tests/fuzz/corpus/component/web.yml"), &text, &err), 0);
	struct component c = reads(text.p);
	CHECK_STR(z(c.name), "web");
	CHECK_INT(c.services_n, 2);
	const struct service_decl *d = &c.services[1];
	CHECK_STR(z(d->name), "web");
	CHECK_STR(z(d->component), "web");
	CHECK_INT(c.services[0].argv_n, 5);
	CHECK_STR(z(c.services[0].argv[3]), "line\nline");
	CHECK_STR(z(d->environment[0]), "A=1");
	CHECK_STR(z(d->environment[1]), "B=");
	CHECK_STR(z(d->user), "www:www");
	CHECK_INT(d->sockets_n, 6);
	CHECK_STR(z(d->sockets[1].address), "[::1]:81");
	CHECK(d->sockets[5].is_private && d->sockets[5].address.n == 0);
	CHECK_INT(d->takeover, SERVICE_HAND_OVER_SOCKETS);
	CHECK_INT(d->ready, SERVICE_READY_NOTIFY);
	CHECK_INT(d->restart, SERVICE_RESTART_ALWAYS);
	CHECK_INT(d->restart_delay_ms, 500);
	CHECK_INT(d->start_timeout_ms, 120000);
	CHECK_INT(d->stop_timeout_ms, 3600000);
	CHECK_INT(d->stop_signal, SIGQUIT);
	CHECK_INT(d->probes_n, 4);
	CHECK_INT(d->probes[0].kind, SERVICE_PROBE_HTTP);
	CHECK_STR(z(d->probes[0].path), "/healthz");
	CHECK_INT(d->probes[3].kind, SERVICE_PROBE_COMMAND);
	CHECK_INT(d->probe_interval_ms, 5000);
	CHECK_INT(d->probe_timeout_ms, 500);
	CHECK_INT(d->probe_passes, 2);
	CHECK_INT(d->probe_failures, 4);
	CHECK_STR(z(d->after[0]), "db");
	CHECK_INT(c.states_n, 2);
	CHECK_INT(c.states[0].method, STATE_COPY);
	CHECK_INT(c.states[0].on_abort, STATE_ON_ABORT_KEEP);
	CHECK_INT(c.states[0].readable_n, 2);
	CHECK_INT(c.states[1].method, STATE_COMMAND);
	CHECK_INT(c.states[1].on_abort, STATE_ON_ABORT_RESTORE);
	CHECK_STR(z(c.configs[0].path), "/etc/web.conf");
	CHECK_STR(z(c.configs[0].default_file), "share/web/web.conf");
	CHECK_INT(c.configs[0].deprecated_n, 1);
	CHECK_STR(z(c.configs[0].deprecated[1]), "threads");
}

TEST(a_service_read_back)
{
	auto_buf text = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(AT_FDCWD, test_source("tests/fuzz/corpus/component/web.yml"), &text, &err), 0);
	struct component c = reads(text.p);
	for (uint32_t i = 0; i < c.services_n; i++) {
		struct service_decl again;
		auto_buf first = BUF_INIT(1 << 20);
		auto_buf second = BUF_INIT(1 << 20);
		struct jw w = JW_INIT(&first, 0), v = JW_INIT(&second, 0);
		CHECK_MSG(decl_copy(&arena, &c.services[i], &again, &err) == 0, "%s", err.msg);
		decl_put(&w, &c.services[i]);
		decl_put(&v, &again);
		CHECK_STR(second.p, first.p);
		CHECK_STR(z(again.component), "web");
	}
}

TEST(what_is_left_out)
{
	struct component c = reads("services: {web: {command: [/bin/x]}}");
	const struct service_decl *d = c.services;
	CHECK_INT(d->takeover, SERVICE_HAND_OVER_RESTART);
	CHECK_INT(d->ready, SERVICE_READY_STARTED);
	CHECK_INT(d->restart, SERVICE_RESTART_ON_FAILURE);
	CHECK_INT(d->stop_signal, SIGTERM);
	CHECK_INT(d->probe_passes, 1);
	CHECK_INT(d->probe_failures, 3);
	CHECK_INT(reads("{}").services_n, 0);
	/* a socket that versions share is what there is to hand over */
	CHECK_INT(reads("services: {web: {command: [x], sockets: {h: private}}}").services[0].takeover,
		  SERVICE_HAND_OVER_RESTART);
	CHECK_INT(reads("services: {web: {command: [x], sockets: {h: '*:1'}}}").services[0].takeover,
		  SERVICE_HAND_OVER_SOCKETS);
}

TEST(versions_that_go_together)
{
	struct component c = reads("upgrades: {package: _web, from: ['>=1.0,<3', 1.0.*], down: []}");
	CHECK_STR(z(c.upgrades.package), "_web");
	CHECK(c.upgrades.has_from && c.upgrades.from_n == 2 && c.upgrades.has_down && c.upgrades.down_n == 0);
	CHECK_STR(z(c.upgrades.from[0]), ">=1.0,<3");
	c = reads("{}");
	CHECK(!c.upgrades.has_from && !c.upgrades.has_down && c.upgrades.package.n == 0);
	fails("upgrades:\n  from: [1.0,\n    '>1 h123']", ERR_INPUT,
	      "web.yml:3: 'from' must hold versions like '>=1.0,<3', not '>1 h123'");
	fails("upgrades: {from: ['1[build=x]']}", ERR_INPUT, "must hold versions");
	fails("upgrades: {down: ['']}", ERR_INPUT, "'down' must hold versions");
	fails("upgrades: {from: 1.0}", ERR_INPUT, "'from' must be a list");
	fails("upgrades: {package: 'a b'}", ERR_INPUT, "'package' must be a package's name");
	fails("upgrades: {up: []}", ERR_INPUT, "upgrades has no 'up'; known are package, from, down");
}

TEST(unknown_keys)
{
	fails("services:\n  web:\n    command: [x]\n    colour: red\n", ERR_INPUT,
	      "web.yml:4: a service has no 'colour'; known are command, environment, user");
	fails("servcies: {}", ERR_INPUT,
	      "web.yml:1: a component has no 'servcies'; known are services, state, configuration, upgrades");
	fails("services: {w: {command: [x], health: {probes: [{udp: x}]}}}", ERR_INPUT, "known are http, tcp, command");
	fails("state: {d: {format: a, pth: /x}}", ERR_INPUT, "a state has no 'pth'");
	fails("[]", ERR_INPUT, "web.yml:1: a component must be a map");
}

#define S(rest) "services: {w: {command: [x], " rest "}}"
TEST(bad_values)
{
	fails("services: {w: {}}", ERR_INPUT, "service 'w' has no 'command'");
	fails("services: {w: {command: []}}", ERR_INPUT, "'command' names no program");
	fails("services: {w: {command: [../x]}}", ERR_INPUT, "inside the prefix");
	fails("services: {.w: {command: [x]}}", ERR_INPUT, "is no name for a service");
	fails("services: {w.log: {command: [x]}}", ERR_INPUT, "must not end in '.log'");
	fails("services: {w: {command: [\"\\a\"]}}", ERR_INPUT, "control character");
	fails(S("ready: soon"), ERR_INPUT, "'ready' is 'soon', not one of started, notify");
	fails(S("stop-signal: SEGV"), ERR_INPUT, "not one of TERM, INT");
	fails(S("environment: {LISTEN_FDS: 1}"), ERR_INPUT, "set by slipway itself");
	fails(S("environment: {'A=B': 1}"), ERR_INPUT, "no name for a variable");
	fails(S("sockets: {h: 'example.org:80'}"), ERR_INPUT, "is no number");
	fails(S("sockets: {h: '127.0.0.1:0'}"), ERR_INPUT, "port from 1 to 65535");
	fails(S("sockets: {h: '127.0.0.1:65536'}"), ERR_INPUT, "port from 1 to 65535");
	fails(S("sockets: {h: '127.0.0.1:80', i: '127.0.0.1:80'}"), ERR_INPUT, "'h' and 'i' have one address");
	fails(S("sockets: {h: '/../x'}"), ERR_INPUT, "without '..'");
	fails(S("health: {probes: [{tcp: nowhere}, {http: {path: /}}]}"), ERR_INPUT, "needs its 'address'");
	fails(S("health: {probes: [{http: {address: 'x:y', path: /}}]}"), ERR_INPUT, "neither a socket of it nor");
	fails(S("health: {probes: [{http: {address: 'x', path: 'x y'}}]}"), ERR_INPUT, "printable ASCII");
	fails(S("health: {probes: [{}]}"), ERR_INPUT, "a probe is one of");
	fails(S("health: {passes: 0}"), ERR_INPUT, "from 1 to 1000");
	fails("state: {d: {path: /x}}", ERR_INPUT, "has no 'format'");
	fails("state: {d: {format: a}}", ERR_INPUT, "it has a 'path'");
	fails("state: {d: {format: a, path: x}}", ERR_INPUT, "absolute");
	fails("state: {d: {format: a, method: command, checkpoint: [x]}}", ERR_INPUT, "{checkpoint}");
	fails("state: {d: {format: a, method: command, checkpoint: [x, '{checkpoint}']}}", ERR_INPUT,
	      "needs 'checkpoint' and 'restore'");
	fails("configuration: {etc/x: {default: x}}", ERR_INPUT, "absolute path");
	fails("configuration: {/etc/x: {default: /x}}", ERR_INPUT, "inside the prefix");
	fails("configuration: {/etc/x: {}}", ERR_INPUT, "has no 'default'");
}

TEST(durations)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"500ms", 500}, {"30s", 30000}, {"2m", 120000}, {"1h", 3600000}, {"24h", 86400000}, {"0s", 0}};
	static const char *const bad[] = {
		"30", "s", "1.5s", "-1s", "25h", "1d", "99999999999999999999s", "18446744073709551615h", ""};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const char *text = arena_printf(&arena, S("stop-timeout: '%s'"), good[i].text);
		CHECK_INT(reads(text).services[0].stop_timeout_ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		fails(arena_printf(&arena, S("stop-timeout: '%s'"), bad[i]), ERR_INPUT, "must be a time like");
	fails(S("start-timeout: 5ms"), ERR_INPUT, "at least 100ms");
}

TEST(bounds)
{
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(&b, "services: {");
	for (int i = 0; i < 65; i++)
		buf_printf(&b, "w%d: {command: [x]},", i);
	buf_put_c(&b, "}");
	fails(b.p, ERR_LIMIT, "65 entries, more than 64");
	buf_clear(&b);
	buf_put_c(&b, "services: {w: {command: [x");
	for (int i = 0; i < 256; i++)
		buf_put_c(&b, ",x");
	buf_put_c(&b, "]}}");
	fails(b.p, ERR_LIMIT, "257 entries, more than 256");
	buf_clear(&b);
	buf_printf(&b, "services: {w: {command: [%05000d]}}", 0);
	fails(b.p, ERR_LIMIT, "5000 bytes, more than 4096");
	buf_clear(&b);
	buf_printf(&b, S("sockets: {h: '/%0200d'}"), 0);
	fails(b.p, ERR_LIMIT, "more than 107");
}

TEST(services_in_their_order)
{
	struct component c =
		reads("services: {a: {command: [x], after: [c, elsewhere]}, b: {command: [x]}, c: {command: [x]}}");
	CHECK_STR(z(c.services[0].name), "b");
	CHECK_STR(z(c.services[1].name), "c");
	CHECK_STR(z(c.services[2].name), "a");
	fails("services: {a: {command: [x], after: [b]}, b: {command: [x], after: [a]}}", ERR_INPUT,
	      "'a' waits for itself");
	fails("services: {a: {command: [x], after: [a]}}", ERR_INPUT, "'a' waits for itself");
}

static void put(const char *name, const char *text)
{
	auto_fd dir = fs_open_dir_make(AT_FDCWD, arena_printf(&arena, "%s/share/slipway/component", test_tmp()), &err);
	CHECK(dir >= 0);
	CHECK_INT(fs_replace(dir, name, text, strlen(text), 0, &err), 0);
}

TEST(all_components_of_a_prefix)
{
	struct component *c;
	size_t n;
	const struct service_decl **order;
	CHECK_INT(component_read_all(&arena, test_tmp(), &c, &n, &err), 0);
	CHECK_INT(n, 0);
	put("web.yml", "services: {web: {command: [x], after: [db]}}");
	put("data.yml", "services: {db: {command: [x]}, zz: {command: [x], after: [web]}}");
	put("README", "not a component");
	CHECK_MSG(component_read_all(&arena, test_tmp(), &c, &n, &err) == 0, "%s", err.msg);
	CHECK_INT(n, 2);
	CHECK_STR(z(c[0].name), "data");
	CHECK_INT(component_services(&arena, c, n, &order, &n, &err), 0);
	CHECK_INT(n, 3);
	CHECK_STR(z(order[0]->name), "db");
	CHECK_STR(z(order[1]->name), "web");
	CHECK_STR(z(order[2]->name), "zz");

	put("third.yml", "services: {db: {command: [x]}}");
	CHECK_INT(component_read_all(&arena, test_tmp(), &c, &n, &err), -1);
	CHECK_MSG(strstr(err.msg, "service 'db' of component 'third' is in another component too"), "%s", err.msg);
	put("third.yml", "services: {t: {command: [x], after: [nobody]}}");
	CHECK_INT(component_read_all(&arena, test_tmp(), &c, &n, &err), -1);
	CHECK_MSG(strstr(err.msg, "starts after 'nobody', which no component"), "%s", err.msg);
	put("third.yml", "services: {}\nx");
	CHECK_INT(component_read_all(&arena, test_tmp(), &c, &n, &err), -1);
	CHECK_MSG(strstr(err.msg, "share/slipway/component/third.yml:"), "%s", err.msg);
	put("data.yml", "services: {db: {command: [x], after: [web]}}");
	put("third.yml", "{}");
	CHECK_INT(component_read_all(&arena, test_tmp(), &c, &n, &err), -1);
	CHECK_MSG(strstr(err.msg, "waits for itself"), "%s", err.msg);
}
