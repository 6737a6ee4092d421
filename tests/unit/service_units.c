// SPDX-License-Identifier: Apache-2.0
/* Texts for systemd: what they say, and what systemd itself says to them. */
#include "lib/service.h"

#include "base/proc.h"

static struct service_ref one(const char *prefix)
{
	auto_buf text = BUF_INIT(1 << 16);
	struct component c;
	CHECK(fs_read(AT_FDCWD, test_source("tests/fuzz/corpus/component/web.yml"), &text, &err) == 0);
	CHECK(component_read(&arena, buf_str(&text), "web", "web.yml", &c, &err) == 0);
	CHECK_INT(c.services_n, 2);
	return (struct service_ref){.env = STR("prod"), .generation = 12, .prefix = prefix, .decl = &c.services[1]};
}

#define HAS(b, line) CHECK_MSG(strstr((b).p, "\n" line "\n"), "no line '%s' in\n%s", line, (b).p)

TEST(service)
{
	struct service_ref r = one("/opt/a b/100%/12");
	static const struct str argv[] = {STR("bin/webd"), STR("a b"),	    STR("100%"),
					  STR("$HOME"),	   STR("\"q\" \\"), STR("x\ny")};
	struct service_decl d = *r.decl;
	d.argv = argv;
	d.argv_n = 6;
	r.decl = &d;
	auto_buf b = BUF_INIT(1 << 16);
	service_put_unit(&r, "/opt", false, STR(" x.service"), &b);
	HAS(b, "Description=web of environment prod");
	HAS(b, "Type=notify");
	HAS(b, "ExecStart=\"/opt/a b/100%%/12/bin/webd\" \"a b\" \"100%%\" \"$$HOME\" \"\\\"q\\\" \\\\\" \"x\\ny\"");
	HAS(b, "Environment=\"SLIPWAY_GENERATION=12\"");
	HAS(b, "Environment=\"A=1\"");
	HAS(b, "User=www");
	HAS(b, "Group=www");
	HAS(b, "WorkingDirectory=/srv");
	HAS(b, "After=network.target slipway-prod-db.target x.service");
	HAS(b, "Wants=slipway-prod-web.target");
	HAS(b, "Before=slipway-prod-web.target");
	HAS(b, "NonBlocking=yes");
	HAS(b, "Restart=always");
	HAS(b, "RestartSec=500ms");
	HAS(b, "TimeoutStartSec=120000ms");
	HAS(b, "KillSignal=SIGQUIT");
	HAS(b, "StartLimitIntervalSec=0");
	HAS(b, "WantedBy=multi-user.target");
	HAS(b, "[X-Slipway]");
	HAS(b, "Root=/opt");
	HAS(b, "Generation=12");
	HAS(b, "Sockets=slipway-prod-web-http.socket slipway-prod-web-six.socket slipway-prod-web-any.socket "
	       "slipway-prod-web-path.socket slipway-prod-web-rel.socket slipway-prod-web-health@12.socket");
	buf_clear(&b);
	service_put_unit(&r, "/opt", true, STR_NONE, &b);
	HAS(b, "WantedBy=default.target");
	CHECK(!strstr(b.p, "\nUser="));
	arena_release(&arena);
}

TEST(sockets)
{
	static const char *const lines[] = {"ListenStream=127.0.0.1:8080",
					    "ListenStream=[::1]:81",
					    "ListenStream=82",
					    "ListenStream=/run/x.sock",
					    "ListenStream=/opt/run/prod/web/x.sock",
					    "ListenStream=/opt/run/prod/web/health.12.sock"};
	struct service_ref r = one("/opt/12");
	for (uint32_t i = 0; i < r.decl->sockets_n; i++) {
		auto_buf b = BUF_INIT(1 << 16);
		service_put_socket_unit(&r, i, "/opt", &b);
		const char *line = arena_printf(&arena, "\n%s\n", lines[i]);
		CHECK_MSG(strstr(b.p, line), "no line '%s' in\n%s", lines[i], b.p);
		line = arena_printf(&arena, "\nFileDescriptorName=%.*s\n", STR_ARG(r.decl->sockets[i].name));
		CHECK_MSG(strstr(b.p, line), "no '%s' in\n%s", line, b.p);
		HAS(b, "Service=slipway-prod-web@12.service");
	}
	arena_release(&arena);
}

static void put(const char *name, const struct buf *b)
{
	CHECK(fs_replace(AT_FDCWD, arena_printf(&arena, "%s/%s", test_tmp(), name), b->p, b->n, 0, &err) == 0);
}

TEST(systemd_finds_no_fault)
{
	if (access("/usr/bin/systemd-analyze", X_OK) < 0)
		SKIP("build: no systemd-analyze on this machine");
	struct service_ref r = one("/usr");
	struct service_decl d = *r.decl;
	static const struct str argv[] = {STR("bin/env"), STR("100%"), STR("$HOME"), STR("a \"b\"")};
	d.argv = argv;
	d.argv_n = 4;
	d.user = STR("root:root");
	r.decl = &d;
	const char *v[20] = {"systemd-analyze", "verify", "--man=no"};
	uint32_t n = 3;
	auto_buf unit = BUF_INIT(1 << 16);
	auto_buf out = BUF_INIT(1 << 16);
	service_put_unit(&r, "/opt", false, STR_NONE, &unit);
	put("slipway-prod-web@12.service", &unit);
	service_put_target(&r, "/opt", &out);
	put("slipway-prod-web.target", &out);
	v[n++] = arena_printf(&arena, "%s/slipway-prod-web.target", test_tmp());
	buf_clear(&out);
	v[n++] = arena_printf(&arena, "%s/slipway-prod-web@12.service", test_tmp());
	for (uint32_t i = 0; i < d.sockets_n; i++) {
		auto_buf b = BUF_INIT(1 << 16);
		auto_buf name = BUF_INIT(1 << 16);
		service_put_socket_unit(&r, i, "/opt", &b);
		service_socket_unit_name(&r, i, &name);
		put(name.p, &b);
		v[n++] = arena_printf(&arena, "%s/%s", test_tmp(), name.p);
	}
	struct proc_opts o = {.argv = v, .out = &out, .errout = &out, .deadline_ms = 60000};
	int status = proc_run(&o, &err);
	/* of this machine's own units it has something to say, too: only ours count */
	struct str text = buf_str(&out), line;
	while (str_take_line(&text, &line))
		CHECK_MSG(str_search(line, STR("slipway")) < 0, "%.*s", STR_ARG(line));
	CHECK_MSG(status >= 0, "%s", err.msg);
	/* and it does look: a key that is none is seen */
	buf_put_c(&unit, "[Service]\nNoSuchKey=1\n");
	put("slipway-prod-web@12.service", &unit);
	buf_clear(&out);
	CHECK(proc_run(&o, &err) >= 0);
	CHECK_MSG(strstr(out.p, "NoSuchKey"), "%s", out.p);
	arena_release(&arena);
}
